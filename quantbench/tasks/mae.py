"""Task `mae`: the mean absolute error of a regression."""

from __future__ import annotations

import numpy as np

from quantbench.arrays import Outputs
from quantbench.tasks.interface import Floats, Targets
from quantbench.tasks.regression import Regression, differences

UNIT = "mean absolute error"


class MeanAbsoluteError(Regression):
    """Regression: |output − target|, of several numbers of a sample their mean.

    Args:
        unit: of targets, such as `K`, for messages.

    Example:
        >>> MeanAbsoluteError().scores({"output": np.array([[1.5], [2.0]])}, np.array([1.0, 2.0])).tolist()
        [0.5, 0.0]
    """

    name = "mae"
    higher_is_better = False
    range = (0.0, None)

    def __init__(self, unit: str = UNIT) -> None:
        self.unit = unit

    def scores(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.scores`."""
        return np.asarray(np.abs(differences(outputs, targets)).mean(axis=1))

    def chance(self, targets: Targets) -> float:
        """See `Task.chance`: the median for every sample."""
        return float(np.abs(targets - np.median(targets, axis=0)).mean())


def mae(unit: str = UNIT) -> MeanAbsoluteError:
    """Mean of |output − target|.

    Args:
        unit: of targets, such as `K`, for messages.

    Example:
        >>> mae(unit="K").unit
        'K'
    """
    return MeanAbsoluteError(unit)
