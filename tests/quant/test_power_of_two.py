"""Power-of-two scales: the formula, its clamps and its error bound, over ranges that hypothesis makes up."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.errors import QuantizationError
from quantbench.quant.limits import LARGEST_MAX_SHIFT
from quantbench.quant.power_of_two import (
    Codes,
    check_max_shift,
    power_of_two_qparams,
    shift_of,
)

UINT8, INT8 = Codes.of(8, signed=False), Codes.of(8, signed=True)
# All magnitudes alike, so that scales fall on both sides of both clamps and anywhere between two powers.
MAGNITUDES = st.integers(-40_000, 20_000).map(lambda exponent: float(np.float32(2.0 ** (exponent / 1000))))
VALUES = MAGNITUDES | MAGNITUDES.map(lambda value: -value) | st.floats(-1e5, 1e5, width=32) | st.just(0.0)
RANGES = st.tuples(VALUES, VALUES).map(sorted)
CODES = st.builds(Codes.of, bits=st.integers(2, 8), signed=st.booleans()) | st.sampled_from(
    [Codes(-127, 127), Codes(0, 127), Codes(-64, 63), Codes(-1, 1)]
)
MAX_SHIFTS = st.just(LARGEST_MAX_SHIFT) | st.integers(0, LARGEST_MAX_SHIFT)
# How long an example takes says nothing on a busy machine.
UNHURRIED = settings(deadline=None)


def error_bound(qparams, min_val, max_val, codes):
    """The largest |x - dequantize(quantize(x))| that a value x of each range can have, float64, of the ranges' shape.

    Half a step where the codes reach; beyond, the excess of the range over what they hold.
    """
    scale = qparams.scale.double()
    held_low, held_high = (scale * (code - qparams.zero_point) for code in (codes.low, codes.high))
    excess = torch.maximum(held_low - min_val.double().clamp(max=0), max_val.double().clamp(min=0) - held_high)
    return torch.maximum(scale / 2, excess)


def every_way(test):
    """Ranges, codes, symmetric or not, and max_shift."""
    return UNHURRIED(given(RANGES, CODES, st.booleans(), MAX_SHIFTS)(test))


def qparams_of(bounds, codes=UINT8, symmetric=False, max_shift=8):
    return power_of_two_qparams(*(torch.tensor(bound) for bound in bounds), codes, symmetric, max_shift)


def exact_scale(bounds, codes, symmetric):
    """The scale before it is rounded, as a fraction."""
    low, high = Fraction(min(bounds[0], 0.0)), Fraction(max(bounds[1], 0.0))
    return max(-low, high) / ((codes.high - codes.low) // 2) if symmetric else (high - low) / (codes.high - codes.low)


def held(qparams, codes):
    """The smallest and largest value that the codes stand for."""
    return tuple(float(qparams.scale) * (code - int(qparams.zero_point)) for code in (codes.low, codes.high))


def error_of(x, qparams, codes):
    """|x - dequantize(quantize(x))| in double precision."""
    scale, zero_point = float(qparams.scale), int(qparams.zero_point)
    code = min(max(round(x / scale) + zero_point, codes.low), codes.high)
    return abs(x - (code - zero_point) * scale)


@every_way
def test_every_scale_is_exactly_two_to_the_minus_n_with_n_from_0_to_max_shift(bounds, codes, symmetric, max_shift):
    qparams = qparams_of(bounds, codes, symmetric, max_shift)
    assert qparams.scale.dtype == torch.float32
    mantissa, exponent = math.frexp(float(qparams.scale))
    assert mantissa == 0.5
    assert 1 - exponent == int(qparams.shift)
    assert 0 <= int(qparams.shift) <= max_shift


@every_way
def test_no_allowed_power_is_nearer_in_log2(bounds, codes, symmetric, max_shift):
    scale = exact_scale(bounds, codes, symmetric)
    n = int(qparams_of(bounds, codes, symmetric, max_shift).shift)
    if scale == 0:
        assert n == max_shift, "the limit of the formula"
        return

    def distance(m):
        """2^|log2(scale) + m|, which is exact."""
        ratio = scale * 2**m
        return max(ratio, 1 / ratio)

    nearest = min(distance(m) for m in range(max_shift + 1))
    # The scale is computed in double precision: within its last bits of a tie either side is right.
    assert distance(n) <= nearest * (1 + Fraction(1, 2**48))


@every_way
def test_zero_is_one_of_the_codes(bounds, codes, symmetric, max_shift):
    qparams = qparams_of(bounds, codes, symmetric, max_shift)
    assert codes.low <= int(qparams.zero_point) <= codes.high
    assert error_of(0.0, qparams, codes) == 0
    if symmetric:
        assert int(qparams.zero_point) == codes.middle


@UNHURRIED
@given(RANGES, CODES, st.booleans(), MAX_SHIFTS, st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_no_value_in_the_range_is_off_by_more_than_the_bound(bounds, codes, symmetric, max_shift, parts):
    qparams = qparams_of(bounds, codes, symmetric, max_shift)
    bound = float(error_bound(qparams, *(torch.tensor(each) for each in bounds), codes))
    low, high = bounds
    for part in (0.0, 1.0, *parts):
        x = min(max(low + part * (high - low), low), high)
        assert error_of(x, qparams, codes) <= bound * (1 + 1e-12)


@every_way
def test_torch_s_own_fake_quantization_keeps_within_the_bound(bounds, codes, symmetric, max_shift):
    qparams = qparams_of(bounds, codes, symmetric, max_shift)
    x = torch.linspace(*bounds, 257)
    faked = torch.fake_quantize_per_tensor_affine(
        x, float(qparams.scale), int(qparams.zero_point), codes.low, codes.high
    )
    bound = float(error_bound(qparams, *(torch.tensor(each) for each in bounds), codes))
    assert float((x - faked).abs().max()) <= bound * (1 + 1e-5)


@every_way
def test_the_bound_is_reached_where_the_range_is_as_long_as_a_step(bounds, codes, symmetric, max_shift):
    qparams = qparams_of(bounds, codes, symmetric, max_shift)
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = float(qparams.scale)
    if high - low < 2 * scale:
        return
    steps = codes.high - codes.low
    between = [(step + 0.5) * scale for step in range(-steps - 1, steps + 1)]
    tried = [low, high, *(x for x in between if low <= x <= high)]
    bound = float(error_bound(qparams, torch.tensor(low), torch.tensor(high), codes))
    assert max(error_of(x, qparams, codes) for x in tried) == pytest.approx(bound, rel=1e-6)


@every_way
def test_the_bound_is_what_the_derivation_says(bounds, codes, symmetric, max_shift):
    qparams = qparams_of(bounds, codes, symmetric, max_shift)
    scale, exact = float(qparams.scale), float(exact_scale(bounds, codes, symmetric))
    bound = float(error_bound(qparams, *(torch.tensor(each) for each in bounds), codes))
    largest, slack = max(-bounds[0], bounds[1], 0.0), 1 + 1e-6
    if exact <= scale * slack:
        assert bound <= scale / 2 * slack, "rounded up, or up to the finest scale: nothing is clipped"
        assert scale <= max(math.sqrt(2) * exact, 2.0**-max_shift) * slack
    elif scale < 1 or exact <= math.sqrt(2):
        assert bound <= ((1 - math.sqrt(0.5)) * largest + scale / 2) * slack, "rounded down"
    else:
        # All that the range exceeds the codes by, give or take half a step at either end.
        excess = largest - (codes.high - codes.low) // 2 if symmetric else sum_of_excess(bounds, qparams, codes)
        assert bound <= excess + 1


def sum_of_excess(bounds, qparams, codes):
    low, high = held(qparams, codes)
    assert high - low == codes.high - codes.low, "steps of 1"
    return max(low - min(bounds[0], 0.0), max(bounds[1], 0.0) - high)


@UNHURRIED
@given(st.lists(RANGES, min_size=1, max_size=6), CODES, st.booleans(), MAX_SHIFTS)
def test_a_channel_s_scale_is_that_of_its_range_alone(ranges, codes, symmetric, max_shift):
    lows, highs = (torch.tensor(ends) for ends in zip(*ranges, strict=True))
    together = power_of_two_qparams(lows, highs, codes, symmetric, max_shift)
    alone = [qparams_of(bounds, codes, symmetric, max_shift) for bounds in ranges]
    assert together.scale.tolist() == [float(each.scale) for each in alone]
    assert together.zero_point.tolist() == [int(each.zero_point) for each in alone]
    bounds = error_bound(together, lows, highs, codes)
    assert bounds.shape == lows.shape
    assert float(bounds[0]) == float(error_bound(alone[0], lows[0], highs[0], codes))


@UNHURRIED
@given(MAGNITUDES | st.floats(2.0**-140, 2.0**20, width=32), MAX_SHIFTS)
def test_the_shift_is_the_formula_s(scale, max_shift):
    assert int(shift_of(torch.tensor(scale), max_shift)) == round(min(max(-math.log2(scale), 0), max_shift))


@pytest.mark.parametrize(
    ("bounds", "codes", "symmetric", "shift", "zero_point"),
    [
        ((0.0, 2.55), UINT8, False, 7, 0),  # 0.01 lies between 2^-7 and 2^-6
        ((-1.0, 1.0), INT8, True, 7, 0),  # 1/127 is nearly 2^-7
        ((-1.0, 1.0), UINT8, False, 7, 128),
        ((-1.0, 3.0), Codes.of(4, signed=False), False, 2, 4),  # 4/15; 3.75 is rounded to the even 4
        ((0.0, 255 * 2**-3.51), UINT8, False, 4, 0),
        ((0.0, 255 * 2**-3.49), UINT8, False, 3, 0),
        ((0.0, 0.0), UINT8, False, 8, 0),
        ((0.0, 0.0), INT8, True, 8, 0),
        ((3.0, 3.0), UINT8, False, 6, 0),  # one value: the range is extended to zero
        ((-3.0, -3.0), UINT8, False, 6, 255),
        ((2.0, 3.0), UINT8, False, 6, 0),  # one-sided
        ((-3.0, -2.0), UINT8, False, 6, 255),
        ((-3.0, -2.0), INT8, True, 5, 0),
        ((0.0, 1e-30), UINT8, False, 8, 0),  # finer than max_shift allows
        ((0.0, 1e30), UINT8, False, 0, 0),  # coarser than 1
    ],
)
def test_ranges_worked_out_by_hand(bounds, codes, symmetric, shift, zero_point):
    qparams = qparams_of(bounds, codes, symmetric)
    assert (int(qparams.shift), int(qparams.zero_point)) == (shift, zero_point)


def test_both_ends_of_a_range_beyond_the_coarsest_scale_are_clipped_alike():
    assert held(qparams_of((-1000.0, 1000.0)), UINT8) == (-128.0, 127.0)


def test_weights_below_a_third_lose_bits_to_the_finest_scale():
    coarse, fine = (qparams_of((-0.1, 0.1), INT8, symmetric=True, max_shift=most) for most in (8, 12))
    assert (int(coarse.shift), int(fine.shift)) == (8, 10)
    assert round(0.1 / float(coarse.scale)) == 26, "of 127 codes"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("end", [0, 1])
def test_a_range_that_is_not_finite_is_refused(bad, end):
    bounds = [-1.0, 1.0]
    bounds[end] = bad
    with pytest.raises(QuantizationError, match=rf"^the range is \[.*{bad}.*\]: no scale fits it; .*look for NaN"):
        qparams_of(bounds)


def test_the_channel_of_a_range_that_is_not_finite_is_named():
    low, high = torch.tensor([0.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, math.inf])
    with pytest.raises(QuantizationError, match=r"^the range of channel 2 is \[0\.0, inf\]"):
        power_of_two_qparams(low, high, UINT8, symmetric=False)


def test_a_range_that_ends_below_its_beginning_is_refused():
    with pytest.raises(QuantizationError, match=r"^the range is \[1\.0, -1\.0\]"):
        qparams_of((1.0, -1.0))


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 32])
@pytest.mark.parametrize("signed", [True, False])
def test_bits_outside_2_to_8_are_refused(bits, signed):
    message = rf"^bits: {bits} is not possible for a power-of-two scale; allowed: 2 to 8, which is 4 to 256 codes$"
    with pytest.raises(QuantizationError, match=message):
        Codes.of(bits, signed)


@pytest.mark.parametrize(("low", "high", "bits"), [(0, 1, 1), (5, 3, 0), (0, 256, 9), (-256, 255, 9)])
def test_codes_of_too_few_or_too_many_bits_are_refused(low, high, bits):
    with pytest.raises(QuantizationError, match=rf"^bits: {bits} is not possible"):
        Codes(low, high)


@pytest.mark.parametrize("max_shift", [-1, 31, 2.5, None])
def test_a_max_shift_out_of_range_is_refused(max_shift):
    message = rf"^max_shift: {max_shift} is not possible; allowed: 0 to 30, .*; the default is 8$"
    with pytest.raises(QuantizationError, match=message):
        check_max_shift(max_shift)
    with pytest.raises(QuantizationError, match=message):
        qparams_of((0.0, 1.0), max_shift=max_shift)
