"""Published intervals for a paired drop, beside which Tango's is measured; each for many tables at once.

Every function takes the sample count, tables of lost and gained samples, shape (tables, 2), and a drop, and tells which
of the tables' 95 % intervals hold that drop. `quantbench` itself uses Tango's only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from paired_tables import Counts, Floats
from scipy.stats import beta

from quantbench.stats.intervals import two_sided_z
from quantbench.stats.paired import PairedOutcomes, tango_interval

LEVEL = 0.95
Z = two_sided_z(LEVEL)

# Limits and drops are multiples of 1 / n apart or equal; this only absorbs rounding.
ROUNDING = 1e-12

# Newcombe's interval needs all four cells: so many of the samples that do not change are right, as at 90 % accuracy.
RIGHT_OF_UNCHANGED = 0.9

Limits = tuple[Floats, Floats]
Held = NDArray[np.bool_]


def tango(n: int, tables: Counts) -> Limits:
    """The package's own: T. Tango, Statist. Med. 17 (1998) 891-908."""
    intervals = [tango_interval(PairedOutcomes(n, lost, gained), LEVEL) for lost, gained in tables.tolist()]
    return np.array([interval.low for interval in intervals]), np.array([interval.high for interval in intervals])


def pseudo_counts(n: int, tables: Counts, added: float) -> Limits:
    """Wald's interval after adding to the lost and the gained, and two samples in all."""
    p_lost, p_gained = (tables + added).T / (n + 2.0)
    drop = p_lost - p_gained
    half_width = Z * np.sqrt((p_lost + p_gained - drop**2) / (n + 2.0))
    return drop - half_width, drop + half_width


def agresti_min(n: int, tables: Counts) -> Limits:
    """A. Agresti and Y. Min, Statist. Med. 24 (2005) 729-740: half a sample to each of the four cells."""
    return pseudo_counts(n, tables, 0.5)


def bonett_price(n: int, tables: Counts) -> Limits:
    """D. G. Bonett and R. M. Price, J. Educ. Behav. Stat. 37 (2012) 479-488: one sample each to lost and gained."""
    return pseudo_counts(n, tables, 1.0)


def newcombe(n: int, tables: Counts) -> Limits:
    """R. G. Newcombe, Statist. Med. 17 (1998) 2635-2650, method 10: Wilson's intervals, squared and added."""
    lost, gained = tables.T.astype(np.float64)
    both_right = np.floor(RIGHT_OF_UNCHANGED * (n - lost - gained))
    return newcombe_of_cells(both_right, lost, gained, n - lost - gained - both_right)


def newcombe_of_cells(both_right: Floats, lost: Floats, gained: Floats, both_wrong: Floats) -> Limits:
    """Newcombe's method 10 from all four cells."""
    n = both_right + lost + gained + both_wrong
    before, after = both_right + lost, both_right + gained
    drop = (before - after) / n
    product = both_right * both_wrong - lost * gained
    # Towards no correlation by half a pair, but not past it.
    corrected = np.where(product > n / 2.0, product - n / 2.0, np.where(product >= 0.0, 0.0, product))
    margins = before * (n - before) * after * (n - after)
    correlation = np.where(margins > 0.0, corrected / np.sqrt(np.maximum(margins, 1.0)), 0.0)
    (low_1, high_1), (low_2, high_2) = wilson(before, n), wilson(after, n)

    def distance(first: Floats, second: Floats) -> Floats:
        squared: Floats = first**2 - 2.0 * correlation * first * second + second**2
        return np.sqrt(squared)

    below = distance(before / n - low_1, high_2 - after / n)
    return drop - below, drop + distance(high_1 - before / n, after / n - low_2)


def wilson(successes: Floats, n: Floats) -> Limits:
    """E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212."""
    centre = (successes + Z * Z / 2.0) / (n + Z * Z)
    half_width = Z * np.sqrt(successes * (n - successes) / n + Z * Z / 4.0) / (n + Z * Z)
    return centre - half_width, centre + half_width


def conditional_exact(n: int, tables: Counts) -> Limits:
    """Newcombe's method 8: Clopper and Pearson's limits for the lost among the changed, times the changed."""
    lost, gained = tables.T
    changed, tail = lost + gained, (1.0 - LEVEL) / 2.0
    # The beta distribution is not defined where a count is zero: there the limit is the border.
    low = np.where(lost > 0, beta.ppf(tail, np.maximum(lost, 1), gained + 1), 0.0)
    high = np.where(gained > 0, beta.isf(tail, lost + 1, np.maximum(gained, 1)), 1.0)
    return (2.0 * low - 1.0) * changed / n, (2.0 * high - 1.0) * changed / n


def skewness_corrected_score(n: int, tables: Counts, drop: float) -> Held:
    """Tango's score without the skewness of the changes, as P. J. Laud, Pharm. Stat. 16 (2017) 334-348, has it for
    independent samples; without his factor of n / (n - 1) on the variance."""
    lost, gained = tables.T.astype(np.float64)
    b = (2.0 * n - lost + gained) * drop - lost - gained
    root = np.sqrt(np.maximum(b * b + 8.0 * n * gained * drop * (1.0 - drop), 0.0))
    p_gained = np.maximum((root - b) / (4.0 * n), 0.0)
    p_lost = p_gained + drop
    # Zero where nothing changed and the drop is 0, which is held whatever the variance.
    variance = np.maximum(p_lost + p_gained - drop**2, 1e-100)
    unchanged = 1.0 - p_lost - p_gained
    third = p_lost * (1.0 - drop) ** 3 - p_gained * (1.0 + drop) ** 3 - unchanged * drop**3
    distance = (lost - gained - n * drop) / np.sqrt(n * variance)
    # By how much the skewness moves both limits of acceptance: Cornish and Fisher's first term.
    shift = third / variance**1.5 / np.sqrt(n) * (Z * Z - 1.0) / 6.0
    held: Held = np.abs(distance - shift) <= Z
    held |= lost - gained == n * drop
    return held


def by_limits(limits: Callable[[int, Counts], Limits]) -> Callable[[int, Counts, float], Held]:
    """Whether each table's limits hold a drop."""

    def holds(n: int, tables: Counts, drop: float) -> Held:
        low, high = limits(n, tables)
        return (low <= drop + ROUNDING) & (drop - ROUNDING <= high)

    return holds


METHODS: dict[str, Callable[[int, Counts, float], Held]] = {
    "Tango": by_limits(tango),
    "score, skewness corrected": skewness_corrected_score,
    "Newcombe 10": by_limits(newcombe),
    "Agresti–Min": by_limits(agresti_min),
    "Bonett–Price": by_limits(bonett_price),
    "conditional exact": by_limits(conditional_exact),
}
