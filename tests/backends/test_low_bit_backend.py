"""Backend `low_bit`: which layers become low-bit, what is refused, and a model from training to checkpoint and back."""

import pytest
import torch
from artifacts import artifact_at, loaded
from tiny_low_bit import BACKEND, INPUTS, model, recipe
from torch import nn

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.backends.kernels import measure_coverage
from quantbench.backends.origin import Stage, kind_of, stage_of
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.quant.low_bit_layers import QuantConv2d, QuantLinear


def trained(**params):
    """Prepared, with ranges learned from one forward."""
    prepared = BACKEND.prepare_module(model(), recipe(**params))
    prepared(INPUTS)
    return prepared


def artifact(path, **params):
    return artifact_at(path, recipe(**params), "low_bit")


def widths(prepared):
    layers = {name: each for name, each in prepared.named_modules() if isinstance(each, QuantConv2d | QuantLinear)}
    return {name: (each.weight_quantizer.bits, each.input_quantizer.bits) for name, each in layers.items()}


def sequential():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(),
                         nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3))  # fmt: skip


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [(4, 4), (4, 4), (4, 4), (4, 4)]),
        ({"weight_bits": 3, "activation_bits": 2}, [(3, 2)] * 4),
        ({"first_bits": 8, "last_bits": 6}, [(8, 8), (4, 4), (4, 4), (6, 6)]),
    ],
    ids=["all", "two widths", "ends"],
)
def test_every_convolution_and_linear_layer_has_the_recipe_s_widths(params, expected):
    found = widths(BACKEND.prepare_module(model(sequential()), recipe(**params)))
    assert list(found.items()) == list(zip(["0", "2", "5", "7"], expected, strict=True))


def test_ends_of_32_bits_stay_as_they_are():
    prepared = BACKEND.prepare_module(model(sequential()), recipe(first_bits=32, last_bits=32))
    assert list(widths(prepared)) == ["2", "5"]
    assert (type(prepared[0]), type(prepared[7])) == (nn.Conv2d, nn.Linear)


def test_the_last_layer_is_a_linear_one_or_none_is():
    prepared = BACKEND.prepare_module(model(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))),
                                        recipe(last_bits=8))  # fmt: skip
    assert list(widths(prepared).values()) == [(4, 4), (4, 4)]


def test_the_input_of_the_first_layer_alone_is_signed():
    prepared = BACKEND.prepare_module(model(sequential()), recipe())
    signed = [prepared[i].input_quantizer.coding.signed for i in (0, 2, 5, 7)]
    assert signed == [True, False, False, False]


def test_preparing_leaves_the_model_as_it_was_and_keeps_its_weights():
    fp32 = model()
    before = {key: value.clone() for key, value in fp32.state_dict().items()}
    prepared = BACKEND.prepare_module(fp32, recipe())
    assert prepared.training
    prepared(INPUTS).sum().backward()
    torch.optim.SGD(prepared.parameters(), 0.1).step()
    assert all(torch.equal(before[key], value) for key, value in fp32.state_dict().items())
    assert not torch.equal(prepared.conv.weight, fp32.conv.weight)


@pytest.mark.parametrize("quantizer", ["pact", "lsq"])
def test_eight_bits_after_one_forward_are_nearly_the_baseline(quantizer):
    fp32 = model()
    prepared = BACKEND.prepare_module(fp32, recipe(weight_bits=8, activation_bits=8, quantizer=quantizer))
    BACKEND.freeze(prepared)
    prepared(INPUTS)
    with torch.inference_mode():
        expected, found = fp32(INPUTS), BACKEND.convert_module(prepared).model(INPUTS)
    # Of clipped weights the mean is taken out, which shifts all logits of a sample alike.
    expected, found = (each - each.mean(1, keepdim=True) for each in (expected, found))
    assert (found - expected).abs().max() < 0.15 * expected.abs().max()


def test_freezing_stops_batch_norm_and_nothing_else():
    prepared = trained()
    before = {key: value.clone() for key, value in prepared.state_dict().items()}
    BACKEND.freeze(prepared)
    prepared(3 * INPUTS).square().sum().backward()
    torch.optim.SGD(prepared.parameters(), 0.01).step()
    after = prepared.state_dict()
    assert torch.equal(after["bn.running_mean"], before["bn.running_mean"])
    assert not torch.equal(after["conv.input_quantizer.alpha"], before["conv.input_quantizer.alpha"])


def test_what_quantizes_each_layer_is_told():
    assert BACKEND.convert_module(trained(activation_bits=2, last_bits=8)).observers == {
        "conv": {"activation": "LearnedClipping(2 bits, -1..1)", "weight": "NormalizedClipping(4 bits, -7..7)"},
        "fc": {"activation": "LearnedClipping(8 bits, 0..255)", "weight": "NormalizedClipping(8 bits, -127..127)"},
    }
    observers = BACKEND.convert_module(trained(quantizer="lsq")).observers
    assert observers["fc"] == {"activation": "LearnedStep(4 bits, 0..15)", "weight": "LearnedStep(4 bits, -8..7)"}


def test_a_single_layer_is_quantized_too():
    prepared = BACKEND.prepare_module(model(nn.Linear(6, 3)), recipe())
    prepared(torch.rand(4, 6))
    with torch.inference_mode():
        assert BACKEND.convert_module(prepared).model(torch.rand(4, 6)).shape == (4, 3)


def test_a_layer_that_is_used_under_two_names_is_quantized_under_both():
    shared = nn.Linear(4, 4)
    prepared = BACKEND.prepare_module(model(nn.Sequential(shared, nn.ReLU(), shared)), recipe())
    assert list(widths(prepared)) == ["0", "2"]
    assert prepared[0].weight is prepared[2].weight


@pytest.mark.parametrize("quantizer", ["pact", "lsq"])
def test_a_checkpoint_loads_through_the_skeleton_to_the_same_bits(tmp_path, quantizer):
    converted = BACKEND.convert_module(trained(quantizer=quantizer)).model
    write_checkpoint(tmp_path / "a.pt", converted.state_dict())
    again = loaded(artifact(tmp_path / "a.pt", quantizer=quantizer))
    with torch.inference_mode():
        assert torch.equal(again(INPUTS), converted(INPUTS))
    state = read_checkpoint(tmp_path / "a.pt")
    assert kind_of(state) == "low-bit: weights packed as codes of 4 bits, inputs as 4, in 2 layers"
    assert stage_of(state) is Stage.INT8


def test_a_checkpoint_of_other_widths_is_refused_with_both(tmp_path):
    write_checkpoint(tmp_path / "a.pt", BACKEND.convert_module(trained(activation_bits=2)).model.state_dict())
    message = (
        r"a\.pt: 'conv\.widths': was packed for 4-bit weights and 2-bit inputs, and the recipe asks for 4-bit weights "
        r"and 4-bit inputs\. Quantize again with this recipe, or name the one that made it$"
    )
    with pytest.raises(CheckpointError, match=message):
        loaded(artifact(tmp_path / "a.pt"))


def test_a_checkpoint_of_fewer_bytes_is_refused_with_what_it_is(tmp_path):
    write_checkpoint(tmp_path / "a.pt", BACKEND.convert_module(trained(weight_bits=2)).model.state_dict())
    message = (
        r"a\.pt: is low-bit: weights packed as codes of 2 bits, inputs as 4, in 2 layers, and does not fit the model "
        r"that its recipe makes: 'conv\.packed_weight' is uint8 \[54\] instead of uint8 \[108\]"
    )
    with pytest.raises(CheckpointError, match=message):
        loaded(artifact(tmp_path / "a.pt"))


def test_a_checkpoint_whose_clip_is_nan_is_refused(tmp_path):
    state = BACKEND.convert_module(trained()).model.state_dict()
    state["fc.clip"].fill_(float("nan"))
    write_checkpoint(tmp_path / "a.pt", state)
    with pytest.raises(CheckpointError, match=r"a\.pt: 'fc\.clip' is nan, and has to be finite and above zero\. Quant"):
        loaded(artifact(tmp_path / "a.pt"))


def test_a_clip_that_became_nan_in_training_is_named_with_its_layer():
    prepared = trained()
    prepared.fc.input_quantizer.alpha.data.fill_(float("nan"))
    message = (
        r"^'fc' of TinyCNN: the range of the input ends at nan, and has to be finite and positive: train with a sm"
    )
    with pytest.raises(QuantizationError, match=message):
        BACKEND.convert_module(prepared)


def test_the_state_in_training_is_named_too():
    state = trained().state_dict()
    assert kind_of(state) == "prepared for low-bit training, not converted: fp32 weights with learned ranges"
    assert stage_of(state) is Stage.PREPARED


def test_no_multiplication_counts_as_int8():
    coverage = measure_coverage(BACKEND.convert_module(trained()).model.eval(), INPUTS[:1])
    assert coverage.int8_share == 0.0
    assert coverage.float_layers == {"conv": 8 * 8 * 8 * 27, "fc": 24}


def test_a_rehearsal_changes_nothing():
    fp32, before = model(), torch.get_rng_state()
    weights = {key: value.clone() for key, value in fp32.state_dict().items()}
    BACKEND.rehearse_module(fp32, recipe(), INPUTS[:2])
    assert all(torch.equal(weights[key], value) for key, value in fp32.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)
    assert not fp32.training


def test_the_baseline_itself_goes_through_unchanged():
    fp32 = model()
    BACKEND.rehearse_module(fp32, recipe("fp32_baseline"), INPUTS[:2])
    with torch.inference_mode():
        for same in (
            BACKEND.quantize_module(fp32, recipe("fp32_baseline"), list).model,
            BACKEND.skeleton(fp32, recipe("fp32_baseline")),
        ):
            assert torch.equal(same(INPUTS), fp32(INPUTS))
