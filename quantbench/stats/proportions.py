"""An interval for one proportion, such as the accuracy of one model."""

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
