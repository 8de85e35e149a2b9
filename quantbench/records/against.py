"""A revision that a run was measured against: the base, and what became of each of its experiments since."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantbench.records.base import Record, holds
from quantbench.records.intervals import Limits
from quantbench.records.parity import Speed

# Names of the verdicts on what became of an experiment since the base; no configuration bounds them.
ACCURACY, SCORE, SPEED = "accuracy_vs_base", "score_vs_base", "speed_vs_base"
VERDICTS = (ACCURACY, SCORE, SPEED)


class Figures(Record):
    """A figure of both revisions on the same samples.

    Attributes:
        unit: of the figure; accuracies are shares.
        base: of the base.
        head: of the run.
        drop: that was lost since the base, in the unit; of an accuracy in percentage points.
        interval: of it; None where the samples tell none.
        level: of the interval.
        n: samples.
        lost: right on the base and wrong now; None of a task whose scores are not 0 and 1.
        gained: the other way round.
    """

    unit: str
    base: float
    head: float
    drop: float
    interval: Limits | None
    level: float
    n: int
    lost: int | None = None
    gained: int | None = None

    def impossible(self) -> str | None:
        """An interval without its estimate, or more changes than samples."""
        if self.interval is not None and not holds(self.interval, self.drop):
            return f"a loss of {self.drop} outside of its interval {self.interval}"
        if self.n < 1 or (self.lost or 0) + (self.gained or 0) > self.n:
            return f"{self.lost} lost and {self.gained} gained of {self.n} samples"
        return None


class SinceBase(Record):
    """One experiment since the base.

    Attributes:
        problem: why there is nothing to compare with, in words; empty where there is.
        is_same: the candidate holds the same values, so that nothing was measured again.
        figures: of both; None where nothing could be compared.
        base_bytes: of the base's files.
        head_bytes: of the run's.
        speed: of the run over the base, in interleaved rounds; None where nothing was timed.
        untimed: why; empty where it was.
        changed: parts of the configuration, data and weights that differ, as `name: base → head`.
        keys: entries of the files that differ, likewise; the first of them.
        more_keys: number of the others.
    """

    problem: str = ""
    is_same: bool = False
    figures: Figures | None = None
    base_bytes: Annotated[int, Field(ge=0)] = 0
    head_bytes: Annotated[int, Field(ge=0)] = 0
    speed: Speed | None = None
    untimed: str = ""
    changed: list[str] = Field(default_factory=list)
    keys: list[str] = Field(default_factory=list)
    more_keys: Annotated[int, Field(ge=0)] = 0

    @property
    def size_ratio(self) -> float | None:
        """Bytes of the run's files over the base's; None where there are none."""
        return self.head_bytes / self.base_bytes if self.base_bytes else None


class Base(Record):
    """The revision that a run was measured against.

    Attributes:
        revision: as it was asked for.
        commit: its hash.
        notes: lines about what both share, and what the base lacks.
        base_only: experiments that the run does not have any more.
        head_only: those that the base does not have.
    """

    revision: str
    commit: str
    notes: list[str] = Field(default_factory=list)
    base_only: list[str] = Field(default_factory=list)
    head_only: list[str] = Field(default_factory=list)

    @property
    def name(self) -> str:
        """The revision with the beginning of its hash."""
        short = self.commit[:10]
        return self.revision if self.commit.startswith(self.revision) else f"{self.revision} ({short})"
