"""Dimensions of tensors, followed through views and copies by the strides that they have in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from quantbench.backends.storages import storage_key

# Stride and size of dimensions. Views of a storage, turned around or flattened, walk along the same strides.
Dims = tuple[tuple[int, int], ...]


def rank(tensor: torch.Tensor) -> int:
    """Dimensions along which values may differ."""
    return len(_varying(tensor, tensor.dim()))


def distinct(tensor: torch.Tensor) -> int:
    """Values that are not one another's repetition, by `expand`, `unfold` or other views."""
    sizes = [(size, stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0]
    span = 1 + sum((size - 1) * stride for size, stride in sizes)
    return min(math.prod(size for size, _ in sizes), span)


def common(first: Any, second: Any, made: torch.Tensor) -> Dims:
    """Dimensions of an element-wise result along which both operands vary; none where one is a number."""
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return ()
    both = _varying(first, made.dim()) & _varying(second, made.dim())
    return tuple((made.stride(dim), made.size(dim)) for dim in sorted(both))


def carried(dims: Dims, source: torch.Tensor, made: torch.Tensor, kept: Sequence[int] | None = None) -> Dims:
    """The same dimensions in a result.

    Args:
        dims: in the source's memory.
        source: the operand.
        made: has the operand's dimensions in their order, and may have more in front.
        kept: the operand's dimensions that the result has; None for all.
    """
    kept = range(source.dim()) if kept is None else kept
    pairs = zip(reversed(kept), reversed(range(made.dim())), strict=False)
    found = [(made.stride(new), made.size(new)) for old, new in pairs if meets(source, old, dims)]
    return tuple(sorted(found))


def meets(tensor: torch.Tensor, dim: int, dims: Dims) -> bool:
    """True if a tensor's dimension is one of those in its memory, a part of one, or has one inside."""
    stride, size = tensor.stride(dim), tensor.size(dim)
    return size > 1 and any(stride < other * length and other < stride * size for other, length in dims)


def are_same(first: Any, second: Any) -> bool:
    """True of a tensor and itself."""
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return False
    if storage_key(first) != storage_key(second) or first.storage_offset() != second.storage_offset():
        return False
    return first.shape == second.shape and first.stride() == second.stride()


def _varying(tensor: torch.Tensor, n_dims: int) -> set[int]:
    """Dimensions along which values may differ, in a result of `n_dims` dimensions."""
    ahead = n_dims - tensor.dim()
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return {ahead + dim for dim, (size, stride) in enumerate(sizes) if size > 1 and stride != 0}
