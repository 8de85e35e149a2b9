"""Scores of two models on the same samples, of tasks whose scores are not 0 and 1, as a part of the record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quantbench.errors import NoEvidenceError
from quantbench.experiment.accuracy import ACCURACY_LEVEL, sequence_interval
from quantbench.experiment.clusters import clusters_of
from quantbench.experiment.figures import Paired, detectable, paired
from quantbench.records.scores import Score, pack_scores
from quantbench.stats.intervals import Interval
from quantbench.tasks.interface import Task

if TYPE_CHECKING:
    from quantbench.experiment.run import Run
    from quantbench.experiment.sampling import Sampling
    from quantbench.measure.evaluation import Evaluation
    from quantbench.stats.sampled_mean import MeanSequence


SEQUENCE = "confidence sequence"


def paired_score(run: Run, sampling: Sampling | None = None, floor: MeanSequence | None = None) -> Score:
    """Both models on the test split.

    Args:
        run: of the experiment.
        sampling: samples that were looked at; None: all of them.
        floor: the sequence of the candidate's own figure, where a gate asks for it.

    Raises:
        NoEvidenceError: if scores are 0 and 1, which are compared as an accuracy.
    """
    task, name = run.opened.task, run.experiment.workload.config.task.name
    if task.is_binary:
        raise NoEvidenceError(f"the scores of task '{name}' are 0 and 1, which are compared as an accuracy")
    if sampling is None:
        before, after = run.reference_evaluation, run.evaluation
    else:
        before, after = sampling.before, sampling.after
    own, strict = ACCURACY_LEVEL, run.settings.family.level(ACCURACY_LEVEL)
    levels = (own, strict) if sampling is None else (sampling.level(own), sampling.level(strict))
    found = paired(task, before.statistics, after.statistics, levels, clusters_of(run))
    if sampling is not None and sampling.is_part and sampling.loss is not None:
        intervals = tuple(sequence_interval(sampling.loss, level) for level in (own, strict))
        told = found.own if floor is None else tuple(sequence_interval(floor, level) for level in (own, strict))
        found = replace(found, intervals=intervals, own=told, method=SEQUENCE)
        levels = intervals[0].level, intervals[1].level
    record = _record(name, task, before, after, found, levels)
    return record if sampling is None else record.model_copy(update={"samples": sampling.record})


def _record(
    name: str, task: Task, before: Evaluation, after: Evaluation, found: Paired, levels: tuple[float, float]
) -> Score:
    interval, strict = (_limits(each) for each in found.intervals)
    own, own_strict = (_limits(each) for each in found.own)
    return Score(
        task=name,
        unit=task.unit,
        higher_is_better=task.higher_is_better,
        n=len(before.statistics),
        reference=found.before,
        candidate=found.after,
        drop=found.drop,
        interval=interval,
        strict=strict,
        candidate_interval=own,
        candidate_strict=own_strict,
        level=levels[0],
        strict_level=levels[1],
        method=found.method,
        changed=found.changed,
        clusters=found.clusters,
        detectable=detectable(found, levels[0]),
        reference_scores=pack_scores(before.statistics),
        candidate_scores=pack_scores(after.statistics),
    )


def _limits(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.low, interval.high)
