"""Task `rmse`: the root mean square error of a regression."""

from __future__ import annotations

import numpy as np

from quantbench.arrays import Outputs
from quantbench.tasks.interface import Floats, Summed, Targets
from quantbench.tasks.regression import Regression, differences

UNIT = "root mean square error"


class RootMeanSquareError(Regression, Summed):
    """Regression: √ of the mean of (output − target)² over all samples. Statistics: the mean of a sample's squares.

    Args:
        unit: of targets, such as `K`, for messages.

    Example:
        >>> task = RootMeanSquareError()
        >>> round(task.figure(task.statistics({"output": np.array([[1.0], [5.0]])}, np.array([1.0, 2.0]))), 3)
        2.121
    """

    name = "rmse"
    higher_is_better = False
    is_mean = False
    range = (0.0, None)

    def __init__(self, unit: str = UNIT) -> None:
        self.unit = unit

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 2]`, mean square and 1."""
        squares = (differences(outputs, targets) ** 2).mean(axis=1)
        return np.stack([squares, np.ones(len(squares))], axis=1)

    def of_sums(self, sums: Floats) -> Floats:
        """See `Summed.of_sums`."""
        return np.sqrt(sums[..., 0] / sums[..., 1])

    def chance(self, targets: Targets) -> float:
        """See `Task.chance`: the mean for every sample."""
        return float(np.sqrt(((targets - targets.mean(axis=0)) ** 2).mean()))


def rmse(unit: str = UNIT) -> RootMeanSquareError:
    """Root of the mean of (output − target)².

    Args:
        unit: of targets, such as `K`, for messages.

    Example:
        >>> rmse(unit="K").unit
        'K'
    """
    return RootMeanSquareError(unit)
