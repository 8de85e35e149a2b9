"""Intervals for one proportion, such as the accuracy of one model, and for the mean of several."""

from collections.abc import Sequence
from math import sqrt

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, two_sided_z


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion, as a fraction of `n`.

    It stays inside [0, 1] and keeps a width when every sample, or none, is a success, where the Wald interval
    collapses to a point.

    Args:
        successes: Number of samples that succeeded, for example that were classified correctly.
        n: Number of samples.
        level: Nominal coverage as a fraction.

    Raises:
        StatisticsError: `n` is below 1, `successes` is outside 0..n, or `level` is not between 0 and 1.

    Source:
        E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212; as method 3 in R. G. Newcombe, Statist. Med. 17
        (1998) 857-872. Deviation: none; no continuity correction.

    Example:
        >>> interval = wilson_interval(successes=90, n=100)
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.826, 0.945)
    """
    z = two_sided_z(level)
    if n < 1:
        raise StatisticsError(f"a proportion needs at least one sample, but n is {n}")
    if not 0 <= successes <= n:
        raise StatisticsError(f"successes must be between 0 and n = {n}, but is {successes}")
    proportion = successes / n
    centre = (successes + z * z / 2.0) / (n + z * z)
    half_width = z * sqrt(successes * (n - successes) / n + z * z / 4.0) / (n + z * z)
    # Rounding can push a limit past the border or past the estimate by one unit in the last place.
    low = min(max(centre - half_width, 0.0), proportion)
    high = max(min(centre + half_width, 1.0), proportion)
    return Interval(low=low, high=high, level=level)


def mean_proportion_interval(successes: Sequence[int], ns: Sequence[int], level: float = 0.95) -> Interval:
    """Interval for the unweighted mean of independent proportions, recovered from Wilson's interval of each.

    Args:
        successes: Of each proportion.
        ns: Samples of each proportion, as many numbers.
        level: Nominal coverage as a fraction.

    Raises:
        StatisticsError: as `wilson_interval`.

    Source:
        G. Y. Zou, A. Donner, Statist. Med. 27 (2008) 1693-1702: the variance of an estimate near a limit is recovered
        from the limit of each part (MOVER). Deviation: none; a mean is a sum over its number of terms.

    Example:
        >>> interval = mean_proportion_interval(successes=[1428, 10, 10], ns=[1480, 10, 10])
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.857, 0.991)
    """
    each = [wilson_interval(x, n, level) for x, n in zip(successes, ns, strict=True)]
    shares = [x / n for x, n in zip(successes, ns, strict=True)]
    mean = sum(shares) / len(shares)
    below = sqrt(sum((share - found.low) ** 2 for share, found in zip(shares, each, strict=True))) / len(shares)
    above = sqrt(sum((found.high - share) ** 2 for share, found in zip(shares, each, strict=True))) / len(shares)
    return Interval(low=max(mean - below, 0.0), high=min(mean + above, 1.0), level=level)
