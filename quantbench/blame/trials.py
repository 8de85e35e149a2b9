"""Layers put back, and the task measured again on the test set, in pairs with the candidate as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.insides import Forward, Insides
from quantbench.blame.budget import Budget
from quantbench.blame.evidence import Evidence
from quantbench.blame.samples import samples_at, shuffled
from quantbench.experiment.figures import Floats
from quantbench.experiment.run import Run
from quantbench.foreign import about
from quantbench.records.blame import Trial

LEVEL = 0.95
# A layer that recovers surely less than this part of the drop is given up early.
WORTH = 0.25
# One that recovers at least this part explains it.
EXPLAINS = 0.5
# Layers that are tried alone.
MOST_ALONE = 4
# Parts of the test set that are looked at.
PARTS = (0.25, 0.75)


@dataclass
class Trials:
    """Trials on one candidate.

    Attributes:
        run: measured.
        evidence: of it.
        insides: of its candidate.
        drop: that is to be explained.
        considered: layers that might have been tried; the level of each interval is corrected for so many.
        budget: see `Budget`.
        made: in order.
        refused: why no more were made; empty where all were.
    """

    run: Run
    evidence: Evidence
    insides: Insides
    drop: float
    considered: int
    budget: Budget
    made: list[Trial] = field(default_factory=list)
    refused: str = ""

    @property
    def level(self) -> float:
        """By Bonferroni's inequality, so that all intervals hold at once in 95 of 100 blames."""
        return 1 - (1 - LEVEL) / max(self.considered, 1)

    def put_back(self, layers: Sequence[str], gives_up: bool = True) -> Trial | None:
        """Measures the candidate with some layers put back; None where there is no time left.

        Args:
            layers: all at once; empty for every one.
            gives_up: look at a part of the samples first, and at no more where too little is recovered.
        """
        if not self.budget.allows(self._seconds_of_one()):
            self._refuse()
            return None
        names = layers or [each.name for each in self.insides.layers if each.is_quantized]
        with about(f"the candidate with {', '.join(names[:3])} put back"):
            trial = self._measured(list(layers), self.insides.put_back(names), gives_up)
        if trial is None:
            self._refuse()
            return None
        self.made.append(trial)
        return trial

    def _refuse(self) -> None:
        self.refused = f"the budget of {self.budget.seconds:g} s is used up"

    def _seconds_of_one(self) -> float:
        """Time of a whole pass, by those before."""
        return self.budget.elapsed * len(self.evidence) / max(self.budget.forwards, 1)

    def _measured(self, layers: list[str], predictor: Forward, gives_up: bool) -> Trial | None:
        """One trial; None where the time is up in the middle of it."""
        n = len(self.evidence)
        seen, scores = np.zeros(0, np.int64), list[Floats]()
        for part in shuffled(n, PARTS if n >= 200 else (1.0,)):
            if (own := self._scored(predictor, self.evidence.positions[part])) is None:
                return None
            scores.append(own)
            seen = np.concatenate([seen, part])
            found = self.evidence.recovered(seen, np.concatenate(scores), self.level)
            if gives_up and len(seen) < n and found[1] is not None and found[1][1] < WORTH * self.drop:
                break
        recovered, interval = found
        return Trial(
            layers=layers,
            n=len(seen),
            recovered=recovered,
            interval=interval,
            level=self.level,
            complete=len(seen) == n,
        )

    def _scored(self, predictor: Forward, positions: NDArray[np.int64]) -> Floats | None:
        """Statistics `[m, k]` of some test samples; None where the time is up in between."""
        opened, task = self.run.opened, self.run.opened.task
        test, size = opened.splits.test, opened.workload.config.evaluation.batch_size
        parts = []
        for start in range(0, len(positions), size):
            if self.budget.used > 1:
                return None
            rows = positions[start : start + size]
            outputs = task.chosen(predictor(samples_at(test, rows)), len(rows))
            task.check(outputs, len(rows), test.labels)
            targets = np.array(test.labels[rows])
            found = task.scores(outputs, targets)[:, None] if task.is_mean else task.statistics(outputs, targets)
            parts.append(np.asarray(found, np.float64))
            self.budget.count(len(rows))
        return np.concatenate(parts)
