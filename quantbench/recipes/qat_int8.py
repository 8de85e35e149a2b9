"""Quantization-aware training (Jacob et al. 2018, arXiv:1712.05877) as a short fine-tuning of the baseline."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantbench.recipes.spec import ObserverSpec, QatInt8
from quantbench.registry import RECIPES

QAT_ACTIVATION = ObserverSpec("MovingAverageMinMaxObserver", "quint8", "per_tensor_affine")
QAT_WEIGHT = ObserverSpec("MovingAveragePerChannelMinMaxObserver", "qint8", "per_channel_symmetric")


Epochs = Annotated[int, Field(gt=0)]
LearningRate = Annotated[float, Field(gt=0)]
FrozenEpochs = Annotated[int, Field(ge=0)]


@RECIPES.register("qat_int8")
def qat_int8(epochs: Epochs = 4, lr: LearningRate = 0.005, frozen_epochs: FrozenEpochs = 1) -> QatInt8:
    """Moving-average observers, weights per output channel, learned with straight-through gradients."""
    return fine_tuning(epochs, lr, frozen_epochs, None)


def fine_tuning(epochs: int, lr: float, frozen_epochs: int, blocks: tuple[str, ...] | None) -> QatInt8:
    """The recipe for the whole model or for some of its blocks.

    Raises:
        ValueError: if no epoch would be left in which observers and batch norm move.
    """
    if frozen_epochs >= epochs:
        raise ValueError(f"frozen_epochs ({frozen_epochs}) must be fewer than epochs ({epochs})")
    return QatInt8(QAT_ACTIVATION, QAT_WEIGHT, epochs, lr, frozen_epochs, blocks)
