"""Agreement of two rankings, and the neighbours in a ranking that the samples separate."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb, isnan

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, check_level
from quantbench.stats.paired import PairedOutcomes, tango_interval


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two orders of the same things.

    Attributes:
        tau: Kendall's tau-b, from -1 (reversed) to 1 (the same order); None where one of them ranks nothing.
        p_value: Probability of a tau at least as far from 0 if the orders were unrelated; None with `tau`.
        n: Number of things.
    """

    tau: float | None
    p_value: float | None
    n: int


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement:
    """Kendall's tau between two sets of values of the same things, in the same order.

    Raises:
        StatisticsError: they differ in length, or there are fewer than two.

    Source:
        M. G. Kendall, Biometrika 33 (1945) 239-251, the coefficient that allows for ties (tau-b), by
        `scipy.stats.kendalltau`: its p-value is exact where there are few things and no ties. Deviation: none.
    """
    if len(first) != len(second) or len(first) < 2:
        raise StatisticsError(f"a ranking needs two values or more of each, but got {len(first)} and {len(second)}")
    from scipy.stats import kendalltau

    found = kendalltau(first, second)
    tau, p_value = float(found.statistic), float(found.pvalue)
    return Agreement(None, None, len(first)) if isnan(tau) else Agreement(tau, p_value, len(first))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two things that follow each other in a ranking, measured on the same samples.

    Attributes:
        upper: Index of the one ranked higher.
        lower: Index of the one ranked lower.
        difference: Accuracy of the upper minus that of the lower, as a fraction.
        interval: Tango's score interval of it, at a level that holds for all neighbours together.
    """

    upper: int
    lower: int
    difference: float
    interval: Interval

    @property
    def separated(self) -> bool:
        """True if the samples separate the two, in either direction."""
        return self.interval.low > 0 or self.interval.high < 0


def neighbours(
    correct: Sequence[NDArray[np.bool_]], ranked_by: Sequence[float] | None = None, level: float = 0.95
) -> list[Neighbours]:
    """Compares each thing with the next one in a ranking, on the same samples.

    The level holds for all intervals together: the share of misses allowed is divided among the pairs that could have
    been compared. With a ranking from elsewhere these are the neighbours in it; where the things are ranked by the
    very accuracies that are compared, any two of them could have become neighbours, and all pairs count.

    Args:
        correct: Whether each sample was right, shape (n,), for each thing.
        ranked_by: A value for each thing, the highest ranked first; None for its own accuracy.
        level: Coverage of all intervals together, as a fraction.

    Raises:
        StatisticsError: there are fewer than two things, their samples cannot be paired, or `level` is no fraction.

    Source:
        Bonferroni's inequality as in O. J. Dunn, J. Am. Stat. Assoc. 56 (1961) 52-64.
    """
    check_level(level)
    n = len(correct)
    if n < 2 or (ranked_by is not None and len(ranked_by) != n):
        raise StatisticsError(f"a ranking needs two things or more, and a value for each, but got {n}")
    values = [float(each.mean()) for each in correct] if ranked_by is None else list(ranked_by)
    order = sorted(range(n), key=lambda i: (-values[i], i))
    pairs = comb(n, 2) if ranked_by is None else n - 1
    found = []
    for upper, lower in pairwise(order):
        outcomes = PairedOutcomes.from_correct(correct[upper], correct[lower])
        interval = tango_interval(outcomes, 1 - (1 - level) / pairs)
        found.append(Neighbours(upper, lower, outcomes.drop, interval))
    return found
