"""Weights compressed by NNCF: what is in the files, what they compute, what is refused."""

import numpy as np
import pytest
import torch
from artifacts import named, saved
from torch import nn

from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import WeightOnly
from quantbench.registry import RECIPES

BATCH = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SPEC = BackendSpec("openvino", {}, "here")
INT8, INT4 = RECIPES.create("weight_only_int8", "here", {}), RECIPES.create("weight_only_int4", "here", {})


class Mixed(nn.Module):
    """A convolution, and linear layers of 32 and of 64 inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 32, 3)
        self.a, self.b = nn.Linear(32, 64), nn.Linear(64, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(torch.relu(self.conv(x)).mean((2, 3)))))


class Narrow(Mixed):
    """With a linear layer that no block fits."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(32, 24), nn.Linear(24, 3)


class NoLayer(nn.Module):
    """Has nothing that is compressed."""

    def forward(self, x):
        return x.mean((2, 3))


def quantized(folder, recipe, module=None):
    folder.mkdir(exist_ok=True)
    module = (module or Mixed)().eval()
    reference = saved(folder / "own.pt", module, backend="torch", model=f"{__name__}:{type(module).__name__}")
    (folder / "made").mkdir()
    return reference, SPEC.create().quantize(reference, recipe, Calibration(list, named(BATCH[:2])), folder / "made")


def weights(made):
    """The constants of few bits, as they are described."""
    keys = SPEC.create().describe(made.artifact).keys
    return [entry for entry in keys.values() if entry["dtype"] in ("int8", "uint8", "int4", "uint4")]


def test_int8_weights_of_all_layers_have_a_scale_per_output_channel(tmp_path):
    _, made = quantized(tmp_path, INT8)
    assert sorted((each["dtype"], each["qscheme"], each["axis"], each["shape"][0]) for each in weights(made)) == [
        ("int8", "per_channel_symmetric", 0, 3),
        ("int8", "per_channel_symmetric", 0, 32),
        ("int8", "per_channel_symmetric", 0, 64),
    ]


def test_int4_weights_of_linear_layers_have_a_scale_per_block(tmp_path):
    _, made = quantized(tmp_path, INT4)
    found = sorted((each["dtype"], tuple(each["shape"]), each["qscheme"], each["block_size"]) for each in weights(made))
    assert found == [
        ("int4", (3, 2, 32), "per_block_symmetric", 32),
        ("int4", (64, 1, 32), "per_block_symmetric", 32),
    ]  # fmt: skip


@pytest.mark.parametrize(("recipe", "most"), [(INT8, 0.03), (INT4, 0.5)])
def test_outputs_are_nearly_those_of_the_float_model_and_files_are_deterministic(recipe, most, tmp_path):
    reference, made = quantized(tmp_path / "a", recipe)
    found = SPEC.create().load(made.artifact, 1)(named(BATCH))["output"]
    expected = reference.backend.create().load(reference, 1)(named(BATCH))["output"]
    assert 0 < np.abs(found - expected).max() / np.abs(expected).max() < most
    _, again = quantized(tmp_path / "b", recipe)
    assert again.artifact.sha256 == made.artifact.sha256


@pytest.mark.parametrize("recipe", [INT8, INT4])
def test_none_of_it_is_called_int8(recipe, tmp_path):
    _, made = quantized(tmp_path, recipe)
    assert SPEC.create().kernels(made.artifact, named(BATCH)).int8_macs == 0


def test_a_block_that_does_not_fit_a_layer_is_refused_by_the_layers_name(tmp_path):
    with pytest.raises(QuantizationError, match=r"nncf cannot compress its weights .*; give a block_size that divides"):
        quantized(tmp_path, INT4, Narrow)


def test_a_model_without_such_a_layer_is_refused(tmp_path):
    with pytest.raises(QuantizationError, match="nncf compressed nothing: there is no Linear"):
        quantized(tmp_path, INT4, NoLayer)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (
            WeightOnly(8, ("Linear",), 32),
            "has one scale per output channel for weights of 8 bits; leave block_size out",
        ),
        (WeightOnly(4, ("Linear", "Conv2d"), 32), "has convolutions with weights of 8 bits only, not 4"),
        (WeightOnly(8, ("LSTM",)), "has no weight-only form of a layer 'LSTM'"),
    ],
)
def test_what_nncf_cannot_compress_is_refused_with_an_alternative(recipe, words):
    assert words in SPEC.create().supports(recipe)
