"""A fake quantizer that learns the size of its step, for activations and for weights."""

from __future__ import annotations

import torch
from torch import nn

from quantbench.quant.low_bit import Coding, LowBitQuantizer, through


class LearnedStep(LowBitQuantizer):
    """Learns the size of a step, for activations or weights.

    Args:
        bits: 2 to 8, with which it is trained.
        signed: codes on both sides of zero, one more below.
        is_weight: what is quantized are weights; otherwise activations `[n, …]` of n samples.

    Source:
        LSQ (Esser et al. 2020, arXiv:1902.08153): equations 1 and 2 for the codes and values, 3 for the gradient of the
        step, 5 for that of x, section 2.2 for the factor 1/√(N·Qp) of the step's gradient, where N is the number of
        weights, or of features of one sample; section 2.1 for the first step, 2·mean|x|/√Qp.
    """

    def __init__(self, bits: int, signed: bool, is_weight: bool) -> None:
        super().__init__(bits, Coding(signed, symmetric=False))
        self.is_weight = is_weight
        self._trained_highest = self.codes.high
        self.step = nn.Parameter(torch.tensor(1.0))

    @property
    def clip(self) -> torch.Tensor:
        """The step times the highest code that it was trained with."""
        return self.step.detach() * self._trained_highest

    def set_range(self, x: torch.Tensor) -> None:
        """See `LowBitQuantizer.set_range`."""
        step = 2 * x.abs().mean() / self.codes.high**0.5
        # Nothing but zeros tells nothing of the range.
        self.step.copy_(torch.where(step > 0, step * self.codes.high / self._trained_highest, 1.0))

    def differentiable(self, x: torch.Tensor) -> torch.Tensor:
        """The codes, with the gradient of their clipped values, times the step."""
        n = x.numel() if self.is_weight else x[0].numel()
        step = self.step * (self._trained_highest / self.codes.high)
        step = through(step, step * (n * self.codes.high) ** -0.5)
        clipped = (x / step).clamp(self.codes.low, self.codes.high)
        return through(self.codes_of(x), clipped) * step
