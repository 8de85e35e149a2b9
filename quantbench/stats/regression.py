"""Worse than what was accepted, better, or the same: an interval of a loss against a margin."""

from __future__ import annotations

from enum import StrEnum
from math import exp, log, sqrt

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval


class Change(StrEnum):
    """Change of a quantity since it was accepted; NO BASELINE where none was, on this class of machine."""

    IMPROVED = "IMPROVED"
    SAME = "SAME"
    REGRESSED = "REGRESSED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_BASELINE = "NO BASELINE"


def change_of(loss: Interval, margin: float, strict: Interval | None = None) -> Change:
    """Classifies a loss since acceptance by its interval.

    REGRESSED: surely more than the margin was lost. IMPROVED: surely more than the margin was gained. SAME: surely not
    more than the margin was lost, which is non-inferiority. INCONCLUSIVE: the margin lies inside the interval.

    Args:
        loss: of the quantity, in its unit; positive is worse.
        margin: loss that is tolerated, in the same unit, not negative.
        strict: a wider interval that REGRESSED needs beyond the margin, corrected for the gates of a whole run.

    Raises:
        StatisticsError: if the margin is negative.
    """
    if margin < 0:
        raise StatisticsError(f"the margin of a regression is {margin:g}; it must not be negative")
    if (strict or loss).low > margin and loss.low > margin:
        return Change.REGRESSED
    if loss.high < -margin:
        return Change.IMPROVED
    return Change.SAME if loss.high <= margin else Change.INCONCLUSIVE


def ratio_interval(now: float, now_interval: Interval, accepted: float, accepted_interval: Interval) -> Interval:
    """Interval of `now / accepted` for two positive quantities estimated independently, each with its own interval.

    Args:
        now: estimate.
        now_interval: its interval.
        accepted: estimate that it is divided by.
        accepted_interval: its interval, at the same level or a higher one.

    Returns:
        The interval, at the lower of the two levels.

    Raises:
        StatisticsError: if an estimate is outside its interval, or a limit is not positive.

    Source:
        MOVER, the method of variance estimates recovery: G. Y. Zou and A. Donner, Statist. Med. 27 (2008) 1693-1702,
        equations for a difference, applied to logarithms. Deviation: none.
    """
    for name, estimate, interval in (("now", now, now_interval), ("accepted", accepted, accepted_interval)):
        if not 0 < interval.low <= estimate <= interval.high:
            raise StatisticsError(
                f"'{name}': the estimate {estimate:g} and its interval [{interval.low:g}, {interval.high:g}] are not "
                "positive and in order"
            )
    difference = log(now / accepted)
    down = sqrt(log(now / now_interval.low) ** 2 + log(accepted_interval.high / accepted) ** 2)
    up = sqrt(log(now_interval.high / now) ** 2 + log(accepted / accepted_interval.low) ** 2)
    return Interval(exp(difference - down), exp(difference + up), min(now_interval.level, accepted_interval.level))
