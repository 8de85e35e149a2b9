"""Samples of the test split that were looked at, and why no more, as a part of the record of a figure."""

from __future__ import annotations

from quantbench.records.base import Record


class Samples(Record):
    """Samples behind a figure of a run that may stop before the last one.

    Attributes:
        used: samples that were looked at.
        total: samples of the test split.
        why: why it stopped there, or why all of them were used from the start.
        decided: gate → samples after which it was decided.
        error_share: share of each gate's error that was spent before the last sample; 0 where nothing was looked at
            before.
    """

    used: int
    total: int
    why: str
    decided: dict[str, int]
    error_share: float

    @property
    def is_part(self) -> bool:
        """Fewer than all samples were used."""
        return self.used < self.total

    def impossible(self) -> str | None:
        """More samples than there are, or a gate that was decided later."""
        if not 0 < self.used <= self.total or not 0 <= self.error_share < 1:
            return f"{self.used} of {self.total} samples used, and {self.error_share} of the error spent"
        late = [gate for gate, n in self.decided.items() if not 0 < n <= self.used]
        return f"a gate '{late[0]}' that was decided after {self.decided[late[0]]} of them" if late else None

    def impossible_of(self, n: int) -> str | None:
        """The same, or another number of samples than the figure is of."""
        if self.used != n:
            return f"a figure of {n} samples, but {self.used} were used"
        return self.impossible()

    def text(self) -> str:
        """Words for all samples behind the number of those used, such as ` of 50,000`; empty where all are."""
        return f" of {self.total:,}" if self.is_part else ""
