"""Two kinds of samples told apart by one number each: positive ones should have the larger one."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.classes import only
from quantbench.tasks.interface import Aggregate, Floats, Targets

FORM = "a score [n] or [n, 1], or logits [n, 2]"


class Ranking(Aggregate):
    """A figure of scores and labels 0 and 1. Statistics: label and score.

    Attributes:
        name: of the task, for messages.
    """

    name: str

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`: one score for each sample, and both kinds of them."""
        found = only(outputs, FORM)
        width = int(np.prod(found.shape[1:]))
        if len(found) != n or found.ndim > 2 or width not in (1, 2):
            raise EvaluationError(f"the model gave {list(found.shape)} for {n} samples; expected {FORM}")
        check_both(targets, self.name)

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 2]`."""
        return np.stack([np.asarray(targets, dtype=np.float64), score_of(only(outputs))], axis=1)

    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """See `Task.figure`."""
        each = np.ones(len(statistics)) if weights is None else weights
        return float(self.figures(statistics, each[None])[0])

    def figures(self, statistics: Floats, weights: Floats) -> Floats:
        """See `Task.figures`."""
        positive, negative = counts_by_score(statistics[:, 0] == 1, statistics[:, 1], weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.of_counts(positive, negative)

    @abstractmethod
    def of_counts(self, positive: Floats, negative: Floats) -> Floats:
        """Figures of the weight of samples at each score, ascending, `[r, scores]` each → `[r]`."""


def check_both(targets: Targets, task: str) -> None:
    """Refuses targets that are not 0 and 1.

    Raises:
        EvaluationError: saying what they are.
    """
    if targets.ndim != 1 or targets.dtype.kind not in "iub" or not set(np.unique(targets).tolist()) <= {0, 1}:
        raise EvaluationError(
            f"the targets are {targets.dtype} {list(targets.shape)}; task {task} takes 0 and 1 [n], one for each sample"
        )
    if len(np.unique(targets)) < 2:
        raise EvaluationError(f"every target is {int(targets[0])}; task {task} takes samples of both kinds")


def score_of(output: NDArray[Any]) -> Floats:
    """One number for each sample: the larger, the more it is positive."""
    found = np.asarray(output, dtype=np.float64).reshape(len(output), -1)
    score: Floats = found[:, 0] if found.shape[1] == 1 else found[:, 1] - found[:, 0]
    return score


def counts_by_score(is_positive: NDArray[np.bool_], scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positive and of negative samples at each distinct score, ascending, `[r, scores]` each."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    positive = np.where(is_positive, weights, 0.0)[:, order]
    negative = np.where(is_positive, 0.0, weights)[:, order]
    return np.add.reduceat(positive, starts, axis=1), np.add.reduceat(negative, starts, axis=1)


def area(positive: Floats, negative: Floats) -> Floats:
    """Share of pairs in which the positive sample has the larger score; equal ones count half."""
    below = np.cumsum(negative, axis=1) - negative
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        found: Floats = (positive * (below + negative / 2)).sum(axis=1) / pairs
    return found


def rates(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Misses and false alarms at each threshold, from accepting all to accepting none, `[r, scores + 1]`."""
    nothing = np.zeros((len(positive), 1))
    missed = np.concatenate([nothing, np.cumsum(positive, axis=1)], axis=1) / positive.sum(axis=1, keepdims=True)
    kept = 1 - np.concatenate([nothing, np.cumsum(negative, axis=1)], axis=1) / negative.sum(axis=1, keepdims=True)
    return missed, kept
