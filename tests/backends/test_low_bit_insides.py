"""Values inside of a model of low-bit layers, and the model with weights or inputs put back."""

import numpy as np
import pytest
import torch
from artifacts import named, saved
from safetensors.torch import save_file
from tiny_low_bit import BACKEND, INPUTS, model, recipe
from torch import nn

from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.backends.low_bit_insides import low_bit_insides
from quantbench.errors import QuantizationError

BACKEND_SPEC = BackendSpec("low_bit", {}, "here")
BATCH = named(INPUTS)


def trained(quantizer="lsq", change=None):
    """Prepared, with ranges learned from one forward, and its packed form."""
    prepared = BACKEND.prepare_module(model(), recipe(quantizer=quantizer, weight_bits=4, activation_bits=4))
    prepared(INPUTS)
    if change is not None:
        change(prepared)
    return prepared.eval(), BACKEND.convert_module(prepared).model


def outputs(insides, layers):
    return insides.put_back(layers)(BATCH)["output"]


def unrounded(prepared):
    """Outputs of the trained model without its quantizers."""
    with torch.no_grad():
        for each in [each for each in prepared.modules() if hasattr(each, "weight_quantizer")]:
            each.weight.copy_(each.weight_quantizer.unrounded(each.weight))
            each.weight_quantizer = each.input_quantizer = nn.Identity()
        return prepared(INPUTS).numpy()


@pytest.mark.parametrize("quantizer", ["lsq", "pact"])
def test_all_put_back_is_the_trained_model_without_quantizers_and_none_the_candidate(quantizer):
    prepared, converted = trained(quantizer)
    with torch.no_grad():
        expected = converted(INPUTS).numpy()
    insides = low_bit_insides(model(), prepared, converted, "x86")
    inside = insides.run(BATCH)
    np.testing.assert_array_equal(inside.candidate["output"], expected)
    np.testing.assert_array_equal(outputs(insides, []), expected)
    everything = outputs(insides, [each.name for each in insides.layers])
    np.testing.assert_allclose(everything, unrounded(prepared), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(everything, inside.reference["output"])
    assert "put back have its weights" in insides.notes[0]


def test_each_layer_is_two_its_weights_and_what_it_is_given():
    prepared, converted = trained()
    insides = low_bit_insides(model(), prepared, converted, "x86")
    insides.run(BATCH)
    first, second = insides.layers[:2]
    assert (first.op, first.name) == ("input", f"{second.name}.input")
    assert (first.grid.first, first.grid.last) == (-8, 7)
    assert second.weight.grid.last == 7
    np.testing.assert_allclose(second.weight.grid.rounded(second.weight.reference), second.weight.candidate, atol=1e-6)
    assert all(each.is_quantized for each in insides.layers)
    assert insides.layers[2].op == "quantizer"


def test_values_are_rounded_by_the_grids_that_are_told():
    prepared, converted = trained()
    insides = low_bit_insides(model(), prepared, converted, "x86")
    inside = insides.run(BATCH)
    for layer in insides.layers:
        values = inside.layers[layer.name]
        if layer.grid is not None:
            np.testing.assert_allclose(layer.grid.rounded(values.simulated), values.candidate, atol=1e-5)
        else:
            np.testing.assert_allclose(values.simulated, values.candidate, atol=1e-4)


def test_a_range_far_too_small_is_mended_by_putting_that_input_back_alone():
    def shrink(prepared):
        layer = [each for each in prepared.modules() if hasattr(each, "input_quantizer")][1]
        layer.input_quantizer.step.data /= 50

    prepared, converted = trained(change=shrink)
    insides = low_bit_insides(model(), prepared, converted, "x86")
    reference = insides.run(BATCH).reference["output"]
    errors = {each.name: np.square(outputs(insides, [each.name]) - reference).mean() for each in insides.layers}
    assert min(errors, key=errors.get) == insides.layers[2].name


def test_without_the_trained_weights_codes_stay(tmp_path):
    reference = saved(tmp_path / "fp32.pt", model(), backend="torch")
    prepared, _ = trained()
    save_file(prepared.state_dict(), tmp_path / "trained.safetensors")
    own = recipe(quantizer="lsq", weight_bits=4, activation_bits=4)
    calibration = Calibration(lambda: (), BATCH, tmp_path / "trained.safetensors")
    candidate = BACKEND_SPEC.create().quantize(reference, own, calibration, tmp_path).artifact
    without = BACKEND_SPEC.create().insides(reference, candidate)
    inside = without.run(BATCH)
    assert without.notes == ("weights were fine-tuned: a layer that is put back keeps them",)
    weights = [each.name for each in without.layers if each.weight is not None]
    np.testing.assert_array_equal(outputs(without, weights), inside.candidate["output"])
    known = BACKEND_SPEC.create().trained_insides(reference, candidate, tmp_path / "trained.safetensors")
    known.run(BATCH)
    assert np.abs(outputs(known, weights) - inside.candidate["output"]).max() > 0


def test_a_model_without_any_low_bit_layer_is_refused():
    with pytest.raises(QuantizationError, match="has no low-bit layer; there is nothing that could be put back"):
        low_bit_insides(model(), None, model(), "x86")
