"""Int8 layers in integers alone, rescaled by shifts of bits: what hardware without a multiplier for it would compute.

A layer whose input, weight and output have the scales 2^-n_x, 2^-n_w and 2^-n_y gives, in exact arithmetic,

    acc = Σ (x - zero_point_x) · w + bias · 2^(n_x + n_w)
    y = zero_point_y + acc · 2^-k,          k = n_x + n_w - n_y

so that rescaling is a shift by k bits to the right, rounded to the nearest code. Weights are symmetric (zero point 0),
the bias is kept in 32 bits at the accumulator's scale, and n_w and k may differ from channel to channel.

At such scales the kernels of all engines of torch compute just this; they differ in the one of two codes that they take
where both are equally near (`Ties`), which shifting by k bits makes a common case: one accumulator in 2^k.

Source: section 2.2 of Jacob et al. 2018, arXiv:1712.05877, whose multiplier M is 2^-k here. Deviations: ties are those
of torch's kernels; an accumulator or bias beyond 32 bits is an error instead of a wrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch

from quantbench.errors import QuantizationError
from quantbench.quant.power_of_two import Codes, two_to_the

INT32 = torch.iinfo(torch.int32)
UINT8 = Codes(0, 255)
# So many bits further to the right nothing is left of 32 bits but their sign.
FURTHEST = 40


class Ties(Enum):
    """Which of two equally near codes is taken; found by trying every engine of torch 2.14."""

    TO_EVEN = "the even number of steps from zero, then the zero point is added: FBGEMM, QNNPACK, and ATen's additions"
    TO_EVEN_CODE = "the even code, the zero point being added first: oneDNN"
    AWAY_FROM_ZERO = "the one farther from zero: QNNPACK's additions"


@dataclass(frozen=True)
class Activation:
    """A tensor of codes with one scale 2^-shift.

    Attributes:
        codes: integers of any shape, int64.
        shift: n of the scale.
        zero_point: the code of zero.
    """

    codes: torch.Tensor
    shift: int
    zero_point: int

    def values(self) -> torch.Tensor:
        """What the codes stand for, exactly, float64."""
        return (self.codes - self.zero_point).double() * 0.5**self.shift


@dataclass(frozen=True)
class Weight:
    """Symmetric codes `[outputs, …]` with a scale 2^-shift for each output channel, or one for all.

    Attributes:
        codes: int64.
        shift: n, `[outputs]` or `[]`, int64.
    """

    codes: torch.Tensor
    shift: torch.Tensor

    def values(self) -> torch.Tensor:
        """What the codes stand for, exactly, float64."""
        scale = two_to_the(-self.shift).expand(len(self.codes))
        return self.codes.double() * scale.reshape(-1, *[1] * (self.codes.dim() - 1))


@dataclass(frozen=True)
class Output:
    """How a layer's result is held.

    Attributes:
        shift: n of its scale 2^-n.
        zero_point: the code of zero.
        relu: clamp at zero, which is the zero point.
        ties: how to round.
        codes: the integers at hand.
    """

    shift: int
    zero_point: int
    relu: bool = False
    ties: Ties = Ties.TO_EVEN
    codes: Codes = UINT8


def quantize_bias(bias: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """A bias `[outputs]` as int64 codes at the accumulator's scale 2^-shift, `[outputs]` or `[]`.

    Raises:
        QuantizationError: if a code takes more than 32 bits.
    """
    return _in_32_bits(torch.round(bias.double() * two_to_the(shift)).long(), "the bias")


def shift_right(accumulator: torch.Tensor, k: torch.Tensor, ties: Ties = Ties.TO_EVEN) -> torch.Tensor:
    """`accumulator · 2^-k`, rounded to the nearest integer; a negative k shifts left, exactly.

    Args:
        accumulator: int64 within 32 bits, of any shape.
        k: int64, broadcast against it.
        ties: to even, or away from zero.
    """
    right, left = k.clamp(0, FURTHEST), (-k).clamp(min=0)
    quotient = accumulator >> right
    remainder = accumulator - (quotient << right)
    twice, whole = 2 * remainder, torch.ones_like(quotient) << right
    upper_of_two = accumulator > 0 if ties is Ties.AWAY_FROM_ZERO else quotient % 2 == 1
    up = (twice > whole) | ((twice == whole) & upper_of_two)
    return (quotient + up) << left


def conv2d(
    x: Activation,
    weight: Weight,
    bias: torch.Tensor | None,
    output: Output,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Activation:
    """A convolution in integers; padding is with real zeros.

    Args:
        x: codes `[n, inputs, h, w]`.
        weight: codes `[outputs, inputs / groups, kh, kw]`.
        bias: `[outputs]`, real values.
        output: what the result is rescaled to.
        stride: of the window, both ways.
        padding: zeros at each side.
        dilation: between the taps of a window.
        groups: of channels.

    Raises:
        QuantizationError: if the accumulator or the bias needs more than 32 bits.
    """
    geometry = Geometry((stride,) * 2, (padding,) * 2, (dilation,) * 2, groups)
    return _rescaled(convolution_sums(x.codes - x.zero_point, weight.codes, geometry), x, weight, bias, output)


@dataclass(frozen=True)
class Geometry:
    """Of a 2-D convolution; pairs are for rows and columns.

    Attributes:
        stride: of the window.
        padding: zeros at each side.
        dilation: between the taps of a window.
        groups: of channels.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


def convolution_sums(x: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The sums of products of a convolution, in integers.

    Args:
        x: int64 `[n, inputs, h, w]`, zero where zero is meant.
        weight: int64 `[outputs, inputs / groups, kh, kw]`.
        geometry: of the convolution.

    Returns:
        int64 `[n, outputs, oh, ow]`.
    """
    outputs, per_group, *kernel = weight.shape
    (rows, columns), groups = geometry.padding, geometry.groups
    padded = torch.nn.functional.pad(x, (columns, columns, rows, rows))
    taps = [_taps(padded.shape[2 + d], kernel[d], geometry.stride[d], geometry.dilation[d]) for d in (0, 1)]
    windows = padded[:, :, taps[0]][..., taps[1]]  # [n, inputs, oh, kh, ow, kw]
    n, _, oh, _, ow, _ = windows.shape
    patches = windows.permute(1, 3, 5, 0, 2, 4).reshape(groups, per_group * kernel[0] * kernel[1], n * oh * ow)
    sums = weight.reshape(groups, outputs // groups, -1) @ patches
    return sums.reshape(outputs, n, oh, ow).transpose(0, 1)


def linear(x: Activation, weight: Weight, bias: torch.Tensor | None, output: Output) -> Activation:
    """A linear layer in integers.

    Args:
        x: codes `[n, inputs]`.
        weight: codes `[outputs, inputs]`.
        bias: `[outputs]`, real values.
        output: what the result is rescaled to.

    Raises:
        QuantizationError: if the accumulator or the bias needs more than 32 bits.
    """
    return _rescaled((x.codes - x.zero_point) @ weight.codes.T, x, weight, bias, output)


def add(a: Activation, b: Activation, output: Output) -> Activation:
    """The sum of two tensors of one shape: both are shifted to the finer scale, added and rescaled.

    Raises:
        QuantizationError: if the sum needs more than 32 bits.
    """
    finer = max(a.shift, b.shift)
    total = sum(((each.codes - each.zero_point) << (finer - each.shift) for each in (a, b)), torch.tensor(0))
    return _held(_in_32_bits(total, "the sum"), torch.tensor(finer - output.shift), output)


def _taps(size: int, kernel: int, stride: int, dilation: int) -> torch.Tensor:
    """Positions `[windows, kernel]` along one side of a padded input."""
    starts = torch.arange(0, size - dilation * (kernel - 1), stride)
    return starts[:, None] + dilation * torch.arange(kernel)


def _rescaled(
    accumulator: torch.Tensor, x: Activation, weight: Weight, bias: torch.Tensor | None, output: Output
) -> Activation:
    """Adds the bias to sums `[n, outputs, …]` and shifts them to the output's scale."""
    shift = x.shift + weight.shift
    per_channel = (-1, *[1] * (accumulator.dim() - 2))
    if bias is not None:
        accumulator = accumulator + quantize_bias(bias, shift).reshape(per_channel)
    k = (shift - output.shift).reshape(per_channel)
    return _held(_in_32_bits(accumulator, "the accumulator"), k, output)


def _held(accumulator: torch.Tensor, k: torch.Tensor, output: Output) -> Activation:
    if output.ties is Ties.TO_EVEN_CODE:
        # A zero point of as many steps, before the shift; what is shifted left is never a tie.
        before = torch.where(k > 0, output.zero_point << k.clamp(0, FURTHEST), 0)
        codes = shift_right(accumulator + before, k) + torch.where(k > 0, 0, output.zero_point)
    else:
        codes = shift_right(accumulator, k, output.ties) + output.zero_point
    low = max(output.codes.low, output.zero_point) if output.relu else output.codes.low
    return Activation(codes.clamp(low, output.codes.high), output.shift, output.zero_point)


def _in_32_bits(values: torch.Tensor, what: str) -> torch.Tensor:
    if values.numel() and (int(values.min()) < INT32.min or int(values.max()) > INT32.max):
        raise QuantizationError(
            f"{what} reaches from {int(values.min())} to {int(values.max())}, beyond the 32 bits of an accumulator; "
            "use coarser scales (a smaller max_shift)"
        )
    return values
