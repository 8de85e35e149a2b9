"""Quantization-aware training (Jacob et al. 2018, arXiv:1712.05877) as a short fine-tuning of the baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from quantbench.quant.limits import DEFAULT_MAX_SHIFT
from quantbench.recipes.spec import MOVING_AVERAGE_ACTIVATION, MOVING_AVERAGE_WEIGHT, MaxShift, QatInt8

Epochs = Annotated[int, Field(gt=0)]
LearningRate = Annotated[float, Field(gt=0)]
FrozenEpochs = Annotated[int, Field(ge=0)]


def qat_int8(epochs: Epochs = 4, lr: LearningRate = 0.005, frozen_epochs: FrozenEpochs = 1) -> QatInt8:
    """Moving averages of ranges, weights per output channel, learned with straight-through gradients.

    Example:
        >>> qat_int8(epochs=2).epochs
        2
    """
    return _fine_tuning(epochs, lr, frozen_epochs, None)


def qat_int8_pow2(
    epochs: Epochs = 4,
    lr: LearningRate = 0.005,
    frozen_epochs: FrozenEpochs = 1,
    max_shift: MaxShift = DEFAULT_MAX_SHIFT,
) -> QatInt8:
    """`qat_int8` with every scale a power of two, in training as after conversion.

    Args:
        epochs: of fine-tuning.
        lr: peak learning rate.
        frozen_epochs: the last epochs, in which observers and batch norm stand still.
        max_shift: the finest scale is 2^-max_shift; weights that stay below 90 · 2^-max_shift lose bits to it.

    Example:
        >>> qat_int8_pow2(max_shift=6).weight.max_shift
        6
    """
    return _fine_tuning(epochs, lr, frozen_epochs, None, max_shift)


def qat_int8_layers(
    layers: tuple[str, ...], epochs: Epochs = 4, lr: LearningRate = 0.005, frozen_epochs: FrozenEpochs = 1
) -> QatInt8:
    """`qat_int8` on the named layers only; the whole network is fine-tuned around them.

    Args:
        layers: by the names of the model's `layer_groups`; an empty list fine-tunes without quantizing, as a control.
        epochs: of fine-tuning.
        lr: peak learning rate.
        frozen_epochs: the last epochs, in which observers and the batch norms of quantized layers stand still.

    Example:
        >>> qat_int8_layers(("block1",)).layers
        ('block1',)
    """
    return _fine_tuning(epochs, lr, frozen_epochs, layers)


def _fine_tuning(
    epochs: int, lr: float, frozen_epochs: int, layers: tuple[str, ...] | None, max_shift: int | None = None
) -> QatInt8:
    """The recipe for the whole model or for some of its layers.

    Raises:
        ValueError: if no epoch would be left in which observers and batch norm move.
    """
    check_frozen_epochs(epochs, frozen_epochs)
    activation, weight = (
        replace(each, max_shift=max_shift) for each in (MOVING_AVERAGE_ACTIVATION, MOVING_AVERAGE_WEIGHT)
    )
    return QatInt8(activation, weight, epochs, lr, frozen_epochs, layers)


def check_frozen_epochs(epochs: int, frozen_epochs: int) -> None:
    """Raises ValueError if no epoch would be left in which observers and batch norm move."""
    if frozen_epochs >= epochs:
        raise ValueError(
            f"frozen_epochs ({frozen_epochs}) must be fewer than epochs ({epochs}): the last {frozen_epochs} are frozen"
            f"; train for {frozen_epochs + 1} or more, or freeze {max(0, epochs - 1)} at most"
        )
