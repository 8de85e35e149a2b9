"""The figures behind a verdict, so that a report can draw what a verdict says in words."""

from __future__ import annotations

from math import isfinite
from typing import Self

from quantbench.records.base import Record
from quantbench.stats.verdicts import Verdict


class Judged(Record):
    """A figure that was held against a bound.

    Attributes:
        estimate: measured value, in the unit of the quantity.
        interval: of it; None for a quantity that is exact.
        level: of the interval; None without one.
        bound: of the gate; None where it is no single number.
        n: samples or rounds behind the estimate.

    Example:
        >>> Judged(estimate=0.4, interval=(0.1, 1.2), level=0.95, bound=1.0, n=1_000).impossible()
        >>> Judged(estimate=4.0, interval=(1.2, 0.1), level=0.95, bound=1.0, n=1_000).impossible()
        'an interval (1.2, 0.1) that is not in order'
    """

    estimate: float
    interval: tuple[float, float] | None = None
    level: float | None = None
    bound: float | None = None
    n: int

    def impossible(self) -> str | None:
        """A figure that is not finite, a level that is none, or an interval that is not in order."""
        figures = [self.estimate, *(self.interval or ()), *(each for each in (self.bound, self.level) if each)]
        if not all(isfinite(each) for each in figures):
            return f"figures {figures} that are not finite"
        if self.n < 0 or (self.level is not None and not 0 < self.level < 1):
            return f"n {self.n} and level {self.level}"
        if self.interval and self.interval[0] > self.interval[1]:
            return f"an interval {self.interval} that is not in order"
        return None

    @classmethod
    def of(cls, verdict: Verdict) -> Self | None:
        """The figures of a verdict; None where there is no finite estimate, which JSON could not hold either."""
        estimate, own, bound = verdict.estimate, verdict.interval, verdict.bound
        is_number = isinstance(bound, int | float) and isfinite(bound)
        if not isinstance(estimate, int | float) or not isfinite(estimate):
            return None
        interval = (own.low, own.high) if own and isfinite(own.low) and isfinite(own.high) else None
        return cls(
            estimate=float(estimate),
            interval=interval,
            level=own.level if own and interval else None,
            bound=float(bound) if is_number and bound is not None else None,
            n=verdict.n,
        )
