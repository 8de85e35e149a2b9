"""Named arrays of one batch: what a model takes and gives, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]
# Names where there is only one. A model with one input takes it under any name.
INPUT, OUTPUT = "input", "output"


def largest_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Of two arrays of one shape, in float64: truth values cannot be subtracted, and unsigned integers wrap around.

    Example:
        >>> largest_difference(np.array([5], np.uint8), np.array([7], np.uint8))
        2.0
    """
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
