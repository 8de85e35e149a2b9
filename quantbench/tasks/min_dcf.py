"""Task `min_dcf`: the least cost of detection of a verification."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantbench.tasks.interface import Floats, Targets
from quantbench.tasks.ranking import Ranking, rates


class MinimumDetectionCost(Ranking):
    """Verification of pairs: the least cost of misses and false alarms at any threshold, over that of no model.

    Args:
        target_share: share of true pairs that the cost is for.
        miss_cost: of a true pair that is rejected.
        alarm_cost: of a false pair that is accepted.

    Source:
        NIST 2016 Speaker Recognition Evaluation Plan, section 3: C = c_miss · p · P_miss + c_alarm · (1 − p) · P_alarm,
        divided by the smaller cost of accepting and of rejecting all.

    Example:
        >>> import numpy as np
        >>> task = MinimumDetectionCost(0.5, 1.0, 1.0)
        >>> outputs = {"output": np.array([0.1, 0.4, 0.35, 0.8])}
        >>> task.figure(task.statistics(outputs, np.array([0, 0, 1, 1])))
        0.5
    """

    name = "min_dcf"
    unit = "minimum detection cost"
    higher_is_better = False
    range = (0.0, 1.0)

    def __init__(self, target_share: float, miss_cost: float, alarm_cost: float) -> None:
        self.costs = miss_cost * target_share, alarm_cost * (1 - target_share)

    def of_counts(self, positive: Floats, negative: Floats) -> Floats:
        """See `Ranking.of_counts`."""
        missed, alarms = rates(positive, negative)
        miss, alarm = self.costs
        found: Floats = (miss * missed + alarm * alarms).min(axis=1) / min(miss, alarm)
        return found

    def chance(self, targets: Targets) -> float:  # noqa: ARG002 — of any targets
        """See `Task.chance`: accepting or rejecting all."""
        return 1.0


def min_dcf(
    target_share: Annotated[float, Field(gt=0, lt=1)] = 0.01,
    miss_cost: Annotated[float, Field(gt=0)] = 1.0,
    alarm_cost: Annotated[float, Field(gt=0)] = 1.0,
) -> MinimumDetectionCost:
    """The least cost of misses and false alarms at any threshold.

    Args:
        target_share: share of true pairs that the cost is for.
        miss_cost: of a true pair that is rejected.
        alarm_cost: of a false pair that is accepted.

    Example:
        >>> min_dcf().costs
        (0.01, 0.99)
    """
    return MinimumDetectionCost(target_share, miss_cost, alarm_cost)
