"""Speed-up from paired times: its median with an interval that survives looking more than once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.stats.intervals import Interval
from quantbench.stats.ratios import order_statistic_interval
from quantbench.stats.regression import Change, change_of, ratio_interval
from quantbench.stats.sequential import Looks

# A model against itself may differ by this share before nothing that was timed beside it is believed.
CONTROL_TOLERANCE = 0.02


@dataclass(frozen=True)
class Speedup:
    """A median of paired ratios, without a unit; above 1 is faster.

    Attributes:
        estimate: the median.
        interval: distribution-free, at the level of all planned looks together.
    """

    estimate: float
    interval: Interval

    @classmethod
    def of(cls, ratios: NDArray[np.float64], looks: Looks) -> Speedup:
        """From the ratios so far, `[rounds]`, seen at one of the planned looks.

        Example:
            >>> speedup = Speedup.of(np.linspace(1.9, 2.1, 20), Looks(first=20, count=1, level=0.95))
            >>> round(speedup.estimate, 2), speedup.deviates
            (2.0, True)
        """
        look = order_statistic_interval(ratios, looks.level_of_each)
        return cls(float(np.median(ratios)), Interval(look.low, look.high, looks.level))

    @property
    def deviates(self) -> bool:
        """True if the ratio, of a model to itself, is surely further from 1 than a machine to be trusted allows."""
        return self.deviates_by(CONTROL_TOLERANCE)

    def deviates_by(self, tolerance: float) -> bool:
        """True if the ratio, which ought to be 1, is surely further from it than the tolerance, as a share."""
        return self.interval.low > 1 + tolerance or self.interval.high < 1 / (1 + tolerance)


@dataclass(frozen=True)
class Measurement:
    """A speed-up with what is known of the rounds that it comes from.

    Attributes:
        speedup: by the clock that is believed.
        control: of the same model against itself in the same rounds, by the same clock.
        strayed: whether that control strayed though nothing was seen that disturbed the rounds.
        doubt: why no verdict follows from the rounds, in words; None if one does.
        note: why the clock is not the wall clock, in words; empty if it is.
    """

    speedup: Speedup
    control: Speedup
    strayed: bool = False
    doubt: str | None = None
    note: str = ""


def speed_loss(now: Speedup, accepted: Speedup) -> Interval:
    """Share of an accepted speed-up that is lost: 0.1 where 3.6× is left of 4×; negative where it grew."""
    ratio = ratio_interval(now.estimate, now.interval, accepted.estimate, accepted.interval)
    return Interval(1.0 - ratio.high, 1.0 - ratio.low, ratio.level)


@dataclass(frozen=True)
class SpeedQuestions:
    """Questions about a speed-up; a measurement may stop when all of it is answered.

    Attributes:
        bound: it must reach, or None.
        accepted: it is compared with, or None.
        margin: share of the accepted speed-up that may be lost.
        to_accept: whether it is to be accepted: as precise as was planned, since every later comparison inherits its
            interval.
        fastest_bound: the speed-up over the fastest fp32 form must reach, or None.
    """

    bound: float | None = None
    accepted: Speedup | None = None
    margin: float = 0.0
    to_accept: bool = False
    fastest_bound: float | None = None

    def answered(self, now: Speedup, over_fastest: Speedup | None = None) -> bool:
        """True if no bound lies inside its interval; so also where nothing is asked.

        Args:
            now: the speed-up.
            over_fastest: the same over the fastest fp32 form, where that was timed.
        """
        if self.to_accept:
            return False
        for bound, found in ((self.bound, now), (self.fastest_bound, over_fastest)):
            if bound is not None and found is not None and found.interval.low < bound <= found.interval.high:
                return False
        if self.accepted is None:
            return True
        return change_of(speed_loss(now, self.accepted), self.margin) is not Change.INCONCLUSIVE
