"""Studentized bootstrap intervals of means and of ratios of means, for scores that no range bounds."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, check_level

Floats = NDArray[np.float64]
FEWEST_REPLICATES = 1_999
# Memory of the drawn samples of some replicates at once.
DRAWN_BYTES = 64 << 20
# Of so few values the spread itself is a guess.
FEWEST = 10


def mean_interval(values: Floats, level: float, seed: int = 0) -> Interval:
    """Interval of the mean of `values`, `[n]`.

    Args:
        values: one per sample, finite.
        level: nominal coverage, a fraction.
        seed: of the resampling.

    Raises:
        StatisticsError: if there are fewer than 10 values, or `level` is no fraction.

    Source:
        Bootstrap-t: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, section 10.10; DiCiccio and
        Efron, Bootstrap confidence intervals, Statist. Sci. 11 (1996) 189–228, section 4. A replicate whose values are
        all the same has no spread and counts as infinitely far.

    Example:
        >>> interval = mean_interval(np.arange(100.0), 0.95)
        >>> interval.low < 49.5 < interval.high
        True
    """
    return _studentized(values, np.ones_like(values), level, seed, logarithm=False)


def log_ratio_interval(above: Floats, below: Floats, level: float, seed: int = 0) -> Interval:
    """Interval of log(mean of `above` / mean of `below`), natural; samples are paired.

    Args:
        above: `[n]`, not negative, with a positive mean.
        below: `[n]`, likewise.
        level: nominal coverage, a fraction.
        seed: of the resampling.

    Raises:
        StatisticsError: as of `mean_interval`.

    Source:
        Bootstrap-t as in `mean_interval`, on the logarithm of a ratio estimator, whose spread is that of its linear
        part (Cochran, Sampling Techniques, 3rd ed. 1977, section 6.3).
    """
    return _studentized(above, below, level, seed, logarithm=True)


def _studentized(above: Floats, below: Floats, level: float, seed: int, logarithm: bool) -> Interval:
    check_level(level)
    n = len(above)
    if n < FEWEST:
        raise StatisticsError(f"{n} samples are too few for an interval; measure on at least {FEWEST}")
    estimate, error = (float(each[0]) for each in _estimates(above[None], below[None], logarithm))
    if error == 0.0:
        return Interval(estimate, estimate, level)
    # So many that the limits are no extremes of them: of each tail at least one replicate lies beyond.
    replicates = max(FEWEST_REPLICATES, ceil(4 / (1 - level)) - 1)
    random, step = np.random.default_rng(seed), max(1, DRAWN_BYTES // (16 * n))
    distances = []
    for start in range(0, replicates, step):
        rows = random.integers(0, n, (min(step, replicates - start), n))
        found, spread = _estimates(above[rows], below[rows], logarithm)
        far = np.copysign(np.inf, found - estimate)
        distances.append(np.divide(found - estimate, spread, out=far, where=spread > 0))
    # Of ordered replicates the (B + 1) · α/2-th from each end.
    ordered = np.sort(np.concatenate(distances))
    rank = max(int((replicates + 1) * (1 - level) / 2), 1)
    return Interval(estimate - float(ordered[-rank]) * error, estimate - float(ordered[rank - 1]) * error, level)


def _estimates(above: Floats, below: Floats, logarithm: bool) -> tuple[Floats, Floats]:
    """Estimate and its standard error, each `[replicates]`, of samples `[replicates, n]`."""
    n = above.shape[1]
    first = above.mean(axis=1)
    if not logarithm:
        return first, above.std(axis=1, ddof=1) / np.sqrt(n)
    second = below.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        linear = above / first[:, None] - below / second[:, None]
        found = np.log(first) - np.log(second)
        return found, np.nan_to_num(linear.std(axis=1, ddof=1) / np.sqrt(n), nan=0.0, posinf=0.0)
