"""Multiply-accumulates of convolutions and matrix products, by the shapes of what they take and give."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod


def of_convolution(weight: Sequence[int], positions: Sequence[int]) -> int:
    """Each weight is used once at each position of the side that it steps along.

    Args:
        weight: its sizes, those of groups among them.
        positions: sizes `[n, channels, …]` of the output, or of the input of a transposed convolution.

    Example:
        >>> of_convolution([8, 3, 3, 3], [2, 8, 6, 6])
        15552
    """
    return positions[0] * prod(positions[2:]) * prod(weight)


def of_matrix_product(first: Sequence[int], output: Sequence[int]) -> int:
    """Each value of the output is a sum along the axis of the first operand that the output lacks.

    Args:
        first: sizes `[…, rows, k]` of the first operand, or `[…, k, rows]` if it is transposed.
        output: sizes `[…, rows, columns]`.

    Example:
        >>> of_matrix_product([5, 2, 3], [5, 2, 4]), of_matrix_product([5, 3, 2], [5, 2, 4])
        (120, 120)
    """
    if len(first) == 1:
        return prod(output) * first[0]
    rows = output[-2] if len(output) > 1 else 1
    return prod(output) * (first[-1] if first[-2] == rows else first[-2])
