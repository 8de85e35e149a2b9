"""The test samples that a run was judged on, with the scores of reference and candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.experiment.clusters import clusters_of
from quantbench.experiment.figures import Clusters, Floats, paired
from quantbench.experiment.run import Run
from quantbench.records.intervals import Limits
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.tasks.interface import Task


@dataclass(frozen=True)
class Evidence:
    """Both models on the samples that were looked at: all of them, or those that a sequential verdict needed.

    Attributes:
        task: that scores.
        positions: `[n]`, of the test split.
        before: statistics of the reference, `[n, k]`.
        after: the same of the candidate.
        clusters: `[n]`, group of each; None where samples are independent.
        total: samples of the test split.
    """

    task: Task
    positions: NDArray[np.int64]
    before: Floats
    after: Floats
    clusters: Clusters
    total: int

    @classmethod
    def of(cls, run: Run) -> Evidence:
        """Of a run; evaluates the whole test split where nothing was looked at yet."""
        task, clusters, sampling = run.opened.task, clusters_of(run), run.sampling
        if sampling is not None and sampling.is_part:
            own = np.asarray(sampling.positions)
            groups = None if clusters is None else clusters[own]
            return cls(task, own, sampling.before.statistics, sampling.after.statistics, groups, sampling.total)
        before, after = run.reference_evaluation.statistics, run.evaluation.statistics
        return cls(task, np.arange(len(after)), before, after, clusters, len(after))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def unit(self) -> str:
        """Of what is lost."""
        return "pp" if self.task.is_binary else self.task.unit

    def lost(self, level: float) -> tuple[float, Limits | None]:
        """The drop from reference to candidate, positive for worse, with its interval."""
        return self._difference(self.before, self.after, level, self.clusters)

    def recovered(self, seen: NDArray[np.int64], after: Floats, level: float) -> tuple[float, Limits | None]:
        """Gain over the candidate on some of the samples.

        Args:
            seen: `[m]`, places among these samples.
            after: statistics of another model on them, `[m, k]`.
            level: of the interval.
        """
        clusters = None if self.clusters is None else self.clusters[seen]
        loss, interval = self._difference(self.after[seen], after, level, clusters)
        return -loss, None if interval is None else (-interval[1], -interval[0])

    def _difference(
        self, before: Floats, after: Floats, level: float, clusters: Clusters
    ) -> tuple[float, Limits | None]:
        """Loss from one to the other on the same samples, as the gates of the task have it."""
        if not self.task.is_binary:
            measured = paired(self.task, before, after, (level,), clusters, with_own=False)
            (interval,) = measured.intervals
            return measured.drop, None if interval is None else (interval.low, interval.high)
        outcomes = PairedOutcomes.from_correct(before[:, 0] == 1, after[:, 0] == 1)
        tango = tango_interval(outcomes, level)
        low, high = 100 * tango.low, 100 * tango.high
        if clusters is not None:
            # Whole groups; those that vary little never tell more than independent samples.
            (own,) = paired(self.task, before, after, (level,), clusters, with_own=False).intervals
            if own is None:
                return 100 * outcomes.drop, None
            low, high = min(low, 100 * own.low), max(high, 100 * own.high)
        return 100 * outcomes.drop, (low, high)
