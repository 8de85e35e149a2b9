"""Correction for many gates: they share the false alarms of one run."""

from dataclasses import dataclass
from math import ceil, log10

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import check_level


@dataclass(frozen=True, slots=True)
class Family:
    """The gates of one run that are judged by intervals, and the false alarms they may raise together.

    A false alarm is a run in which some gate FAILs although every one of them holds. With an error of
    `false_alarm / gates` for each interval, the sum over the gates bounds the probability of any, however the gates
    depend on each other. PASS is not corrected: it is the claim of one gate, not of the run. A FAIL uses one tail
    only; the other tail's half is kept in hand, since a score interval's far tail may be twice as heavy as it should
    be where nearly all flips are losses (`docs/verdict-figures.md`).

    Attributes:
        gates: Number of gates judged by an interval; exact ones raise no false alarm and are not counted.
        false_alarm: Largest share of runs with a false alarm, as a fraction.

    Raises:
        StatisticsError: `gates` is negative, or `false_alarm` is not strictly between 0 and 1.

    Source:
        Bonferroni's inequality as in O. J. Dunn, J. Am. Stat. Assoc. 56 (1961) 52-64. Deviation: only the
        verdict FAIL. Not the more powerful step-down method of S. Holm, Scand. J. Stat. 6 (1979)
        65-70: it needs all p-values before it can give any verdict, and verdicts are reported as the tests finish.
    """

    gates: int
    false_alarm: float = 0.05

    def __post_init__(self) -> None:
        if self.gates < 0:
            raise StatisticsError(f"a run cannot have {self.gates} gates; count those judged by an interval")
        if not 0.0 < self.false_alarm < 1.0:
            raise StatisticsError(
                f"false_alarm {self.false_alarm} is not strictly between 0 and 1; write 5 % of runs as 0.05"
            )

    def level(self, own: float) -> float:
        """Level of the two-sided interval that must be wholly beyond a gate's bound before it may FAIL.

        Args:
            own: Level of the interval that the gate is judged by, as a fraction.

        Returns:
            `1 - false_alarm / gates`, or `own` where that is higher: the correction never weakens a gate's claim.

        Raises:
            StatisticsError: `own` is not strictly between 0 and 1.
        """
        check_level(own)
        return max(own, self._shared_level)

    def sentence(self) -> str:
        """Sentence for the summary of the run about its false alarms."""
        if self.gates == 0:
            return "no gate judged by an interval: no false alarm to correct for"
        promised = f"in at most {100.0 * self.false_alarm:g} % of runs"
        if self.gates == 1:
            return (
                "1 gate judged by an interval: a FAIL needs the whole interval beyond the bound, "
                f"so that it raises a false alarm {promised}"
            )
        return (
            f"{self.gates} gates judged by intervals: a FAIL needs its whole {_percent(self._shared_level)} % interval "
            "(or its own, where that is wider) beyond the bound, "
            f"so that all of them together raise a false alarm {promised}"
        )

    @property
    def _shared_level(self) -> float:
        return 1.0 - self.false_alarm / self.gates if self.gates else 0.0


def _percent(level: float) -> str:
    """A level in percent with two digits of what it leaves out: 99.17, 99.975."""
    decimals = max(ceil(1.0 - log10(100.0 * (1.0 - level))), 0)
    text = f"{100.0 * level:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
