"""Figures of two models on the same samples, their difference, and the interval that fits the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import EvaluationError
from quantbench.stats import bca, bootstrap
from quantbench.stats.bounded_mean import betting_interval
from quantbench.stats.intervals import Interval
from quantbench.stats.power import least_change
from quantbench.stats.rare_changes import rare_changes_interval
from quantbench.tasks.interface import Task

Floats = NDArray[np.float64]
Clusters = NDArray[np.int64] | None
Intervals = tuple[Interval | None, ...]
BETTING, STUDENTIZED, BCA, RARE = "betting", "studentized bootstrap", "BCa bootstrap", "rare changes"
# Changed samples, or clusters with some, below which a bootstrap covers too seldom (`docs/intervals.md`).
FEW = 100
# Share of all beyond which changes are not rare.
MOST_RARE = 0.25


@dataclass(frozen=True)
class Paired:
    """Two figures on the same samples.

    Attributes:
        before: figure of the first model.
        after: figure of the second.
        drop: in the task's unit; positive is worse.
        intervals: of the drop, one for each level; None where the samples tell no limits.
        own: intervals of the second figure.
        error: standard error of the drop; NaN where the samples do not tell it.
        method: of the intervals of the drop.
        changed: samples with another score.
        clusters: number of groups; None where samples are independent.
    """

    before: float
    after: float
    drop: float
    intervals: Intervals
    own: Intervals
    error: float
    method: str
    changed: int
    clusters: int | None


def paired(
    task: Task,
    before: Floats,
    after: Floats,
    levels: Sequence[float],
    clusters: Clusters = None,
    with_own: bool = True,
) -> Paired:
    """Compares two models.

    Args:
        task: that gives the figures.
        before: statistics of the first model's samples, `[n, k]`.
        after: of the second's, on the same samples.
        levels: of the intervals.
        clusters: `[n]` group of each sample; None where samples are independent.
        with_own: tell the intervals of the second figure, too.

    Raises:
        EvaluationError: if there are fewer than two samples.
    """
    n, sign = len(before), 1.0 if task.higher_is_better else -1.0
    if n < 2:
        raise EvaluationError(f"{n} sample tells no interval of {task.unit}; measure on more")
    figures = task.figure(before), task.figure(after)
    drop, changed = sign * (figures[0] - figures[1]), int((before != after).any(axis=1).sum())
    nothing: Intervals = (None,) * len(levels)
    is_rare = _is_rare(before, after, clusters)
    if clusters is not None or not task.is_mean:
        method = BCA if clusters is None else f"{BCA} over clusters"
        found, own, error = nothing, nothing, nan
        if with_own or not is_rare:
            found, own, error = _resampled(task, sign, before, after, levels, clusters)
    else:
        method, found, error = _of_mean(task, sign * (before - after)[:, 0], changed, levels)
        own = _own_of_mean(task, after[:, 0], levels) if with_own else nothing
    if method != BETTING and is_rare:
        effects = _effects(task, sign, before, after, clusters)
        method, error = RARE, sqrt(float((effects**2).sum()))
        found = tuple(rare_changes_interval(drop, effects, level) for level in levels)
    count = None if clusters is None else _units(before, clusters)
    return Paired(*figures, drop, _holding(drop, found), _holding(figures[1], own), error, method, changed, count)


def figure_intervals(task: Task, statistics: Floats, levels: Sequence[float], clusters: Clusters = None) -> Intervals:
    """Intervals of the figure of one model, one for each level; None where the samples tell no limits.

    Args:
        task: that gives the figure.
        statistics: of its samples, `[n, k]`.
        levels: of the intervals.
        clusters: `[n]` group of each sample; None where samples are independent.
    """
    if clusters is None and task.is_mean:
        found = _own_of_mean(task, statistics[:, 0], levels)
    elif _units(statistics, clusters) < bca.FEWEST:
        found = (None,) * len(levels)
    else:

        def figures(weights: Floats) -> Floats:
            return task.figures(statistics, weights)[:, None]

        found = bca.bca_intervals(figures, len(statistics), levels, clusters)[0].intervals
    return _holding(task.figure(statistics), found)


def detectable(found: Paired, level: float) -> float | None:
    """The least drop that so many samples could detect; None where too few of them changed to tell."""
    return least_change(found.error, level) if isfinite(found.error) and found.error > 0 else None


def _resampled(
    task: Task, sign: float, before: Floats, after: Floats, levels: Sequence[float], clusters: Clusters
) -> tuple[Intervals, Intervals, float]:
    def figures(weights: Floats) -> Floats:
        one, other = task.figures(before, weights), task.figures(after, weights)
        return np.stack([sign * (one - other), other], axis=1)

    if _units(before, clusters) < bca.FEWEST:
        return (None,) * len(levels), (None,) * len(levels), nan
    drop, own = bca.bca_intervals(figures, len(before), levels, clusters)
    return drop.intervals, own.intervals, drop.error


def _units(statistics: Floats, clusters: Clusters) -> int:
    """Number of samples, or of clusters, that are resampled."""
    return len(statistics) if clusters is None else len(np.unique(clusters))


def _of_mean(task: Task, losses: Floats, changed: int, levels: Sequence[float]) -> tuple[str, Intervals, float]:
    """Method, intervals and standard error of the mean loss of samples."""
    error = float(losses.std(ddof=1) / np.sqrt(len(losses)))
    low, high = task.range
    if low is not None and high is not None and changed < FEW:
        return BETTING, tuple(betting_interval(losses, low - high, high - low, level) for level in levels), error
    if changed < FEW and changed < MOST_RARE * len(losses):
        # Told otherwise, of any change at all; without one every resample is the same.
        return STUDENTIZED, _each(losses, levels) if not changed else (None,) * len(levels), error
    return STUDENTIZED, _each(losses, levels), error


def _own_of_mean(task: Task, scores: Floats, levels: Sequence[float]) -> Intervals:
    low, high = task.range
    few = np.unique(scores, return_counts=True)[1]
    if low is not None and high is not None and len(scores) - int(few.max()) < FEW:
        return tuple(betting_interval(np.clip(scores, low, high), low, high, level) for level in levels)
    return _each(scores, levels)


def _each(values: Floats, levels: Sequence[float]) -> Intervals:
    if len(values) < bootstrap.FEWEST:
        return (None,) * len(levels)
    each = (bootstrap.mean_interval(values, level) for level in levels)
    return tuple(found if isfinite(found.high - found.low) else None for found in each)


def _is_rare(before: Floats, after: Floats, clusters: Clusters) -> bool:
    """True for a few samples, or clusters, that changed among many that did not."""
    changed, units = len(_changed(before, after, clusters)[0]), _units(before, clusters)
    return 0 < changed < min(FEW, MOST_RARE * units) and units >= bca.FEWEST


def _changed(before: Floats, after: Floats, clusters: Clusters) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples, or clusters, that changed, and which of them each sample is of."""
    unit = np.arange(len(before)) if clusters is None else clusters
    return np.unique(unit[(before != after).any(axis=1)]), unit


def _effects(task: Task, sign: float, before: Floats, after: Floats, clusters: Clusters) -> Floats:
    """The part of the loss that each changed sample, or cluster, makes up."""
    changed, unit = _changed(before, after, clusters)
    if task.is_mean and clusters is None:
        lost: Floats = sign * (before - after)[changed, 0] / len(before)
        return lost
    found, whole = [], task.figure(after)
    for each in changed:
        restored = np.where((unit == each)[:, None], before, after)
        found.append(sign * (task.figure(restored) - whole))
    return np.array(found)


def _holding(value: float, intervals: Intervals) -> Intervals:
    """Intervals with their estimate, which rounding may leave out."""
    return tuple(
        None if each is None else Interval(min(each.low, value), max(each.high, value), each.level)
        for each in intervals
    )
