"""An interval for the median of paired ratios, such as the latency of two models measured side by side."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, check_level

# With four pairs even the whole range of the ratios holds the true median only with probability
# 1 - 2 * 0.5**4 = 0.875, which is no evidence for a gate.
MIN_RATIOS = 5

# Resampled values held in memory at once: 8 MiB of ratios and as much again of indices.
MAX_VALUES_AT_ONCE = 2**20


def median_ratio_interval(
    ratios: NDArray[np.float64], level: float = 0.99, resamples: int = 9_999, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval for the median of paired ratios, without a unit.

    The same ratios, in any order, and the same seed give the same interval. It cannot be wider than the
    ratios themselves, whose range holds the true median with probability 1 - 2 * 0.5**n: to keep a level of
    0.99 takes eight pairs or more.

    Args:
        ratios: One positive ratio per pair, for example latency before over latency after, shape (n,).
        level: Nominal coverage as a fraction.
        resamples: Number of resamples. With 9,999 the limits at 0.99 are the 50th values from each end.
        seed: Seed of the resampling.

    Raises:
        StatisticsError: There are fewer than five ratios, a ratio is not finite and positive, `level` is not
            between 0 and 1, or there are too few resamples to see a tail of (1 - level) / 2.

    Source:
        B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; the limits are the
        (resamples + 1) * p-th ordered values as in A. C. Davison and D. V. Hinkley, Bootstrap Methods and
        their Application (1997), section 5.3.1. Deviation: interpolates linearly between ordered values.
    """
    check_level(level)
    _check_ratios(ratios)
    tail = (1.0 - level) / 2.0
    if (resamples + 1) * tail < 1.0:
        enough = ceil(1.0 / tail) - 1
        raise StatisticsError(f"{resamples} resamples are too few for a level of {level}; use at least {enough}")
    medians = _resampled_medians(np.sort(ratios), resamples, seed)
    low, high = np.quantile(medians, [tail, 1.0 - tail], method="weibull")
    return Interval(low=float(low), high=float(high), level=level)


def order_statistic_interval(ratios: NDArray[np.float64], level: float = 0.99) -> Interval:
    """Distribution-free interval for the median of independent ratios: from the k-th smallest to the k-th largest.

    It holds the true median with probability `level` or more, whatever the distribution; with fewer ratios than it
    takes, it is their whole range.

    Args:
        ratios: as in `median_ratio_interval`.
        level: Nominal coverage as a fraction.

    Raises:
        StatisticsError: as `median_ratio_interval`.

    Source:
        W. R. Thompson, Ann. Math. Statist. 7 (1936) 122-128; G. J. Hahn and W. Q. Meeker, Statistical Intervals (1991),
        section 5.2. Deviation: none.
    """
    check_level(level)
    _check_ratios(ratios)
    from scipy.stats import binom

    ordered, n = np.sort(ratios), len(ratios)
    # The largest k with P(fewer than k of n ratios lie below the median) <= the tail; ppf is the smallest with >=.
    tail = (1.0 - level) / 2.0
    k = int(binom.ppf(tail, n, 0.5))
    if binom.cdf(k, n, 0.5) <= tail:
        k += 1
    k = max(k, 1)
    return Interval(low=float(ordered[k - 1]), high=float(ordered[n - k]), level=level)


def _check_ratios(ratios: NDArray[np.float64]) -> None:
    if ratios.ndim != 1 or len(ratios) < MIN_RATIOS:
        raise StatisticsError(
            f"a median ratio needs one ratio per pair and at least {MIN_RATIOS} pairs, "
            f"but the shape is {ratios.shape}; measure more pairs"
        )
    wrong = np.flatnonzero(~(np.isfinite(ratios) & (ratios > 0.0)))
    if len(wrong):
        raise StatisticsError(
            f"ratios must be finite and positive, but {len(wrong)} of {len(ratios)} are not; "
            f"the first is {ratios[wrong[0]]} at index {wrong[0]}"
        )


def _resampled_medians(ratios: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Medians of `resamples` samples drawn with replacement from `ratios`, shape (resamples,)."""
    generator = np.random.default_rng(seed)
    rows_at_once = max(1, MAX_VALUES_AT_ONCE // len(ratios))
    medians = np.empty(resamples, dtype=np.float64)
    for start in range(0, resamples, rows_at_once):
        rows = min(rows_at_once, resamples - start)
        drawn = generator.integers(len(ratios), size=(rows, len(ratios)))
        medians[start : start + rows] = np.median(ratios[drawn], axis=1)
    return medians
