"""Task `auc`: the area under the receiver operating characteristic."""

from __future__ import annotations

import numpy as np

from quantbench.arrays import Outputs
from quantbench.tasks.classes import check_labels, check_logits, only
from quantbench.tasks.interface import Floats, Targets
from quantbench.tasks.ranking import Ranking, area, counts_by_score


class AreaUnderCurve(Ranking):
    """Share of pairs of a positive and a negative sample in which the positive one has the larger score.

    Of two classes the score is an output of its own, or the second logit less the first. Of more, each class against
    all others by its probability (softmax of the logits), and the mean of the classes that have samples.

    Example:
        >>> task = AreaUnderCurve()
        >>> outputs = {"output": np.array([0.1, 0.4, 0.35, 0.8])}
        >>> task.figure(task.statistics(outputs, np.array([0, 0, 1, 1])))
        0.75
    """

    name = "auc"
    unit = "AUC"
    higher_is_better = True
    range = (0.0, 1.0)

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`."""
        if not _is_multiclass(outputs):
            super().check(outputs, n, targets)
            return
        check_labels(targets, self.name)
        check_logits(only(outputs), n, int(targets.max()))

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: label and score; of more than two classes label and probabilities."""
        if not _is_multiclass(outputs):
            return super().statistics(outputs, targets)
        logits = np.asarray(only(outputs), dtype=np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.concatenate([targets[:, None], shares / shares.sum(axis=1, keepdims=True)], axis=1)

    def figures(self, statistics: Floats, weights: Floats) -> Floats:
        """See `Task.figures`."""
        if statistics.shape[1] == 2:
            return super().figures(statistics, weights)
        labels, found = statistics[:, 0].astype(np.int64), []
        for label in np.unique(labels):
            found.append(area(*counts_by_score(labels == label, statistics[:, 1 + label], weights)))
        each = np.stack(found, axis=1)
        # A class that a resample has no sample of has no area in it.
        present = np.isfinite(each)
        with np.errstate(invalid="ignore"):
            mean: Floats = np.where(present, each, 0.0).sum(axis=1) / present.sum(axis=1)
        return mean

    def of_counts(self, positive: Floats, negative: Floats) -> Floats:
        """See `Ranking.of_counts`."""
        return area(positive, negative)

    def chance(self, targets: Targets) -> float:  # noqa: ARG002 — of any targets
        """See `Task.chance`: one score for every sample."""
        return 0.5


def _is_multiclass(outputs: Outputs) -> bool:
    found = only(outputs)
    return bool(getattr(found, "ndim", 0) == 2 and found.shape[1] > 2)
