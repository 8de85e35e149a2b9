"""A gate on the mean of its samples' scores, as looks at samples may decide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantbench.stats.early_verdict import risk_of_looks

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from quantbench.measure.evaluation import Evaluation
    from quantbench.measure.gradual import Positions
    from quantbench.stats.sampled_mean import MeanSequence


@dataclass(frozen=True)
class Question:
    """A gate that samples, looked at one after the other, may decide before the last.

    Attributes:
        bound: on the mean of the values.
        values: positions, reference and candidate on them → a value of each.
        limits: smallest and largest value that there can be.
        distance: expected between mean and bound; 0 where nothing is expected.
        is_at_least: the mean must reach the bound; else it must not exceed it.
    """

    bound: float
    values: Callable[[Positions, Evaluation, Evaluation], NDArray[np.float64]]
    limits: tuple[float, float]
    distance: float
    is_at_least: bool = False

    def sequence(self, total: int, own: float, strict: float) -> MeanSequence:
        """Bets on it.

        Args:
            total: samples of the test split.
            own: level of the interval that PASS needs.
            strict: level of the one that FAIL needs.
        """
        from quantbench.stats.sampled_mean import MeanSequence

        passing, failing = risk_of_looks(own), risk_of_looks(strict)
        risks = (failing, passing) if self.is_at_least else (passing, failing)
        return MeanSequence(self.bound, total, self.limits, self.distance, risks)
