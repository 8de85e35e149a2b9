"""Observers and fake quantizers of torch.ao whose scales are powers of two: drop-in for prepare and prepare_qat.

Each class observes as its parent does and differs in how a range becomes a scale alone:
`quantbench.quant.power_of_two`. The parents' `eps` has no say, since `max_shift` bounds the scale from below.

Kernels of 8 bits know no narrower range. Where fewer are asked for, by `bits` or by `reduce_range`, fake quantization
clips to them, and a converted activation beyond the observed range goes on to the end of its 8 bits, as with torch's
observers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.histogram import HistogramObserver
from quantbench.errors import QuantizationError
from quantbench.quant.limits import DEFAULT_MAX_SHIFT
from quantbench.quant.power_of_two import Codes, check_max_shift, power_of_two_qparams

SYMMETRIC = (torch.per_tensor_symmetric, torch.per_channel_symmetric)
SCHEMES = (torch.per_tensor_affine, torch.per_channel_affine, *SYMMETRIC)
SIGNED = (torch.qint8, torch.int8)
DTYPES = (*SIGNED, torch.quint8, torch.uint8)


class PowerOfTwoScale(ao.observer.UniformQuantizationObserverBase):
    """Makes the scales of an observer powers of two; to be named before the observer among the bases of a class.

    Args:
        max_shift: largest n of a scale 2^-n.
        bits: codes of so many bits, instead of the observer's `quant_min` and `quant_max`.
        kwargs: the observer's.

    Raises:
        QuantizationError: if max_shift or the bits are out of range, or the dtype is not an 8-bit integer.
    """

    def __init__(self, *, max_shift: int = DEFAULT_MAX_SHIFT, bits: int | None = None, **kwargs: Any) -> None:
        check_max_shift(max_shift)
        dtype = kwargs.get("dtype", torch.quint8)
        _check_allowed("dtype", dtype, DTYPES)
        if "qscheme" in kwargs:
            _check_allowed("qscheme", kwargs["qscheme"], SCHEMES)
        if bits is not None:
            codes = Codes.of(bits, signed=dtype in SIGNED)
            kwargs |= {"quant_min": codes.low, "quant_max": codes.high}
        elif kwargs.get("quant_min") is not None and kwargs.get("quant_max") is not None:
            Codes(kwargs["quant_min"], kwargs["quant_max"])
        super().__init__(**kwargs)
        self.max_shift = max_shift
        # Halved once more where the range is reduced.
        self._codes = Codes(self.quant_min, self.quant_max)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Observes `x`, of any shape, and gives it back.

        Raises:
            QuantizationError: if a value is NaN or infinite; some observers would skip it, some stumble over it.
        """
        if not bool(torch.isfinite(x).all()):
            raise QuantizationError(
                f"the observer was shown NaN or infinity in a tensor of shape {list(x.shape)}: no scale fits it; look "
                "at the weights and at the samples of the calibration or training"
            )
        # The observer's own, by the order of the bases.
        observed: torch.Tensor = super().forward(x)  # type: ignore[safe-super]
        return observed

    def _calculate_qparams(self, min_val: torch.Tensor, max_val: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scales and zero points of ranges, `[1]` or `[channels]`; 1 and 0, with upstream's warning, of no range."""
        if min_val.numel() == 0 or bool((min_val == torch.inf).all() & (max_val == -torch.inf).all()):
            return super()._calculate_qparams(min_val, max_val)
        qparams = power_of_two_qparams(min_val, max_val, self._codes, self.qscheme in SYMMETRIC, self.max_shift)
        # A scalar becomes a tensor of one element, as upstream has it.
        return torch.atleast_1d(qparams.scale), torch.atleast_1d(qparams.zero_point)


def _check_allowed(what: str, given: object, allowed: tuple[object, ...]) -> None:
    if given not in allowed:
        names = ", ".join(str(each).removeprefix("torch.") for each in allowed)
        raise QuantizationError(f"{what}: {given} cannot have power-of-two scales; allowed: {names}")


class PowerOfTwoMinMaxObserver(PowerOfTwoScale, ao.MinMaxObserver):
    """The smallest and largest value seen, per tensor."""


class PowerOfTwoMovingAverageMinMaxObserver(PowerOfTwoScale, ao.MovingAverageMinMaxObserver):
    """Moving averages of the smallest and largest value, per tensor."""


class PowerOfTwoPerChannelMinMaxObserver(PowerOfTwoScale, ao.PerChannelMinMaxObserver):
    """The smallest and largest value seen, per channel."""


class PowerOfTwoMovingAveragePerChannelMinMaxObserver(PowerOfTwoScale, ao.MovingAveragePerChannelMinMaxObserver):
    """Moving averages of the smallest and largest value, per channel."""


class PowerOfTwoHistogramObserver(PowerOfTwoScale, HistogramObserver):
    """The range of the least squared error by a histogram, per tensor.

    The search assumes the exact scale of each range that it tries.
    """


# By the name of the observer that each is to stand in for.
OBSERVERS: dict[str, type[PowerOfTwoScale]] = {
    "MinMaxObserver": PowerOfTwoMinMaxObserver,
    "MovingAverageMinMaxObserver": PowerOfTwoMovingAverageMinMaxObserver,
    "PerChannelMinMaxObserver": PowerOfTwoPerChannelMinMaxObserver,
    "MovingAveragePerChannelMinMaxObserver": PowerOfTwoMovingAveragePerChannelMinMaxObserver,
    "HistogramObserver": PowerOfTwoHistogramObserver,
}
