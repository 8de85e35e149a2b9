"""Uniform quantization whose scales are powers of two, so that rescaling is a shift of bits.

A range `[min, max]`, extended to hold zero, and the integers `qmin..qmax` give the scale of affine quantization,

    scale = (max - min) / (qmax - qmin)          zero_point = round(qmin - min / scale)

and of symmetric quantization with b bits

    scale = max|x| / (2^(b-1) - 1)               zero_point = the middle code, 0 for signed integers

which is then replaced by the power of two that is nearest in log2 among those allowed:

    n = round(min(max(-log2(scale), 0), max_shift))          scale' = 2^-n

**Error.** With r = scale' / scale, the codes hold `r · [min, max]` (give or take half a step, by which the zero point
was rounded). Between the clamps rounding moves log2 by at most 1/2, so r is in [2^-½, 2^½]:

- scale rounded up (r ≥ 1): nothing is clipped, and the error is at most scale' / 2 ≤ scale / √2 (where exact
  quantization has scale / 2);
- scale rounded down (r < 1): inside what the codes hold at most scale' / 2; beyond, the excess of the range over it, at
  most (1 - r) · max(|min|, max) + scale' / 2 ≤ 0.293 · max(|min|, max) + scale' / 2.

The clamp at 0 forbids scales above 1 (a shift the other way): of a range that needs one, the codes hold a stretch as
long as qmax - qmin, and all that it exceeds that by is clipped. The clamp at `max_shift` forbids scales below
2^-max_shift: a range that needs one is never clipped, but its error is up to 2^-(max_shift + 1) however narrow it is,
so that small values lose their bits.

Source: section 2.1 of Jacob et al. 2018, arXiv:1712.05877, for the affine scheme; the power of two as in the published
experiment (`n`, its clamps, `max_shift` = 8). Deviations, both towards torch's observers: a range is first extended to
hold zero, and the zero point is clamped to the codes, so that zero is exact. A range of zeros has the scale
2^-max_shift, the formula's limit. Where torch divides symmetric ranges by 2^(b-1) - ½, this is the formula's
2^(b-1) - 1. The zero point is that of the exact scale, as the formula is written, and not of the rounded one: so both
ends of a range are clipped in proportion. Taken from the rounded scale it would keep all of the lower end, and of a
range of [-1000, 1000] the codes 0..255 would hold [-255, 0].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from quantbench.errors import QuantizationError
from quantbench.quant.limits import DEFAULT_MAX_SHIFT, LARGEST_MAX_SHIFT, MAX_BITS, MIN_BITS


@dataclass(frozen=True)
class Codes:
    """The integers that values are mapped to.

    Attributes:
        low: the smallest, `qmin`.
        high: the largest, `qmax`.

    Raises:
        QuantizationError: if they take fewer than 2 bits or more than 8.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        check_bits(self.bits)

    @classmethod
    def of(cls, bits: int, signed: bool) -> Codes:
        """All codes of so many bits: -2^(bits-1)..2^(bits-1)-1, or 0..2^bits-1."""
        check_bits(bits)
        return cls(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else cls(0, 2**bits - 1)

    @property
    def bits(self) -> int:
        """Bits needed to tell that many codes apart."""
        return max(self.high - self.low, 0).bit_length()

    @property
    def middle(self) -> int:
        """The zero point of symmetric quantization; 0 for signed codes."""
        return (self.low + self.high + 1) // 2


@dataclass(frozen=True)
class PowersOfTwo:
    """Scales and zero points, one per tensor (shape `[]`) or per channel (`[channels]`).

    Attributes:
        shift: n, int64.
        scale: 2^-n, float32, exact.
        zero_point: int64, among the codes.
    """

    shift: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor


def check_bits(bits: int) -> None:
    """Raises QuantizationError unless codes of so many bits are supported."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise QuantizationError(
            f"bits: {bits} is not possible for a power-of-two scale; allowed: {MIN_BITS} to {MAX_BITS}, which is "
            f"{2**MIN_BITS} to {2**MAX_BITS} codes"
        )


def check_max_shift(max_shift: int) -> None:
    """Raises QuantizationError unless scales as fine as 2^-max_shift are supported."""
    if not isinstance(max_shift, int) or not 0 <= max_shift <= LARGEST_MAX_SHIFT:
        raise QuantizationError(
            f"max_shift: {max_shift} is not possible; allowed: 0 to {LARGEST_MAX_SHIFT}, the finest scale being "
            f"2^-max_shift; the default is {DEFAULT_MAX_SHIFT}"
        )


def shift_of(scale: torch.Tensor, max_shift: int) -> torch.Tensor:
    """n = round(min(max(-log2(scale), 0), max_shift)) of positive or zero scales, int64, of the same shape.

    Taken from mantissa and exponent rather than from a logarithm, whose last bit differs between processors: with
    scale = m · 2^e and m in [½, 1), -log2(scale) is in (-e, 1 - e], and nearer to -e exactly if m > √½.
    """
    mantissa, exponent = torch.frexp(scale.double())
    # The double nearest to √½ lies above it, so that nothing lies between the two.
    nearest = torch.where(mantissa >= 0.5**0.5, -exponent, 1 - exponent).long()
    return torch.where(scale > 0, nearest, max_shift).clamp(0, max_shift)


def two_to_the(exponent: torch.Tensor) -> torch.Tensor:
    """2^exponent of int64 exponents from -1022 to 1023, float64, from the bits of a double.

    `pow`, `exp2` and `ldexp` may be off by the last bit where they are vectorized.
    """
    return ((exponent + 1023) << 52).view(torch.float64)


def power_of_two_qparams(
    min_val: torch.Tensor, max_val: torch.Tensor, codes: Codes, symmetric: bool, max_shift: int = DEFAULT_MAX_SHIFT
) -> PowersOfTwo:
    """Scale 2^-n and zero point for ranges of values; see the module's text for the formula and its error.

    Args:
        min_val: smallest value of each range, `[]` or `[channels]`.
        max_val: largest value, of the same shape.
        codes: integers to map to.
        symmetric: zero at the middle code.
        max_shift: largest n.

    Raises:
        QuantizationError: if max_shift is out of range, or a range is not finite or ends below its beginning.
    """
    check_max_shift(max_shift)
    _check_ranges(min_val, max_val)
    low, high = min_val.double().clamp(max=0), max_val.double().clamp(min=0)
    if symmetric:
        scale = torch.maximum(-low, high) / ((codes.high - codes.low) // 2)
        zero_point = torch.full_like(scale, codes.middle)
    else:
        scale = (high - low) / (codes.high - codes.low)
        zero_point = torch.round(codes.low - low / torch.where(scale > 0, scale, 1.0)).clamp(codes.low, codes.high)
    shift = shift_of(scale, max_shift)
    return PowersOfTwo(shift, two_to_the(-shift).float(), zero_point.long())


def _check_ranges(min_val: torch.Tensor, max_val: torch.Tensor) -> None:
    sound = torch.isfinite(min_val) & torch.isfinite(max_val) & (min_val <= max_val)
    if bool(sound.all()):
        return
    where = int(torch.nonzero(~sound.flatten())[0])
    lowest, highest = (float(values.flatten()[where]) for values in (min_val, max_val))
    channel = f" of channel {where}" if sound.dim() else ""
    raise QuantizationError(
        f"the range{channel} is [{lowest}, {highest}]: no scale fits it; it has to be finite, so look for NaN and "
        "infinity in the weights and in the samples that the observer saw"
    )
