"""Quantization-aware training (Jacob et al. 2018, arXiv:1712.05877) as a short fine-tuning of the baseline."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantbench.recipes.spec import ObserverSpec, QatInt8
from quantbench.registry import RECIPES

_ACTIVATION = ObserverSpec("MovingAverageMinMaxObserver", "quint8", "per_tensor_affine")
_WEIGHT = ObserverSpec("MovingAveragePerChannelMinMaxObserver", "qint8", "per_channel_symmetric")


@RECIPES.register("qat_int8")
def qat_int8(
    epochs: Annotated[int, Field(gt=0)] = 4,
    lr: Annotated[float, Field(gt=0)] = 0.005,
    frozen_epochs: Annotated[int, Field(ge=0)] = 1,
) -> QatInt8:
    """Moving-average observers, weights per output channel, learned with straight-through gradients."""
    if frozen_epochs >= epochs:
        raise ValueError(f"frozen_epochs ({frozen_epochs}) must be fewer than epochs ({epochs})")
    return QatInt8(_ACTIVATION, _WEIGHT, epochs, lr, frozen_epochs)
