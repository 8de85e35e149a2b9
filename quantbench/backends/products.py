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


def are_pairs(operands: Sequence[tuple[Sequence[int] | None, bool]], output: Sequence[int]) -> bool:
    """True if a multiplication value by value may pair each value with several weights, as a matrix product does.

    Scaling the channels of a picture does not: the values are as many as the results, and the constants fewer.

    Args:
        operands: sizes of each, and True for a constant.
        output: sizes of the result.

    Example:
        >>> are_pairs([([2, 6, 1], False), ([1, 6, 5], True)], [2, 6, 5])
        True
        >>> are_pairs([([2, 6, 5], False), ([1, 6, 1], True)], [2, 6, 5])
        False
    """
    return not any(size is not None and prod(size) >= prod(output) for size, is_constant in operands if not is_constant)
