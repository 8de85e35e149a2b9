"""Sequential looks at growing evidence: a few that are planned and share the error."""

from __future__ import annotations

from dataclasses import dataclass

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import check_level


@dataclass(frozen=True)
class Looks:
    """Looks at a measurement after `first`, 2 · `first`, 4 · `first`, … rounds, planned before the first round.

    Each look's interval has the level `1 − (1 − level) / (count · instruments)`, so that by Bonferroni's inequality all
    of them hold the true value at once with probability `level`, however they depend on each other. Any rule for
    stopping at one of them is therefore allowed: that the interval has decided, that time is up, or both; and any rule
    for choosing between instruments that measure the same.

    Attributes:
        first: rounds before the first look.
        count: of looks.
        level: of all of them together, as a fraction.
        instruments: that read the same rounds, such as two clocks, of which one is believed after the rounds were seen.

    Raises:
        StatisticsError: if there is no look, or the level is not between 0 and 1.

    Source:
        Group-sequential analysis as in C. Jennison and B. W. Turnbull, Group Sequential Methods (2000), chapter 2, with
        equal shares of the error. Deviation: Bonferroni's shares instead of Pocock's constants, which assume normal
        increments; it widens the interval a little and needs no assumption.

    Example:
        >>> Looks(first=10, count=3, level=0.97).rounds
        (10, 20, 40)
    """

    first: int
    count: int
    level: float
    instruments: int = 1

    def __post_init__(self) -> None:
        check_level(self.level)
        if self.first < 1 or self.count < 1 or self.instruments < 1:
            raise StatisticsError(
                f"{self.count} looks from {self.first} rounds on: plan at least one look after at least one round"
            )

    @property
    def level_of_each(self) -> float:
        """Of the interval at one look."""
        return 1.0 - (1.0 - self.level) / (self.count * self.instruments)

    @property
    def rounds(self) -> tuple[int, ...]:
        """Rounds in total before each look."""
        return tuple(self.first << i for i in range(self.count))
