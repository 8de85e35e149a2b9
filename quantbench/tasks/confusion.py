"""Counts of labels and answers, from which figures of classification follow that are no mean over samples."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from scipy import sparse

from quantbench.arrays import Outputs
from quantbench.tasks.classes import Classification
from quantbench.tasks.interface import Aggregate, Floats, Targets


class Confusion(Classification, Aggregate):
    """A figure of the counts of each class: right answers, labels and answers. Statistics: label and answer."""

    higher_is_better = True
    is_mean = False
    is_binary = False
    range = (0.0, 1.0)
    has_answers = True

    @abstractmethod
    def of_counts(self, right: Floats, labels: Floats, answers: Floats) -> Floats:
        """Figures of counts by class, each `[…, classes]` → `[…]`."""

    def scores(self, outputs: Outputs, targets: Targets) -> Floats:
        """There are none; see `Aggregate.scores`."""
        return Aggregate.scores(self, outputs, targets)

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 2]`, label and answer."""
        return np.stack([targets, self.answers(outputs)], axis=1).astype(np.float64)

    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """See `Task.figure`."""
        each = np.ones(len(statistics)) if weights is None else weights
        return float(self.figures(statistics, each[None])[0])

    def figures(self, statistics: Floats, weights: Floats) -> Floats:
        """See `Task.figures`."""
        pairs, of_pair = np.unique(statistics.astype(np.int64), axis=0, return_inverse=True)
        n, classes = len(statistics), int(pairs.max()) + 1
        member = sparse.csr_matrix((np.ones(n), (of_pair.reshape(-1), np.arange(n))), shape=(len(pairs), n))
        counts = np.asarray(member @ weights.T).T
        labels, answers = (_by_class(counts, pairs[:, side], classes) for side in (0, 1))
        is_right = pairs[:, 0] == pairs[:, 1]
        right = _by_class(counts[:, is_right], pairs[is_right, 0], classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.of_counts(right, labels, answers)

    def chance(self, targets: Targets) -> float:
        """See `Task.chance`: the best class for every sample."""
        labels = np.bincount(targets).astype(np.float64)
        each = np.eye(len(labels))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.of_counts(each * labels, np.tile(labels, (len(labels), 1)), each * labels.sum())
        return float(np.nanmax(found))


def mean_of_present(values: Floats, present: Floats) -> Floats:
    """Mean over the classes that are there, `[…, classes]` → `[…]`; NaN where none is."""
    mean: Floats = np.where(present > 0, values, 0.0).sum(axis=-1) / (present > 0).sum(axis=-1)
    return mean


def _by_class(counts: Floats, of_pair: Targets, classes: int) -> Floats:
    """Counts of pairs `[r, pairs]` summed over those of each class, `[r, classes]`."""
    member = sparse.csr_matrix((np.ones(len(of_pair)), (of_pair, np.arange(len(of_pair)))), (classes, len(of_pair)))
    return np.asarray(member @ counts.T).T
