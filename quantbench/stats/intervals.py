"""Confidence intervals: two limits, a level, and the normal quantile behind them."""

from dataclasses import dataclass
from statistics import NormalDist

from quantbench.errors import StatisticsError


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval, in the unit of the quantity it is for.

    Attributes:
        low: Lower limit.
        high: Upper limit.
        level: Nominal coverage as a fraction, for example 0.95.

    Example:
        >>> Interval(low=0.1, high=0.4, level=0.95).high
        0.4
    """

    low: float
    high: float
    level: float


def check_level(level: float) -> None:
    """Refuse a confidence level that is not a fraction.

    Raises:
        StatisticsError: `level` is not strictly between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise StatisticsError(f"confidence level {level} is not strictly between 0 and 1; write 95 % as 0.95")


def two_sided_z(level: float) -> float:
    """Half-width, in standard deviations, of the central part of a normal distribution that holds `level`.

    Args:
        level: Fraction, for example 0.95, which gives 1.960.

    Raises:
        StatisticsError: `level` is not strictly between 0 and 1.
    """
    check_level(level)
    # From the lower tail, because 1 - (1 - level) / 2 rounds to 1 for the highest levels.
    return -NormalDist().inv_cdf((1.0 - level) / 2.0)
