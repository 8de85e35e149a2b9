"""Task `macro_f1`: the mean of the classes' F1."""

from __future__ import annotations

from quantbench.tasks.confusion import Confusion, mean_of_present
from quantbench.tasks.interface import Floats


class MacroF1(Confusion):
    """Classification: 2 · right / (labels + answers) of each class that is a label or an answer, and their mean.

    Example:
        >>> import numpy as np
        >>> task = MacroF1()
        >>> round(task.figure(np.array([[0, 0], [0, 1], [1, 1]])), 3)
        0.667
    """

    name = "macro_f1"
    unit = "macro F1"

    def of_counts(self, right: Floats, labels: Floats, answers: Floats) -> Floats:
        """See `Confusion.of_counts`."""
        return mean_of_present(2 * right / (labels + answers), labels + answers)
