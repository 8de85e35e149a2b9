"""Net loss of a configuration in samples, from as few of them as the question allows."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from quantbench.stats.betting import (
    estimated_total,
    log_wealth_against_at_least,
    log_wealth_against_at_most,
    total_interval,
)
from quantbench.stats.draws import Draws, Floats, Ids, Population, weighted_order

# Stakes are mixed for distances so many times the one expected: a stake half or twice the best loses little.
SPREAD: Floats = np.array([0.25, 0.5, 1.0, 2.0, 4.0])


@dataclass(frozen=True)
class ToDecide:
    """Samples are to tell on which side of a bound the drop is.

    Betting on a population takes about `2 log(1/α) V / Δ²` draws, with `V = (Σ √p)²` the mean square of `d / q` and Δ
    the distance between drop and bound; so many are taken whole that fewest are needed in all.

    Attributes:
        distance: Δ that is expected, in samples.
        log_odds: log(1/α).
    """

    distance: float
    log_odds: float

    def plan(self, probabilities: Floats) -> tuple[int, float]:
        """Number of the likeliest that are taken whole, and the distance to bet on, samples.

        Args:
            probabilities: `[n]`, falling.
        """
        rest = _sums_of_roots(probabilities)
        needed = np.arange(len(rest)) + 2.0 * self.log_odds * rest**2 / max(self.distance, 1.0) ** 2
        return int(np.argmin(needed)), self.distance


@dataclass(frozen=True)
class ToEstimate:
    """Samples are to narrow the drop down as far as a number of them can: `V / draws` is to be smallest.

    Attributes:
        budget: how many, at least 1.
        log_odds: log(1/α).
    """

    budget: int
    log_odds: float

    def plan(self, probabilities: Floats) -> tuple[int, float]:
        """See `ToDecide.plan`; the distance is that which so many draws can tell."""
        rest = _sums_of_roots(probabilities)[: self.budget]
        variance = rest**2 / (self.budget - np.arange(len(rest)))
        whole = int(np.argmin(variance))
        return whole, float(np.sqrt(2.0 * self.log_odds * variance[whole]))


Aim = ToDecide | ToEstimate


def _sums_of_roots(probabilities: Floats) -> Floats:
    return np.append(np.cumsum(np.sqrt(probabilities)[::-1])[::-1], 0.0)


class SampledDrop:
    """The samples of one configuration in the order in which they are looked at, and what follows from those seen.

    A change `d` is 1 for a sample lost, −1 for one gained, 0 otherwise; a sample that was right can only be lost, one
    that was wrong only gained. The likeliest to change are looked at without chance, as a stratum taken whole, and the
    others are drawn with weights `√p`, under which the mean square of `d / q` is smallest if changes have the
    probabilities p (Neyman's allocation).

    Args:
        correct: `[n]` bool, right before any change.
        probabilities: `[n]`, predicted, of a change.
        known: samples whose change in this very configuration is known already, and these changes.
        aim: what the samples are for; decides how many are taken whole.
        random: the source of chance.
    """

    def __init__(
        self,
        correct: NDArray[np.bool_],
        probabilities: Floats,
        known: tuple[Ids, Floats],
        aim: Aim,
        random: np.random.Generator,
    ) -> None:
        self._known, self._probabilities = known, probabilities
        fresh = np.setdiff1d(np.arange(len(correct)), known[0])
        likeliest = fresh[np.argsort(-probabilities[fresh], kind="stable")]
        self._whole, distance = aim.plan(probabilities[likeliest])
        rest = likeliest[self._whole :]
        self._low, self._high = np.where(correct, 0.0, -1.0), np.where(correct, 1.0, 0.0)
        weights = np.sqrt(probabilities[rest])
        self._population = Population(weights, self._low[rest], self._high[rest], probabilities[rest])
        self._order_of_rest = weighted_order(weights, random)
        self.order: Ids = np.concatenate([likeliest[: self._whole], rest[self._order_of_rest]])
        self.values: Floats = np.zeros(0)
        self._distances = max(distance, 1.0) * SPREAD

    @property
    def ids(self) -> Ids:
        """Samples seen here, in order."""
        return self.order[: len(self.values)]

    @property
    def seen(self) -> int:
        """Number of samples known, earlier ones included."""
        return len(self._known[0]) + len(self.values)

    def next(self, m: int) -> Ids:
        """The next samples to be looked at, at most `m`; none where all are seen."""
        return self.order[len(self.values) : len(self.values) + m]

    def add(self, changes: Floats) -> None:
        """Outcomes of the samples drawn."""
        self.values = np.concatenate([self.values, changes])

    def log_wealth_above(self, bound: float) -> float:
        """Against the claim that the drop is at most `bound` samples; see `log_wealth_against_at_most`."""
        certain, slack = self._certain()
        return log_wealth_against_at_most(self._draws(), bound - certain - slack[0], self._distances)

    def log_wealth_below(self, bound: float) -> float:
        """Against the claim that the drop is at least `bound` samples."""
        certain, slack = self._certain()
        return log_wealth_against_at_least(self._draws(), bound - certain - slack[1], self._distances)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Confidence sequence of the drop, in samples."""
        certain, slack = self._certain()
        low, high = total_interval(self._draws(), alpha, self._distances)
        return low + certain + slack[0], high + certain + slack[1]

    def estimate(self) -> float:
        """Of the drop, in samples."""
        certain, _ = self._certain()
        unseen = self.order[len(self.values) :]
        changes = self._probabilities[unseen]
        # What is predicted may be off by as much as it is.
        rest = float((changes * np.where(self._high[unseen] > 0, 1.0, -1.0)).sum())
        return certain + estimated_total(self._draws(), rest, float(changes.sum()))

    def _certain(self) -> tuple[float, tuple[float, float]]:
        """The drop among samples taken without chance, and its range among those of them still to be seen."""
        taken = self.values[: self._whole]
        unseen = self.order[len(taken) : self._whole]
        slack = float(self._low[unseen].sum()), float(self._high[unseen].sum())
        return float(self._known[1].sum() + taken.sum()), slack

    def _draws(self) -> Draws:
        return Draws.of(self._order_of_rest, self._population, self.values[self._whole :])


def log_odds(alpha: float) -> float:
    """`log(1 / alpha)`: what the log of a wealth must reach."""
    return log(1.0 / alpha)
