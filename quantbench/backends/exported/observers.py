"""Observers of torchao with a range of the least squared error that is found in a hundredth of the time, and with
scales that are powers of two."""

from __future__ import annotations

from typing import Any

import torch
from torchao.quantization import pt2e

from quantbench.backends.histogram_range import narrowed
from quantbench.quant.power_of_two import Codes, power_of_two_qparams

SYMMETRIC = (torch.per_tensor_symmetric, torch.per_channel_symmetric)


class HistogramObserver(pt2e.HistogramObserver):
    """torchao's, by the same steps."""

    def _non_linear_param_search(self) -> tuple[torch.Tensor, torch.Tensor]:
        return narrowed(self)


class _PowerOfTwo:
    """Makes the scales of an observer powers of two; to be named before the observer among the bases of a class.

    Args:
        max_shift: largest n of a scale 2^-n.
        kwargs: the observer's.
    """

    def __init__(self, *, max_shift: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_shift = max_shift

    def _calculate_qparams(self: Any, min_val: torch.Tensor, max_val: torch.Tensor) -> tuple[Any, Any]:
        if min_val.numel() == 0 or bool((min_val == torch.inf).all() & (max_val == -torch.inf).all()):
            found: tuple[Any, Any] = super()._calculate_qparams(min_val, max_val)  # type: ignore[misc]
            return found
        codes = Codes(self.quant_min, self.quant_max)
        qparams = power_of_two_qparams(min_val, max_val, codes, self.qscheme in SYMMETRIC, self.max_shift)
        return torch.atleast_1d(qparams.scale), torch.atleast_1d(qparams.zero_point)


class PowerOfTwoMinMaxObserver(_PowerOfTwo, pt2e.MinMaxObserver):
    """The smallest and largest value seen, per tensor."""


class PowerOfTwoMovingAverageMinMaxObserver(_PowerOfTwo, pt2e.MovingAverageMinMaxObserver):
    """Moving averages of them, per tensor."""


class PowerOfTwoPerChannelMinMaxObserver(_PowerOfTwo, pt2e.PerChannelMinMaxObserver):
    """The smallest and largest value seen, per channel."""


class PowerOfTwoMovingAveragePerChannelMinMaxObserver(_PowerOfTwo, pt2e.MovingAveragePerChannelMinMaxObserver):
    """Moving averages of them, per channel."""


class PowerOfTwoHistogramObserver(_PowerOfTwo, HistogramObserver):
    """The range of the least squared error, per tensor."""


class FakeQuantize(pt2e.FusedMovingAvgObsFakeQuantize):
    """torchao's in one kernel, whose scales are those that a model is converted with.

    The kernel's symmetric scale is max(−min / 128, max / 127), the observer's max(−min, max) / 127.5; torchao trains
    with the one and converts with the other, and so does torch.ao.
    """

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and zero point of the last forward."""
        return self.scale, self.zero_point


# By how the ends of the range are found, and for how much of a tensor: any scale, powers of two.
OBSERVERS: dict[tuple[str, str], tuple[Any, Any]] = {
    ("minmax", "per_tensor"): (pt2e.MinMaxObserver, PowerOfTwoMinMaxObserver),
    ("minmax", "per_channel"): (pt2e.PerChannelMinMaxObserver, PowerOfTwoPerChannelMinMaxObserver),
    ("moving_average", "per_tensor"): (pt2e.MovingAverageMinMaxObserver, PowerOfTwoMovingAverageMinMaxObserver),
    ("moving_average", "per_channel"): (
        pt2e.MovingAveragePerChannelMinMaxObserver,
        PowerOfTwoMovingAveragePerChannelMinMaxObserver,
    ),
    ("histogram", "per_tensor"): (HistogramObserver, PowerOfTwoHistogramObserver),
}
