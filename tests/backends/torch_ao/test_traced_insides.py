"""Values inside of a converted graph of FX mode, and the graph with layers put back."""

import numpy as np
import pytest
import torch
from artifacts import named, saved
from exported_programs import PICTURES, calibration, recipe
from foreign_residual import residual, settled
from torch import nn

from quantbench.backends.interface import BackendSpec

SPEC = BackendSpec("fx", {"engine": "x86"}, "here")
BATCH = named(PICTURES)


class Odd(nn.Module):
    """A concatenation, and operators with scales of their own, of which one has no known form on real numbers."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(8, 4, 1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.cat([self.one(x).relu(), self.two(x)], 1)
        x = nn.functional.layer_norm(nn.functional.hardswish(nn.functional.leaky_relu(x)), (8, 8))
        return self.fc(self.last(x).mean((2, 3)))


def odd():
    """A factory."""
    return Odd()


@pytest.fixture(scope="module", params=["residual", "odd"])
def pair(request, tmp_path_factory):
    """A reference and its candidate."""
    folder = tmp_path_factory.mktemp("fx")
    made, factory = (
        (residual(), "foreign_residual:residual") if request.param == "residual" else (odd(), f"{__name__}:odd")
    )
    reference = saved(folder / "reference.pt", settled(made, (3, 8, 8)), backend="torch", model=factory)
    return reference, SPEC.create().quantize(
        reference, recipe("static_int8_per_channel"), calibration(PICTURES), folder
    )


def opened(pair, change=None):
    reference, candidate = pair
    backend = SPEC.create()
    if change is not None:
        module = backend.module(candidate.artifact)
        change(module)
        return backend.insides_of(_module(reference), candidate.artifact.recipe, module)
    return backend.insides(reference, candidate.artifact)


def _module(reference):
    return reference.backend.create().module(reference)


def outputs(insides, layers):
    return insides.put_back(layers)(BATCH)["output"]


def test_all_put_back_is_the_reference_and_none_the_candidate(pair):
    insides = opened(pair)
    inside = insides.run(BATCH)
    names = [each.name for each in insides.layers]
    if not insides.unmatched:
        np.testing.assert_allclose(outputs(insides, names), inside.reference["output"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs(insides, []), inside.candidate["output"])
    np.testing.assert_array_equal(outputs(insides, []), pair[1].converted(BATCH)["output"])


def test_each_layer_can_be_put_back_beside_others_in_int8(pair):
    insides = opened(pair)
    reference = insides.run(BATCH).reference["output"]
    for layer in insides.layers:
        assert np.abs(outputs(insides, [layer.name]) - reference).max() < 0.2 * np.abs(reference).max()


def test_layers_and_what_cannot_be_matched_are_told(pair):
    insides = opened(pair)
    insides.run(BATCH)
    found = [(each.name, each.op) for each in insides.layers]
    if not insides.unmatched:
        assert found == [
            ("x", "input"), ("stem", "ConvReLU2d"), ("block.conv1", "ConvReLU2d"), ("block.conv2", "Conv2d"),
            ("pad", "quantizer"), ("add_relu", "add_relu"), ("fc", "Linear"),
        ]  # fmt: skip
    else:
        assert insides.unmatched == ("layer_norm_1",)
        assert {("leaky_relu_1", "leaky_relu"), ("hardswish_1", "hardswish")} <= set(found)
        assert "layer_norm_1" not in dict(found)


def test_a_broken_scale_is_mended_by_putting_that_layer_back_alone(pair):
    name = "stem" if opened(pair).unmatched == () else "last"

    def shrink(module):
        layer = module.get_submodule(name)
        layer.scale = layer.scale / 20

    insides = opened(pair, shrink)
    reference = insides.run(BATCH).reference["output"]
    errors = {each.name: np.square(outputs(insides, [each.name]) - reference).mean() for each in insides.layers}
    assert min(errors, key=errors.get) == name


def test_dynamic_layers_have_no_range_of_their_results(tmp_path):
    reference = saved(
        tmp_path / "r.pt", settled(residual(), (3, 8, 8)), backend="torch", model="foreign_residual:residual"
    )
    candidate = SPEC.create().quantize(reference, recipe("dynamic_int8"), calibration(PICTURES), tmp_path)
    insides = SPEC.create().insides(reference, candidate.artifact)
    inside = insides.run(BATCH)
    assert [(each.name, each.grid) for each in insides.layers] == [("fc", None)]
    np.testing.assert_allclose(outputs(insides, ["fc"]), inside.reference["output"], atol=1e-5)
