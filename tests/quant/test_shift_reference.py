"""Integer layers rescaled by shifts: every code is the one that floating point in double precision rounds to."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shift_reference import (
    Activation,
    Output,
    Weight,
    add,
    conv2d,
    linear,
    quantize_bias,
    shift_right,
)
from torch.nn import functional

from quantbench.errors import QuantizationError

# How long an example takes says nothing on a busy machine.
UNHURRIED = settings(deadline=None)
SHIFTS = st.integers(0, 10)
ZERO_POINTS = st.integers(0, 255)
OUTPUTS = st.builds(Output, shift=SHIFTS, zero_point=ZERO_POINTS, relu=st.booleans())


@st.composite
def activations(draw, *shape):
    """Codes of that shape over all 8 bits."""
    return Activation(codes(draw, shape, 0, 256), draw(SHIFTS), draw(ZERO_POINTS))


@st.composite
def weights(draw, *shape):
    """Codes of that shape, with one scale for each output channel or for all."""
    per_channel = draw(st.booleans())
    shift = draw(st.lists(SHIFTS, min_size=shape[0], max_size=shape[0])) if per_channel else draw(SHIFTS)
    return Weight(codes(draw, shape, -128, 128), torch.tensor(shift))


def codes(draw, shape, low, high):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    return torch.randint(low, high, shape, generator=generator)


def biases(draw, n):
    return torch.tensor(draw(st.lists(st.floats(-4, 4, width=32), min_size=n, max_size=n)))


def bias_at(bias, x, weight):
    """What is left of a bias at the accumulator's scale, in double precision."""
    shift = x.shift + weight.shift
    return quantize_bias(bias, shift) * 0.5 ** shift.double()


def quantized(values, output):
    """Real values of double precision as codes: torch's round goes to the even one of two."""
    low = max(0, output.zero_point) if output.relu else 0
    return (torch.round(values * 2.0**output.shift) + output.zero_point).clamp(low, 255).long()


@UNHURRIED
@given(st.integers(-(2**31), 2**31 - 1), st.integers(-10, 60))
def test_a_shift_rounds_to_the_nearest_integer_and_ties_to_even(accumulator, k):
    from fractions import Fraction

    # Python rounds fractions half to even, exactly.
    expected = round(Fraction(accumulator) / Fraction(2) ** k)
    assert int(shift_right(torch.tensor(accumulator), torch.tensor(k))) == expected


def test_every_tie_of_a_few_bits_goes_to_the_even_code():
    halves = torch.arange(-9, 10, 2)
    assert shift_right(halves, torch.tensor(1)).tolist() == [-4, -4, -2, -2, 0, 0, 2, 2, 4, 4]


@UNHURRIED
@given(st.data())
def test_a_convolution_gives_the_codes_of_the_float_path(data):
    draw = data.draw
    stride, padding, dilation, groups, kernel = (draw(st.integers(low, 3)) for low in (1, 0, 1, 1, 1))
    size = dilation * (kernel - 1) + 1 + draw(st.integers(0, 4))
    per_group, outputs = draw(st.integers(1, 4)), groups * draw(st.integers(1, 3))
    x = draw(activations(draw(st.integers(1, 2)), groups * per_group, size, size + 1))
    weight, output = draw(weights(outputs, per_group, kernel, kernel)), draw(OUTPUTS)
    bias = biases(draw, outputs) if draw(st.booleans()) else None
    found = conv2d(x, weight, bias, output, stride, padding, dilation, groups)
    kept = None if bias is None else bias_at(bias, x, weight)
    expected = functional.conv2d(x.values(), weight.values(), kept, stride, padding, dilation, groups)
    assert torch.equal(found.codes, quantized(expected, output))
    assert (found.shift, found.zero_point) == (output.shift, output.zero_point)


@UNHURRIED
@given(st.data())
def test_a_linear_layer_gives_the_codes_of_the_float_path(data):
    draw = data.draw
    inputs, outputs = draw(st.integers(1, 40)), draw(st.integers(1, 8))
    x, weight, output = draw(activations(3, inputs)), draw(weights(outputs, inputs)), draw(OUTPUTS)
    bias = biases(draw, outputs) if draw(st.booleans()) else None
    found = linear(x, weight, bias, output)
    kept = None if bias is None else bias_at(bias, x, weight)
    expected = functional.linear(x.values(), weight.values(), kept)
    assert torch.equal(found.codes, quantized(expected, output))


@UNHURRIED
@given(activations(2, 5, 3), activations(2, 5, 3), OUTPUTS)
def test_a_sum_gives_the_codes_of_the_float_path(a, b, output):
    assert torch.equal(add(a, b, output).codes, quantized(a.values() + b.values(), output))


def test_a_rectified_layer_gives_nothing_below_its_zero_point():
    x = Activation(torch.tensor([[0, 255]]), 4, 128)
    weight = Weight(torch.tensor([[1, 0], [-1, 0]]), torch.tensor(0))
    plain, rectified = (linear(x, weight, None, Output(4, 100, relu)).codes.tolist() for relu in (False, True))
    assert plain == [[0, 228]]
    assert rectified == [[100, 228]]


@UNHURRIED
@given(st.floats(-100, 100, width=32), st.integers(0, 20))
def test_a_bias_is_off_by_half_a_step_of_the_accumulator_at_most(bias, shift):
    code = quantize_bias(torch.tensor([bias]), torch.tensor([shift]))
    assert abs(float(code) * 0.5**shift - bias) <= 0.5**shift / 2


def test_a_bias_beyond_32_bits_is_refused():
    with pytest.raises(
        QuantizationError, match=r"^the bias reaches .* to 2199023255552, beyond the 32 bits .*max_shift"
    ):
        quantize_bias(torch.tensor([1.0, 2.0]), torch.tensor(40))


def test_an_accumulator_beyond_32_bits_is_refused_instead_of_wrapping():
    x = Activation(torch.full((1, 70_000), 255), 0, 0)
    weight = Weight(torch.full((1, 70_000), 127), torch.tensor(0))
    with pytest.raises(QuantizationError, match=r"^the accumulator reaches .* to 2266950000, beyond the 32 bits"):
        linear(x, weight, None, Output(0, 0))
