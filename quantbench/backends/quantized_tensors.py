"""torch's quantized tensors, as far as this torch has them: their end is announced (pytorch/pytorch#184982)."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch

# Dtype of the integers → smallest and largest.
INTEGERS: dict[Any, tuple[int, int]] = {
    getattr(torch, name): ends
    for name, ends in {"qint8": (-128, 127), "quint8": (0, 255), "qint32": (-(2**31), 2**31 - 1)}.items()
    if hasattr(torch, name)
}
INT8 = tuple(getattr(torch, name) for name in ("qint8", "quint8") if hasattr(torch, name))
FLOAT_QPARAMS = getattr(torch, "per_channel_affine_float_qparams", None)
# Schemes with a scale for each channel.
PER_CHANNEL = tuple(
    getattr(torch, name)
    for name in ("per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams")
    if hasattr(torch, name)
)


def is_quantized(value: object) -> TypeGuard[torch.Tensor]:
    """True for a tensor of integers with a scale of its own.

    Example:
        >>> is_quantized(torch.zeros(1))
        False
    """
    return isinstance(value, torch.Tensor) and bool(getattr(value, "is_quantized", False))
