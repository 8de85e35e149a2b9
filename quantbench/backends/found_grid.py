"""The grid that real numbers lie on, found from the numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantbench.backends.insides import Array, Grid
from quantbench.quant.limits import MAX_BITS

# Of a step of the grid, by which a number on it may be off.
OFF_GRID = 1e-3
# Of a channel: fewer numbers lie on some grid by chance.
LEAST = 8


def grid_of(values: Array, channel: int) -> Grid | None:
    """The grid with zero that all values lie on: of the tensor, or else of each channel; None where there is none.

    Steps are the smallest distance between two values, so that a grid of which only every other code is taken is
    told as the coarser one.

    Args:
        values: real numbers.
        channel: axis of the channels.

    Example:
        >>> grid_of(np.array([[0.5, -1.0, 1.5, 0.0, 3.5, 2.0, 1.0, -2.0]]), 0).scale
        array(0.5)
    """
    if (scale := _step(values.reshape(-1))) is not None:
        return _symmetric(values, [scale], channel)
    rows = np.moveaxis(values, channel, 0).reshape(values.shape[channel], -1)
    # A channel of zeros lies on every grid.
    found = [_step(row) if row.any() else 0.0 for row in rows]
    scales = [each for each in found if each is not None]
    if len(scales) < max(len(found), 2) or not any(scales):
        return None
    usual = float(np.median([each for each in scales if each]))
    return _symmetric(values, [each or usual for each in scales], channel)


def _symmetric(values: Array, scales: Sequence[float], channel: int) -> Grid:
    shape = [-1 if each == channel % values.ndim and len(scales) > 1 else 1 for each in range(values.ndim)]
    codes = np.round(values / np.asarray(scales, np.float64).reshape(shape))
    end = 1 << int(max(-codes.min() - 1, codes.max(), 1)).bit_length()
    return Grid.of(scales, 0, -end, end - 1, channel if len(scales) > 1 else None, values.ndim)


def _step(values: Array) -> float | None:
    if values.size < LEAST or not np.isfinite(values).all():
        return None
    distinct = np.unique(np.append(np.asarray(values, np.float64), 0.0))
    if not 2 <= len(distinct) <= 1 << MAX_BITS:
        return None
    codes = np.round(distinct / np.diff(distinct).min())
    if np.abs(codes).max() > 1 << MAX_BITS:
        return None
    # By least squares, since a difference of two numbers of 32 bits is off by more than each of them.
    step = float(distinct @ codes / (codes @ codes))
    return step if np.abs(distinct / step - codes).max() <= OFF_GRID else None
