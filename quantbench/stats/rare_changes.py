"""Interval of a loss that a handful of changed samples make up, where resampling them would tell too short a one."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, two_sided_z


def rare_changes_interval(loss: float, effects: NDArray[np.float64], level: float) -> Interval:
    """Interval of a loss that is the sum of the effects of rare changes.

    The number of changes is as uncertain as a Poisson count, and one that was not seen is taken to be no larger than
    the largest that was. For changes of one size and sign the upper limit is the score limit of that count.

    Args:
        loss: of all samples.
        effects: `[k]`, part of the loss that each changed sample makes up.
        level: nominal coverage, a fraction.

    Raises:
        StatisticsError: if nothing changed, or `level` is no fraction.

    Source:
        The score interval of a Poisson mean (Garwood, Biometrika 28 (1936) 437–442, compares it with exact ones):
        k + z²/2 ± z √(k + z²/4), with Σ effects² in the place of k and the largest effect as the unit; both limits as
        far away as the farther one.

    Example:
        >>> interval = rare_changes_interval(0.005, np.full(5, 0.001), 0.95)
        >>> round(interval.high, 4), round(interval.low, 4)
        (0.0117, -0.0017)
    """
    z = two_sided_z(level)
    if not len(effects):
        raise StatisticsError("no sample changed, which tells nothing of those that might")
    largest = float(np.abs(effects).max())
    far = largest * z * z / 2 + z * sqrt(float((effects**2).sum()) + (largest * z / 2) ** 2)
    return Interval(loss - far, loss + far, level)
