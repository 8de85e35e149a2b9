"""Task `balanced_accuracy`: the mean of the classes' recall."""

from __future__ import annotations

from quantbench.tasks.confusion import Confusion, mean_of_present
from quantbench.tasks.interface import Floats


class BalancedAccuracy(Confusion):
    """Classification: right / labels of each class that has samples, and their mean.

    Example:
        >>> import numpy as np
        >>> task = BalancedAccuracy()
        >>> task.figure(np.array([[0, 0], [0, 1], [1, 1]]))
        0.75
    """

    name = "balanced_accuracy"
    unit = "balanced accuracy"

    def of_counts(self, right: Floats, labels: Floats, answers: Floats) -> Floats:  # noqa: ARG002 — of recall
        """See `Confusion.of_counts`."""
        return mean_of_present(right / labels, labels)
