"""Items of a finite population, drawn one after the other without replacement and with unequal chances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """A finite population and what is known of its items before the first is drawn.

    Attributes:
        weights: `[n]`, positive: chances of being drawn are in proportion to them.
        low: `[n]`, smallest possible value of each.
        high: `[n]`, largest possible value of each.
        expected_squares: `[n]`, predicted mean square of each; a wrong prediction costs draws, never validity.
    """

    weights: Floats
    low: Floats
    high: Floats
    expected_squares: Floats


@dataclass(frozen=True)
class Draws:
    """Items in the order in which they were drawn, and what was known of the others at each draw.

    Attributes:
        values: `[t]`, of the items drawn.
        chances: `[t]`, probability of each at its draw, among the items left.
        lowest: `[t]`, smallest possible `x / q` of any item left at that draw, at most 0.
        highest: `[t]`, largest possible `x / q`, at least 0.
        squares: `[t]`, expected square of `x / q` at that draw by the caller's predictions; sets stakes, not validity.
        floor: `[t + 1]`, smallest possible total of the items left before each draw, and after the last.
        ceiling: `[t + 1]`, largest possible one.
    """

    values: Floats
    chances: Floats
    lowest: Floats
    highest: Floats
    squares: Floats
    floor: Floats
    ceiling: Floats

    @classmethod
    def of(cls, order: Ids, population: Population, values: Floats) -> Draws:
        """Draws whose chances are as the weights of the items left.

        Args:
            order: `[n]`, all items in the order in which they are drawn, see `weighted_order`.
            population: what was known of the items before the first draw.
            values: `[t ≤ n]`, of the first items of the order.
        """
        t = len(values)
        weight, lows, highs = population.weights[order], population.low[order], population.high[order]
        left = _sums_of_rest(weight)
        # The extremes among the items left, times the weight left, are those of x / q.
        least = np.minimum.accumulate((np.minimum(lows, 0.0) / weight)[::-1])[::-1]
        most = np.maximum.accumulate((np.maximum(highs, 0.0) / weight)[::-1])[::-1]
        squares = left * _sums_of_rest(population.expected_squares[order] / weight)
        floor, ceiling = np.append(_sums_of_rest(lows), 0.0), np.append(_sums_of_rest(highs), 0.0)
        return cls(
            values,
            weight[:t] / left[:t],
            left[:t] * least[:t],
            left[:t] * most[:t],
            squares[:t],
            floor[: t + 1],
            ceiling[: t + 1],
        )


def weighted_order(weights: Floats, random: np.random.Generator) -> Ids:
    """All items, drawn one after the other without replacement with chances as the weights of those left.

    Args:
        weights: `[n]`, positive.
        random: the source of chance.

    Raises:
        StatisticsError: if a weight is not positive and finite.

    Source:
        Efraimidis & Spirakis, Inf. Process. Lett. 97 (2006) 181: items sorted by exponential variables divided by their
        weights.
    """
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise StatisticsError("weights of items to be drawn must be positive and finite")
    return np.argsort(random.standard_exponential(len(weights)) / weights)


def _sums_of_rest(values: Floats) -> Floats:
    """`[n]` → at each place, the sum of the values from there on."""
    return np.cumsum(values[::-1])[::-1]
