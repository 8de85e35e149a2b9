"""Groups of the test samples, and intervals of accuracies that resample them as wholes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quantbench.errors import EvaluationError
from quantbench.experiment.figures import Clusters, Paired, paired
from quantbench.records.clusters import Clustered
from quantbench.stats.design_effect import design_effect
from quantbench.stats.intervals import Interval
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.tasks.interface import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quantbench.experiment.run import Run
    from quantbench.measure.evaluation import Evaluation


def clusters_of(run: Run) -> Clusters:
    """Groups of the test samples, where the data has some and the workload does not take samples as independent.

    Raises:
        EvaluationError: if they are asked for and there are none.
    """
    asked, groups = run.experiment.workload.config.evaluation.clusters, run.opened.splits.test.groups
    if asked and groups is None:
        data = run.experiment.workload.config.data.name
        raise EvaluationError(
            f"{run.experiment.workload.where('evaluation.clusters')}: data set '{data}' has no groups of samples; "
            "leave it out"
        )
    return None if asked is False else groups


@dataclass(frozen=True)
class Grouping:
    """Samples of an accuracy that come in groups.

    Attributes:
        task: whose scores are 0 and 1.
        clusters: `[n]`, the group of each sample.
        levels: of the interval that PASS needs, and of the one that FAIL needs.
    """

    task: Task
    clusters: NDArray[np.int64]
    levels: tuple[float, float]

    @classmethod
    def of(cls, run: Run, level: float) -> Grouping | None:
        """Of a run's test samples; None where they are independent.

        Args:
            run: of the experiment.
            level: of the interval that PASS needs.
        """
        clusters = clusters_of(run)
        if clusters is None:
            return None
        return cls(run.opened.task, clusters, (level, run.settings.family.level(level)))

    def paired(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> Paired:
        """The loss from one to the other, `[n]` each, by whole groups.

        Its intervals hold those of independent samples, so that groups that vary little, or of which none changed,
        never tell more than these.
        """
        found = paired(self.task, before[:, None], after[:, None], self.levels, self.clusters)
        outcomes, right = PairedOutcomes.from_correct(before == 1.0, after == 1.0), int(after.sum())
        drops = (tango_interval(outcomes, level) for level in self.levels)
        shares = (wilson_interval(right, outcomes.n, level) for level in self.levels)
        intervals = tuple(_hull(each, other) for each, other in zip(found.intervals, drops, strict=True))
        own = tuple(_hull(each, other) for each, other in zip(found.own, shares, strict=True))
        return replace(found, intervals=intervals, own=own)

    def effect(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> float | None:
        """Design effect of what is lost."""
        return design_effect(before - after, self.clusters)

    def clustered(self, before: Evaluation, after: Evaluation, tango: Interval) -> Clustered:
        """The intervals for the record.

        Args:
            before: the reference.
            after: the candidate.
            tango: the interval of independent samples, as a fraction.
        """
        found = self.paired(before.scores, after.scores)
        own, strict = (_limits(each, 100.0) for each in found.intervals)
        figure, figure_strict = (_limits(each, 1.0) for each in found.own)
        return Clustered(
            clusters=found.clusters or 0,
            interval_pp=own,
            strict_pp=strict,
            quantized_interval=figure,
            quantized_strict=figure_strict,
            strict_level=self.levels[1],
            method=found.method,
            tango_pp=(100 * tango.low, 100 * tango.high),
            design_effect=self.effect(before.scores, after.scores),
        )


def _hull(interval: Interval | None, other: Interval) -> Interval | None:
    """The least interval that holds both; None where groups tell none."""
    if interval is None:
        return None
    return Interval(min(interval.low, other.low), max(interval.high, other.high), interval.level)


def _limits(interval: Interval | None, scale: float) -> tuple[float, float] | None:
    return None if interval is None else (scale * interval.low, scale * interval.high)
