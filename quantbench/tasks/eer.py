"""Task `eer`: the equal error rate of a verification."""

from __future__ import annotations

import numpy as np

from quantbench.tasks.interface import Floats, Targets
from quantbench.tasks.ranking import Ranking, rates


class EqualErrorRate(Ranking):
    """Verification of pairs: the rate of misses at the threshold where it equals that of false alarms.

    Between two thresholds both rates are taken to lie on a line, as on a drawn characteristic.

    Example:
        >>> task = EqualErrorRate()
        >>> outputs = {"output": np.array([0.1, 0.4, 0.35, 0.8])}
        >>> task.figure(task.statistics(outputs, np.array([0, 0, 1, 1])))
        0.5
    """

    name = "eer"
    unit = "equal error rate"
    higher_is_better = False
    range = (0.0, 1.0)

    def of_counts(self, positive: Floats, negative: Floats) -> Floats:
        """See `Ranking.of_counts`."""
        missed, alarms = rates(positive, negative)
        at = np.argmax(missed >= alarms, axis=1)
        rows = np.arange(len(missed))
        before = np.maximum(at - 1, 0)
        gap, next_gap = alarms[rows, before] - missed[rows, before], missed[rows, at] - alarms[rows, at]
        share = np.where(gap + next_gap > 0, gap / (gap + next_gap), 0.0)
        found: Floats = missed[rows, before] + share * (missed[rows, at] - missed[rows, before])
        return found

    def chance(self, targets: Targets) -> float:  # noqa: ARG002 — of any targets
        """See `Task.chance`: one score for every pair."""
        return 0.5
