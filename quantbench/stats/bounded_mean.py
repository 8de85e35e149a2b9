"""Interval of the mean of values within known limits, by betting: it holds for every number of samples."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, check_level

Floats = NDArray[np.float64]
# Share of the wealth that a bet stakes at most.
LARGEST_STAKE = 0.75
# Steps of halving, to a share of 10**-9 of the range.
HALVINGS = 30


def betting_interval(values: Floats, low: float, high: float, level: float, seed: int = 0) -> Interval:
    """Interval of the mean of independent values, each within `low` to `high`.

    Its coverage is at least the level whatever the distribution, however rarely a value differs from the others.

    Args:
        values: `[n]`.
        low: smallest that a value can be.
        high: largest.
        level: least coverage, a fraction.
        seed: of the order in which values are bet on.

    Raises:
        StatisticsError: if there is no value, one is out of range, or `level` is no fraction.

    Source:
        Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, J. R. Statist. Soc. B 86
        (2024) 1–27, arXiv:2010.09686: the hedged capital process (section 4.3, Theorem 3) with the predictable plug-in
        bets for a fixed number of samples (equations 24 to 26), each side with half of the risk. Deviations: of the two
        bets the larger wealth counts, so that each limit is found by halving instead of on a grid.

    Example:
        >>> interval = betting_interval(np.r_[np.zeros(990), np.ones(10)], 0, 1, 0.95)
        >>> interval.low < 0.01 < interval.high < 0.03
        True
    """
    check_level(level)
    if not len(values):
        raise StatisticsError("there is no value to tell an interval of")
    if values.min() < low or values.max() > high or not low < high:
        raise StatisticsError(f"values from {values.min():g} to {values.max():g} are not within {low:g} to {high:g}")
    shares = np.random.default_rng(seed).permutation((values - low) / (high - low))
    needed = log(2 / (1 - level))
    stakes = _stakes(shares, needed)
    mean = float(shares.mean())
    lower = _limit(shares, stakes, mean, needed)
    upper = 1 - _limit(1 - shares, stakes, 1 - mean, needed)
    return Interval(low + (high - low) * lower, low + (high - low) * upper, level)


def _stakes(shares: Floats, needed: float) -> Floats:
    """Bets for each value, from those before it."""
    n = len(shares)
    counts = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(shares)) / (counts + 1)
    variances = (0.25 + np.cumsum((shares - means) ** 2)) / (counts + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(sqrt(2 * needed / n) / np.sqrt(before))


def _limit(shares: Floats, stakes: Floats, mean: float, needed: float) -> float:
    """The largest mean below the estimate that bets on a larger one exclude with all below it."""

    def excluded(claimed: float) -> bool:
        bets = np.minimum(stakes, LARGEST_STAKE / claimed) if claimed > 0 else stakes
        return bool(np.cumsum(np.log1p(bets * (shares - claimed))).max() >= needed)

    out, within = 0.0, mean
    if not excluded(out):
        return out
    for _ in range(HALVINGS):
        middle = (out + within) / 2
        if excluded(middle):
            out = middle
        else:
            within = middle
    return out
