"""Fake quantizers of 2 to 8 bits whose range is learned, for activations and for weights.

Each maps real values to integer codes with one scale, `x ≈ scale · code`, and back; gradients pass the rounding
straight through (Bengio et al. 2013, arXiv:1308.3432). The bit width may be changed after training: what was learned is
the end of the range, which is then divided into as many steps as the new width has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from quantbench.errors import QuantizationError
from quantbench.quant.limits import MAX_BITS, MIN_BITS
from quantbench.quant.power_of_two import Codes

# Added to the deviation of weights, as published, so that those of a layer may all be the same.
NORMALIZATION_EPS = 1e-5
# Clips that are tried for the first one, as shares of the largest value; and values that they are tried on.
FIRST_CLIPS, FIRST_CLIP_SAMPLES = 64, 1 << 17


def check_bits(bits: int) -> None:
    """Raises QuantizationError unless codes of so many bits are supported."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise QuantizationError(f"bits: {bits} is not possible for a low-bit layer; allowed: {MIN_BITS} to {MAX_BITS}")


@dataclass(frozen=True)
class Coding:
    """The integers that a quantizer maps to, for any bit width.

    Attributes:
        signed: on both sides of zero: -2^(b-1)..2^(b-1) - 1 for b bits; otherwise 0..2^b - 1.
        symmetric: as many below zero as above, so that -2^(b-1) is left out.
    """

    signed: bool
    symmetric: bool = True

    def of(self, bits: int) -> Codes:
        """The integers of that many bits.

        Raises:
            QuantizationError: if the bits are out of range.
        """
        check_bits(bits)
        codes = Codes.of(bits, self.signed)
        return Codes(-codes.high, codes.high) if self.signed and self.symmetric else codes


def to_codes(x: torch.Tensor, scale: torch.Tensor, codes: Codes) -> torch.Tensor:
    """Values of any shape → the nearest codes, integers held as float32, of the same shape; NaN stays NaN.

    Args:
        x: float32.
        scale: of one code, `[]`.
        codes: integers to map to; what is beyond them is clipped.
    """
    return (x / scale).round_().clamp_(codes.low, codes.high)


def through(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`value` to the last bit, with the gradient of `x`."""
    return value.detach() + (x - x.detach())


class LowBitQuantizer(nn.Module, ABC):
    """A range that is learned, divided into codes.

    Args:
        bits: 2 to 8.
        coding: integers that it maps to.

    Raises:
        QuantizationError: if the bits are out of range.
    """

    codes: Codes
    is_set: torch.Tensor

    def __init__(self, bits: int, coding: Coding) -> None:
        super().__init__()
        self.coding = coding
        self.bits = bits
        # Whether a first range was chosen. Kept with the weights, or a training that continues would choose anew.
        self.register_buffer("is_set", torch.tensor(False))

    @property
    def bits(self) -> int:
        """Width of the codes; may be set to 2 to 8."""
        return self._bits

    @bits.setter
    def bits(self, bits: int) -> None:
        self.codes = self.coding.of(bits)
        self._bits = bits

    @property
    @abstractmethod
    def clip(self) -> torch.Tensor:
        """The end of the range, shape `[]`, without a gradient: what the highest code of any width stands for."""

    def scale_of(self, x: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 — the scale of weights may depend on them
        """Step between neighbouring codes, shape `[]`, without a gradient."""
        return self.clip / self.codes.high

    def codes_of(self, x: torch.Tensor) -> torch.Tensor:
        """Values of any shape → codes held as float32, of the same shape; `scale_of(x)` times these is what `forward`
        gives."""
        return to_codes(x.detach(), self.scale_of(x), self.codes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Values of any shape → the nearest that a code stands for, float32; the first call in train mode sets the
        range."""
        x = x.float()
        if self.training and not bool(self.is_set):
            self.start(x.detach())
        return through(self.scale_of(x) * self.codes_of(x), self.differentiable(x))

    def start(self, x: torch.Tensor) -> None:
        """Chooses the first range from values such as will be quantized."""
        with torch.no_grad():
            self.set_range(x)
        self.is_set.fill_(True)

    @abstractmethod
    def set_range(self, x: torch.Tensor) -> None:
        """Sets the learned parameter from values of any shape."""

    def unrounded(self, x: torch.Tensor) -> torch.Tensor:
        """Values as this quantizer takes them, neither clipped nor rounded, of the same shape."""
        return x

    @abstractmethod
    def differentiable(self, x: torch.Tensor) -> torch.Tensor:
        """Tensor of the same shape that carries the gradients of the quantized values; its own values are not used."""

    def extra_repr(self) -> str:
        """Width and integers, as in `LearnedClipping(4 bits, 0..15)`."""
        return f"{self._bits} bits, {self.codes.low}..{self.codes.high}"


class LearnedClipping(LowBitQuantizer):
    """Clips activations at a learned α and divides the range evenly.

    Source:
        PACT (Choi et al. 2018, arXiv:1805.06085): equation 1 for the clipping, 2 for the codes, 3 for the gradient of
        α, which is 1 where x ≥ α and 0 elsewhere; that of x is 1 inside the range and 0 outside. Deviations: where
        activations are signed, as a network's input is, the range is [-α, α], and x ≤ -α has the gradient -1 for α;
        the first α is that of the least squared error on the first batch, instead of a constant.
    """

    def __init__(self, bits: int, signed: bool = False) -> None:
        super().__init__(bits, Coding(signed))
        self.alpha = nn.Parameter(torch.tensor(1.0))

    @property
    def clip(self) -> torch.Tensor:
        """α."""
        return self.alpha.detach()

    def set_range(self, x: torch.Tensor) -> None:
        """See `LowBitQuantizer.set_range`."""
        self.alpha.copy_(least_squares_clip(x, self.codes))

    def differentiable(self, x: torch.Tensor) -> torch.Tensor:
        """x, clipped."""
        # Not `clamp` with a tensor, which would share the gradient at x = α between the two.
        clipped = torch.where(x >= self.alpha, self.alpha, x)
        return torch.where(x <= -self.alpha, -self.alpha, clipped) if self.coding.signed else clipped.relu()


class NormalizedClipping(LowBitQuantizer):
    """Clips a layer's weights, normalized to mean 0 and deviation 1, at a learned α and divides the range evenly.

    With w' = (w - mean) / (deviation + ε) the codes are those of w' in [-α, α], and the values are the deviation times
    what they stand for.

    Args:
        bits: 2 to 8.

    Source:
        Li et al. 2020, arXiv:1909.13144: section 2.2 for the reparameterized clipping, whose gradient for α is
        sign(w') outside the range and `rounded(w'/α) - w'/α` inside, and that of w' is 1 inside and 0 outside; section
        2.3 for the normalization, whose mean and deviation are constants for the gradient, as in the authors' code.
        Deviations: even steps instead of sums of powers of two; the deviation is multiplied back, so that a trained
        network can be started from and a layer without a batch norm after it keeps its scale (with one, the result is
        the same); the first α is that of the least squared error.
    """

    def __init__(self, bits: int) -> None:
        super().__init__(bits, Coding(signed=True))
        self.alpha = nn.Parameter(torch.tensor(3.0))

    @property
    def clip(self) -> torch.Tensor:
        """α, of the normalized weights."""
        return self.alpha.detach()

    def scale_of(self, x: torch.Tensor) -> torch.Tensor:
        """See `LowBitQuantizer.scale_of`."""
        return _moments(x)[1] * self.clip / self.codes.high

    def codes_of(self, x: torch.Tensor) -> torch.Tensor:
        """See `LowBitQuantizer.codes_of`; the mean is subtracted first."""
        return to_codes(x.detach() - _moments(x)[0], self.scale_of(x), self.codes)

    def unrounded(self, x: torch.Tensor) -> torch.Tensor:
        """See `LowBitQuantizer.unrounded`: their mean is subtracted."""
        return x - _moments(x)[0]

    def set_range(self, x: torch.Tensor) -> None:
        """See `LowBitQuantizer.set_range`."""
        mean, deviation = _moments(x)
        self.alpha.copy_(least_squares_clip((x - mean) / deviation, self.codes))

    def differentiable(self, x: torch.Tensor) -> torch.Tensor:
        """α times the rounded share of it, times the deviation."""
        mean, deviation = _moments(x)
        share = ((x - mean) / deviation / self.alpha).clamp(-1, 1)
        return deviation * self.alpha * through(self.codes_of(x) / self.codes.high, share)


def least_squares_clip(x: torch.Tensor, codes: Codes) -> torch.Tensor:
    """The clip among even shares of max|x| with which quantizing x loses least, by squared error; shape `[]`.

    Args:
        x: values of any shape; where there are many, evenly spaced ones are looked at.
        codes: integers that the range is divided into.
    """
    values = x.reshape(-1)
    values = values[:: -(-len(values) // FIRST_CLIP_SAMPLES)]
    largest = values.abs().max() if codes.low < 0 else values.max()
    if not bool(largest > 0):
        # Nothing to clip, or NaN, which training reports by itself.
        return torch.ones_like(largest)
    clips = largest * torch.arange(1, FIRST_CLIPS + 1, device=x.device) / FIRST_CLIPS
    scales = clips / codes.high
    errors = torch.stack([(to_codes(values, scale, codes) * scale - values).square().sum() for scale in scales])
    return clips[errors.argmin()]


def _moments(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of a layer's weights, `[]` each, as constants."""
    fixed = weight.detach()
    return fixed.mean(), fixed.std(correction=0) + NORMALIZATION_EPS
