"""Converted low-bit layers: integers throughout, exact whatever runs them, and what the trained layer computes."""

import copy

import pytest
import torch
from low_bit_reference import integer_forward, integer_sums
from torch import nn

from quantbench.errors import QuantizationError
from quantbench.quant.learned_step import LearnedStep
from quantbench.quant.low_bit import LearnedClipping, NormalizedClipping
from quantbench.quant.low_bit_layers import QuantConv2d, QuantLinear
from quantbench.quant.packed_layers import packed
from quantbench.quant.switchable import switchable_layers

CONVOLUTIONS = {
    "3x3": {},
    "strided": {"stride": (2, 1)},
    "unpadded": {"padding": 0},
    "dilated": {"dilation": 2, "padding": (2, 1)},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 8, "out_channels": 8, "bias": False},
}
GEOMETRIES = pytest.mark.parametrize("geometry", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
QUANTIZERS = pytest.mark.parametrize("quantizer", ["clipping", "lsq"])


def quantizers(kind, bits, signed):
    if kind == "lsq":
        return LearnedStep(bits, signed, is_weight=False), LearnedStep(bits, signed=True, is_weight=True)
    return LearnedClipping(bits, signed), NormalizedClipping(bits)


def inputs(n=5, channels=8, side=9, seed=1):
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def convolution(kind="clipping", bits=4, signed=False, **geometry):
    """A layer in eval mode whose ranges were learned from `inputs()`."""
    torch.manual_seed(0)
    layer = nn.Conv2d(**{"in_channels": 8, "out_channels": 6, "kernel_size": 3, "padding": 1, **geometry})
    layer = QuantConv2d(layer, *quantizers(kind, bits, signed))
    layer(inputs())
    return layer.eval()


def linear(bits=4, features=40, outputs=7):
    torch.manual_seed(0)
    layer = QuantLinear(nn.Linear(features, outputs), *quantizers("clipping", bits, signed=False))
    layer(torch.rand(16, features))
    return layer.eval()


@GEOMETRIES
@QUANTIZERS
@pytest.mark.parametrize("signed", [False, True])
def test_a_converted_convolution_computes_what_the_trained_one_does(geometry, quantizer, signed):
    trained = convolution(quantizer, signed=signed, **geometry)
    expected, found = trained(inputs()), packed(trained)(inputs())
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@GEOMETRIES
@QUANTIZERS
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_its_sums_are_those_of_64_bit_integers(geometry, quantizer, bits):
    layer, x = packed(convolution(quantizer, bits, **geometry)), inputs()
    sums = layer.accumulate(layer.input_codes(x), layer.weight_codes)
    expected = integer_sums(layer, x)
    assert expected.dtype == torch.int64
    assert expected.abs().max() > 0
    assert torch.equal(sums.long(), expected)
    assert torch.equal(sums, sums.round())
    assert (layer(x) - integer_forward(layer, x)).abs().max() < 1e-6 * (1 + layer(x).abs().max())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_converted_linear_layer_is_integers_and_computes_what_the_trained_one_does(bits):
    trained, x = linear(bits), torch.rand(16, 40)
    layer = packed(trained)
    assert torch.equal(layer.accumulate(layer.input_codes(x), layer.weight_codes).long(), integer_sums(layer, x))
    assert (layer(x) - trained(x)).abs().max() < 1e-5
    assert (layer(x) - integer_forward(layer, x)).abs().max() < 1e-6


def test_padding_by_reflection_is_done_in_codes():
    trained = convolution(padding_mode="reflect")
    layer = packed(trained)
    assert (layer(inputs()) - trained(inputs())).abs().max() < 1e-5
    with pytest.raises(QuantizationError, match="pads with a given number of zeros only; write padding as numbers"):
        integer_sums(layer, inputs())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_same_bits_whatever_the_batch_its_order_and_the_threads(bits):
    layer, x = packed(convolution(bits=bits)), inputs(n=33, side=17)
    with torch.inference_mode():
        whole = layer(x)
        for size in (1, 2, 16, 32):
            assert torch.equal(torch.cat([layer(part) for part in x.split(size)]), whole), f"batches of {size}"
        order = torch.randperm(33)
        assert torch.equal(layer(x[order]), whole[order])
        assert torch.equal(layer(x.to(memory_format=torch.channels_last)), whole)
        threads = torch.get_num_threads()
        try:
            for n in (1, 2, 3):
                torch.set_num_threads(n)
                assert torch.equal(layer(x), whole), f"{n} threads"
        finally:
            torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_the_same_bits_without_onednn():
    # Where torch then turns to NNPACK, its products of fractions are not exact.
    layer, x = packed(convolution(bits=4)), inputs(n=33, side=17)
    with torch.inference_mode():
        expected = layer(x)
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(layer(x), expected)


def test_sums_beyond_what_float32_holds_are_taken_in_float64():
    # 255 · 127 · 600 = 19,431,000 > 2^24, with odd sums among them.
    layer = packed(linear(bits=8, features=600, outputs=3))
    assert layer.largest_sum == 255 * 127 * 600 > 1 << 24
    layer.clip.fill_(1.0)
    layer.weight_codes.copy_(torch.full((3, 600), 127.0))
    layer.weight_codes[0, 0] = 126
    layer.weight_scale.fill_(255.0)
    layer.bias.zero_()
    output = layer(torch.ones(1, 600))
    assert output[0, 1] - output[0, 0] == pytest.approx(255, abs=2)
    assert float(output[0, 1].double()) == float(torch.tensor(255.0 * 127 * 600))


def test_a_sum_that_float64_would_round_is_refused():
    layer = packed(linear(bits=8, features=2, outputs=1))
    layer.weight_codes = torch.zeros(1).expand(1, 1 << 39)
    with pytest.raises(QuantizationError, match=r"may reach 17,\d+(,\d+)+, beyond what float64 holds exactly"):
        layer.bits = 8


@QUANTIZERS
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_the_input_s_width_is_switched_and_the_weight_stays(quantizer, bits):
    trained = convolution(quantizer)
    layer = packed(trained)
    before = layer(inputs())
    trained.bits = layer.bits = bits
    assert layer.bits == trained.bits == bits
    assert (layer(inputs()) - trained(inputs())).abs().max() < 1e-5
    assert not torch.equal(layer(inputs()), before)
    assert torch.equal(layer.accumulate(layer.input_codes(inputs()), layer.weight_codes).long(),
                       integer_sums(layer, inputs()))  # fmt: skip
    assert layer.weight_bits == 4
    layer.bits = 4
    assert torch.equal(layer(inputs()), before)


@pytest.mark.parametrize("make", [lambda: convolution(), lambda: packed(convolution())], ids=["trained", "packed"])
@pytest.mark.parametrize("bits", [1, 9, 32])
def test_a_width_that_is_no_choice_is_refused(make, bits):
    layer = make()
    assert layer.bit_choices == (2, 3, 4, 5, 6, 7, 8)
    with pytest.raises(QuantizationError, match=rf"^bits: {bits} is not possible for a low-bit layer; allowed: 2 to 8"):
        layer.bits = bits
    assert layer.bits == 4


def test_both_forms_are_found_as_switchable():
    model = nn.Sequential(convolution(), nn.ReLU(), packed(convolution()))
    assert list(switchable_layers(model)) == ["0", "2"]


def test_the_weight_of_a_converted_layer_is_what_its_codes_stand_for():
    trained = convolution()
    assert torch.equal(packed(trained).weight, trained.weight_quantizer(trained.weight).detach())


def test_a_state_dict_holds_packed_bytes_and_gives_the_same_bits_in_another_layer():
    layer = packed(convolution(bias=False))
    state = layer.state_dict()
    assert {key: (str(value.dtype), list(value.shape)) for key, value in state.items()} == {
        "packed_weight": ("torch.uint8", [6 * 8 * 9 // 2]),
        "weight_scale": ("torch.float32", []),
        "clip": ("torch.float32", []),
        "widths": ("torch.uint8", [2]),
    }
    other = convolution(bias=False, signed=False)
    other.weight.data.mul_(-1)
    other = packed(other)
    assert not torch.equal(other(inputs()), layer(inputs()))
    other.load_state_dict(state)
    assert torch.equal(other(inputs()), layer(inputs()))


@pytest.mark.parametrize("bits", [3, 5])
def test_a_state_packed_for_another_width_is_named(bits):
    state, widths = packed(convolution(bits=bits)).state_dict(), f"{bits}-bit weights and {bits}-bit inputs"
    message = rf"^'widths': was packed for {widths}, and the recipe asks for 4-bit weights and 4-bit inputs$"
    with pytest.raises(QuantizationError, match=message):
        packed(convolution()).load_state_dict(state)


def test_the_state_of_a_switched_layer_says_so():
    layer = packed(convolution())
    layer.bits = 2
    with pytest.raises(
        QuantizationError, match=r"packed for 4-bit weights and 2-bit inputs, and the recipe asks for 4-"
    ):
        packed(convolution()).load_state_dict(layer.state_dict())


@pytest.mark.parametrize("key", ["clip", "weight_scale"])
@pytest.mark.parametrize(("value", "said"), [(float("nan"), "nan"), (float("inf"), "inf"), (0.0, "0"), (-2.0, "-2")])
def test_a_range_that_is_no_positive_number_is_refused_when_loaded(key, value, said):
    state = copy.deepcopy(packed(convolution()).state_dict())
    state[key].fill_(value)
    model = nn.Sequential(packed(convolution()))
    with pytest.raises(QuantizationError, match=rf"^'0\.{key}' is {said}, and has to be finite and above zero$"):
        model.load_state_dict({f"0.{name}": tensor for name, tensor in state.items()})


def test_a_damaged_code_is_named_by_its_key():
    state = copy.deepcopy(packed(convolution()).state_dict())
    state["packed_weight"][3] = 0xFF
    with pytest.raises(
        QuantizationError, match=r"^'packed_weight': a packed code is 8, and 4 bits hold -7 to 7: damaged"
    ):
        packed(convolution()).load_state_dict(state)


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "nan"), (0.0, "0"), (-0.5, "-0.5")])
def test_a_range_that_training_drove_to_nothing_is_not_converted(value, said):
    trained = convolution()
    trained.input_quantizer.alpha.data.fill_(value)
    message = rf"^the range of the input ends at {said}, and has to be finite and positive: train with a smaller lr$"
    with pytest.raises(QuantizationError, match=message):
        packed(trained)


def test_nan_in_the_input_reaches_the_output():
    x = inputs()
    x[2] = float("nan")
    output = packed(convolution())(x)
    assert output[2].isnan().all()
    assert output[[0, 1, 3, 4]].isfinite().all()
