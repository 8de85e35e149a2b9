"""The percentile bootstrap of a median of paired ratios, such as the times of two programs run side by side.

The package judges a speed-up by the distribution-free interval (`quantbench.stats.ratios`), which keeps its level with
few pairs; this one, up to twice as often wrong with a few dozen, serves the benchmarks' own tables.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, check_level
from quantbench.stats.ratios import check_ratios

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
    check_ratios(ratios)
    tail = (1.0 - level) / 2.0
    if (resamples + 1) * tail < 1.0:
        enough = ceil(1.0 / tail) - 1
        raise StatisticsError(f"{resamples} resamples are too few for a level of {level}; use at least {enough}")
    medians = _resampled_medians(np.sort(ratios), resamples, seed)
    low, high = np.quantile(medians, [tail, 1.0 - tail], method="weibull")
    return Interval(low=float(low), high=float(high), level=level)


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
