"""Task `r2`: the share of the targets' variance that a regression explains."""

from __future__ import annotations

import numpy as np

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.interface import Floats, Summed, Targets
from quantbench.tasks.regression import Regression, differences

# Numbers of a sample, each of which has three statistics.
MOST_NUMBERS = 64


class R2(Regression, Summed):
    """Regression: 1 − Σ(output − target)² / Σ(target − mean)², of several numbers of a sample the mean of theirs.

    Statistics of each number: square of the error, target and its square.

    Example:
        >>> task, targets = R2(), np.array([1.0, 2.0, 3.0])
        >>> task.figure(task.statistics({"output": np.array([[1.0], [2.0], [2.0]])}, targets))
        0.5
    """

    name = "r2"
    unit = "R²"
    higher_is_better = True
    is_mean = False
    range = (None, 1.0)

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`; a sample has few numbers."""
        super().check(outputs, n, targets)
        if (numbers := int(np.prod(targets.shape[1:]))) > MOST_NUMBERS:
            raise EvaluationError(
                f"task r2: a sample has {numbers:,} numbers, of which each would have an R² of its own; of more than "
                f"{MOST_NUMBERS} take rmse"
            )

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 1 + 3 · numbers]`, the first of them 1."""
        own = np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)
        return np.concatenate([np.ones((len(own), 1)), differences(outputs, targets) ** 2, own, own**2], axis=1)

    def of_sums(self, sums: Floats) -> Floats:
        """See `Summed.of_sums`."""
        n, (errors, own, squares) = sums[..., :1], np.split(sums[..., 1:], 3, axis=-1)
        spread = squares - own**2 / n
        # What rounding leaves of targets that are all the same is no spread.
        explained = np.where(spread > np.abs(squares) * 1e-12, 1 - errors / spread, np.nan)
        mean: Floats = explained.mean(axis=-1)
        return mean

    def chance(self, targets: Targets) -> float:  # noqa: ARG002 — of any targets
        """See `Task.chance`: the mean for every sample."""
        return 0.0
