"""Some blocks of a model in int8 and the rest in fp32: one at a time to find the sensitive ones, or all but those."""

from __future__ import annotations

from quantbench.recipes.qat_int8 import Epochs, FrozenEpochs, LearningRate, fine_tuning
from quantbench.recipes.spec import DEFAULT_CALIBRATION_N, CalibrationN, QatInt8, StaticInt8
from quantbench.registry import RECIPES


@RECIPES.register("static_int8_blocks")
def static_int8_blocks(blocks: tuple[str, ...], calibration_n: CalibrationN = DEFAULT_CALIBRATION_N) -> StaticInt8:
    """The processor's default qconfig, as `static_int8_histogram`, on the named blocks only.

    Args:
        blocks: names that the model gives its blocks.
        calibration_n: samples that the observers see.
    """
    if not blocks:
        raise ValueError("blocks: none is named; nothing would be quantized")
    return StaticInt8(None, None, calibration_n, blocks)


@RECIPES.register("qat_int8_blocks")
def qat_int8_blocks(
    blocks: tuple[str, ...], epochs: Epochs = 4, lr: LearningRate = 0.005, frozen_epochs: FrozenEpochs = 1
) -> QatInt8:
    """`qat_int8` on the named blocks only; the whole network is fine-tuned around them.

    Args:
        blocks: names that the model gives its blocks; an empty list fine-tunes without quantizing, as a control.
        epochs: of fine-tuning.
        lr: peak learning rate.
        frozen_epochs: the last epochs, in which observers and the batch norms of quantized blocks stand still.
    """
    return fine_tuning(epochs, lr, frozen_epochs, blocks)
