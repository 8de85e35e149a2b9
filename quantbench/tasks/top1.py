"""Task `top1`: a sample is right when its largest logit is its label."""

from __future__ import annotations

import numpy as np

from quantbench.arrays import Outputs
from quantbench.tasks.classes import Classification
from quantbench.tasks.interface import Floats, Targets


class Top1(Classification):
    """Classification: score 1 where the largest logit is the label, else 0; the loss is cross entropy in nats.

    Example:
        >>> logits = {"output": np.array([[2.0, 1.0], [0.5, 3.0]])}
        >>> Top1().scores(logits, np.array([0, 0])).tolist()
        [1.0, 0.0]
    """

    name = "top1"
    unit = "accuracy"
    higher_is_better = True
    is_binary = True
    range = (0.0, 1.0)
    has_answers = True

    def scores(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.scores`; exactly 0.0 and 1.0."""
        return np.asarray(self.answers(outputs) == targets, dtype=np.float64)
