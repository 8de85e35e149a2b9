"""Samples on which a run's figures are judged: all of the test split, or the first of them in a random order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantbench.measure.evaluation import Evaluation
from quantbench.measure.gradual import Positions
from quantbench.records.samples import Samples
from quantbench.stats.early_verdict import SHARE_OF_LOOKS, level_of_last
from quantbench.stats.sampled_mean import MeanSequence


@dataclass(frozen=True)
class Sampling:
    """Both models on the samples that were looked at.

    Attributes:
        positions: `[n]`, of the test split, in the order in which they were looked at; in its own order where they are
            all.
        before: the reference on them.
        after: the candidate.
        total: samples of the test split.
        why: why it stopped there, or why all were used from the start.
        looks: gate → its sequence; empty where nothing was looked at before the last sample.
        loss: the sequence of what is lost, in the unit of a score, whether or not a gate asks for it.
        others: samples beside them, whose answers alone are compared.
    """

    positions: Positions
    before: Evaluation
    after: Evaluation
    total: int
    why: str
    looks: Mapping[str, MeanSequence] = field(default_factory=dict)
    loss: MeanSequence | None = None
    others: tuple[Positions, Evaluation, Evaluation] | None = None

    @property
    def is_part(self) -> bool:
        """Fewer than all samples were looked at."""
        return len(self.positions) < self.total

    @property
    def text(self) -> str:
        """Line for the end of the run."""
        if self.is_part:
            used = len(self.positions)
            return f"{used:,} of {self.total:,} test samples, in random order: {self.why} (--full looks at all of them)"
        return f"all {self.total:,} test samples: {self.why}"

    @property
    def record(self) -> Samples:
        """For the record."""
        decided = {name: each.decided_at for name, each in self.looks.items() if each.decided_at is not None}
        share = SHARE_OF_LOOKS if self.looks else 0.0
        used = len(self.positions)
        return Samples(used=used, total=self.total, why=self.why, decided=decided, error_share=share)

    def level(self, own: float) -> float:
        """Level of an interval of all samples, which has what the looks before left of the error."""
        return level_of_last(own) if self.looks else own
