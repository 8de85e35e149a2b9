"""Task `top_k`: a sample is right when its label is among its `k` largest logits."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.classes import Classification, only
from quantbench.tasks.interface import Floats, Targets


class TopK(Classification):
    """Classification: score 1 where the label is among the `k` largest logits, else 0; of equal logits the first count.

    Args:
        k: answers that each sample has.

    Example:
        >>> logits = {"output": np.array([[2.0, 1.0, 0.0], [0.5, 3.0, 1.0]])}
        >>> TopK(k=2).scores(logits, np.array([1, 0])).tolist()
        [1.0, 0.0]
    """

    name = "top_k"
    higher_is_better = True
    is_binary = True
    range = (0.0, 1.0)

    def __init__(self, k: int) -> None:
        self.k, self.unit = k, f"top-{k} accuracy"

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`: more logits than answers that count."""
        super().check(outputs, n, targets)
        if (classes := only(outputs).shape[1]) <= self.k:
            raise EvaluationError(
                f"task top_k: any answer is among the {self.k} largest of {classes} logits; lower workload.task.k"
            )

    def scores(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.scores`; exactly 0.0 and 1.0."""
        logits = np.asarray(only(outputs))
        own = logits[np.arange(len(logits)), targets][:, None]
        before = np.arange(logits.shape[1]) < targets[:, None]
        ahead = (logits > own) | ((logits == own) & before)
        return np.asarray(ahead.sum(axis=1) < self.k, dtype=np.float64)

    def chance(self, targets: Targets) -> float:
        """See `Task.chance`: the commonest classes for every sample."""
        return float(np.sort(np.bincount(targets))[-self.k :].sum() / len(targets))


def top_k(k: Annotated[int, Field(ge=1, strict=True)] = 5) -> TopK:
    """Samples whose label is among the `k` largest logits.

    Args:
        k: answers that each sample has.

    Example:
        >>> top_k(k=3).unit
        'top-3 accuracy'
    """
    return TopK(k)
