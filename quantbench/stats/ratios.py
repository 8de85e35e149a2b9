"""An interval for the median of paired ratios, such as the latency of two models measured side by side."""

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, check_level

# With four pairs even the whole range of the ratios holds the true median only with probability
# 1 - 2 * 0.5**4 = 0.875, which is no evidence for a gate.
MIN_RATIOS = 5


def order_statistic_interval(ratios: NDArray[np.float64], level: float = 0.99) -> Interval:
    """Distribution-free interval for the median of independent ratios: from the k-th smallest to the k-th largest.

    It holds the true median with probability `level` or more, whatever the distribution; with fewer ratios than it
    takes, it is their whole range.

    Args:
        ratios: One positive ratio per pair, for example latency before over latency after, shape (n,).
        level: Nominal coverage as a fraction. To keep 0.99 takes eight pairs or more.

    Raises:
        StatisticsError: There are fewer than five ratios, a ratio is not finite and positive, or `level` is not between
            0 and 1.

    Source:
        W. R. Thompson, Ann. Math. Statist. 7 (1936) 122-128; G. J. Hahn and W. Q. Meeker, Statistical Intervals (1991),
        section 5.2. Deviation: none.

    Example:
        >>> interval = order_statistic_interval(np.linspace(1.9, 2.1, 21), level=0.95)
        >>> round(interval.low, 2), round(interval.high, 2)
        (1.95, 2.05)
    """
    check_level(level)
    check_ratios(ratios)
    from scipy.stats import binom

    ordered, n = np.sort(ratios), len(ratios)
    # The largest k with P(fewer than k of n ratios lie below the median) <= the tail; ppf is the smallest with >=.
    tail = (1.0 - level) / 2.0
    k = int(binom.ppf(tail, n, 0.5))
    if binom.cdf(k, n, 0.5) <= tail:
        k += 1
    k = max(k, 1)
    return Interval(low=float(ordered[k - 1]), high=float(ordered[n - k]), level=level)


def check_ratios(ratios: NDArray[np.float64]) -> None:
    """Refuses ratios that carry no evidence.

    Raises:
        StatisticsError: There are fewer than five, or one is not finite and positive.
    """
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
