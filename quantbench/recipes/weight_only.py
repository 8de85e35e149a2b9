"""Weight-only quantization: weights in few bits, while activations and arithmetic stay in floating point."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantbench.recipes.spec import WeightOnly

# As kernels have them.
SMALLEST_BLOCK, LARGEST_BLOCK, DEFAULT_BLOCK = 16, 256, 32
BlockSize = Annotated[int, Field(ge=SMALLEST_BLOCK, le=LARGEST_BLOCK)]


def weight_only_int8() -> WeightOnly:
    """Weights of linear layers and convolutions in 8 bits, one scale per output channel; no calibration.

    Example:
        >>> weight_only_int8().bits
        8
    """
    return WeightOnly(8, ("Linear", "Conv1d", "Conv2d"))


def weight_only_int4(block_size: BlockSize = DEFAULT_BLOCK) -> WeightOnly:
    """Weights of linear layers in 4 bits, one scale per block of inputs; no calibration.

    Args:
        block_size: weights that share a scale, along the inputs of a layer: 16, 32, 64, 128 or 256.

    Raises:
        ValueError: if it is no power of two.

    Example:
        >>> weight_only_int4(block_size=64).block_size
        64
    """
    if block_size & (block_size - 1):
        raise ValueError(f"block_size: {block_size} is no power of two; give 16, 32, 64, 128 or 256")
    return WeightOnly(4, ("Linear",), block_size)
