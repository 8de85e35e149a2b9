"""Weights and activations of 2 to 8 bits, fine-tuned from the baseline with ranges that are learned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from quantbench.quant.limits import MAX_BITS, MIN_BITS
from quantbench.recipes.qat_int8 import Epochs, FrozenEpochs, LearningRate, check_frozen_epochs
from quantbench.recipes.spec import FP32_BITS, LowBit


def _check_end(bits: int | None) -> int | None:
    if bits is not None and bits != FP32_BITS and not MIN_BITS <= bits <= MAX_BITS:
        raise PydanticCustomError(
            "bits", "Input should be {low} to {high}, or {fp32} for fp32",
            {"low": MIN_BITS, "high": MAX_BITS, "fp32": FP32_BITS},
        )  # fmt: skip
    return bits


Bits = Annotated[int, Field(ge=MIN_BITS, le=MAX_BITS, strict=True)]
LearnedRange = Literal["pact", "lsq"]
BitsOfAnEnd = Annotated[int | None, Field(strict=True), AfterValidator(_check_end)]


def low_bit(
    weight_bits: Bits = 4,
    activation_bits: Bits = 4,
    quantizer: LearnedRange = "pact",
    epochs: Epochs = 4,
    lr: LearningRate = 0.02,
    frozen_epochs: FrozenEpochs = 1,
    first_bits: BitsOfAnEnd = None,
    last_bits: BitsOfAnEnd = None,
) -> LowBit:
    """Every 2-D convolution and linear layer in a few bits; activations unsigned, but for the first layer's input.

    Args:
        weight_bits: of the weights' codes.
        activation_bits: of the codes of each layer's input.
        quantizer: `pact` or `lsq`.
        epochs: of fine-tuning.
        lr: peak learning rate.
        frozen_epochs: the last epochs, in which batch-norm statistics stand still.
        first_bits: both widths of the first layer; 32 for fp32.
        last_bits: both widths of the last linear layer; 32 for fp32.

    Example:
        >>> low_bit(weight_bits=2, activation_bits=4, last_bits=8).weight_bits
        2
    """
    check_frozen_epochs(epochs, frozen_epochs)
    return LowBit(weight_bits, activation_bits, quantizer, epochs, lr, frozen_epochs, first_bits, last_bits)
