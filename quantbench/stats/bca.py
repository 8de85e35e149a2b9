"""BCa bootstrap intervals of figures that are no means, from samples or from whole clusters of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, check_level

Floats = NDArray[np.float64]
FEWEST_REPLICATES = 1_999
# Memory of the weights of some replicates at once.
WEIGHTS_BYTES = 32 << 20
# Of so few samples or clusters the spread itself is a guess.
FEWEST = 10
# Parts that are left out in turn to see how the spread changes with the figure.
PARTS = 200
# Share of resamples without a figure up to which the others tell an interval.
MOST_UNDEFINED = 0.01
NORMAL = NormalDist()


@dataclass(frozen=True)
class Resampled:
    """A figure with what its resamples tell.

    Attributes:
        estimate: of all samples, each once.
        intervals: one for each level; None where the resamples tell no limit.
        error: standard error, the spread of the resamples.
    """

    estimate: float
    intervals: tuple[Interval | None, ...]
    error: float


def bca_intervals(
    figures: Callable[[Floats], Floats],
    n: int,
    levels: Sequence[float],
    clusters: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> list[Resampled]:
    """Intervals of some figures of the same samples.

    Args:
        figures: weights of samples `[r, n]` → figures `[r, m]`; NaN where a resample has none.
        n: samples.
        levels: nominal coverages, fractions.
        clusters: `[n]` cluster of each sample, which is resampled as a whole; None where samples are independent.
        seed: of the resampling.

    Returns:
        One for each of the `m` figures.

    Raises:
        StatisticsError: if there are fewer than 10 samples or clusters, or a level is no fraction.

    Source:
        Efron, Better bootstrap confidence intervals, J. Am. Stat. Assoc. 82 (1987) 171–185, equations 2.3, 2.10 and
        6.6 (acceleration by the jackknife); DiCiccio and Efron, Bootstrap confidence intervals, Statist. Sci. 11 (1996)
        189–228, section 2. Deviations: the jackknife leaves out one of at most 200 random parts in turn, whose sums
        have the same third moment over the same variance; resamples that equal the estimate count half as below it.

    Example:
        >>> values = np.arange(100.0)
        >>> found, = bca_intervals(lambda w: (w @ values / w.sum(axis=1))[:, None], 100, [0.95])
        >>> found.intervals[0].low < 49.5 < found.intervals[0].high
        True
    """
    for level in levels:
        check_level(level)
    unit = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1].reshape(-1)
    units = int(unit.max()) + 1
    if units < FEWEST:
        what = "samples" if clusters is None else "clusters"
        raise StatisticsError(f"{units} {what} are too few for an interval; measure on at least {FEWEST}")
    random = np.random.default_rng(seed)
    estimates = figures(np.ones((1, n)))[0]
    left_out = _left_out(figures, unit, units, random)
    replicates = _replicates(figures, unit, units, max(FEWEST_REPLICATES, ceil(4 / (1 - max(levels))) - 1), random)
    return [
        _resampled(float(estimate), replicates[:, i], left_out[:, i], levels) for i, estimate in enumerate(estimates)
    ]


def _replicates(
    figures: Callable[[Floats], Floats], unit: NDArray[np.int64], units: int, count: int, random: np.random.Generator
) -> Floats:
    """Figures of resamples, `[count, m]`."""
    step, found = max(1, WEIGHTS_BYTES // (8 * len(unit))), []
    for start in range(0, count, step):
        rows = min(step, count - start)
        drawn = random.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
        found.append(figures(counts if units == len(unit) else counts[:, unit]))
    return np.concatenate(found)


def _left_out(
    figures: Callable[[Floats], Floats], unit: NDArray[np.int64], units: int, random: np.random.Generator
) -> Floats:
    """Figures without one part of the units in turn, `[parts, m]`."""
    parts = min(units, PARTS)
    part = random.permutation(np.arange(units) % parts)[unit]
    step = max(1, WEIGHTS_BYTES // (8 * len(unit)))
    each = [np.arange(start, min(start + step, parts)) for start in range(0, parts, step)]
    return np.concatenate([figures((part[None, :] != rows[:, None]).astype(np.float64)) for rows in each])


def _resampled(estimate: float, replicates: Floats, left_out: Floats, levels: Sequence[float]) -> Resampled:
    finite = np.sort(replicates[np.isfinite(replicates)])
    if len(finite) < (1 - MOST_UNDEFINED) * len(replicates):
        return Resampled(estimate, (None,) * len(levels), float("nan"))
    error = float(finite.std(ddof=1))
    if finite[0] == finite[-1] == estimate:
        return Resampled(estimate, tuple(Interval(estimate, estimate, level) for level in levels), 0.0)
    below = float((finite < estimate).mean() + (finite == estimate).mean() / 2)
    if not 0 < below < 1:
        return Resampled(estimate, (None,) * len(levels), error)
    bias, acceleration = NORMAL.inv_cdf(below), _acceleration(left_out)
    limits = tuple(_limits(estimate, finite, bias, acceleration, level) for level in levels)
    return Resampled(estimate, limits, error)


def _limits(estimate: float, ordered: Floats, bias: float, acceleration: float, level: float) -> Interval:
    """Quantiles of ordered replicates at the corrected places."""
    found = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + NORMAL.inv_cdf(tail)
        place = NORMAL.cdf(bias + z / (1 - acceleration * z)) if acceleration * z < 1 else float(z > 0)
        found.append(float(ordered[min(max(int(place * (len(ordered) + 1)) - 1, 0), len(ordered) - 1)]))
    # The estimate lies far out among its own replicates only where these are few and odd.
    return Interval(min(found[0], estimate), max(found[1], estimate), level)


def _acceleration(left_out: Floats) -> float:
    finite = left_out[np.isfinite(left_out)]
    far = finite.mean() - finite if len(finite) else np.zeros(1)
    spread = float((far**2).sum()) ** 1.5
    return float((far**3).sum()) / (6 * spread) if spread > 0 else 0.0
