"""Intervals of a record, computed again from the counts beside them."""

from __future__ import annotations

from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval

# As fractions: limits are found to 10**-12, and other versions of the libraries round them in another way.
ROUNDING = 1e-9
Limits = tuple[float, float]


def unlike_tango(name: str, given: Limits, outcomes: PairedOutcomes, level: float) -> str | None:
    """Words about limits, in percentage points, that are not Tango's of these counts; None where they are.

    Args:
        name: of the interval in its record.
        given: its limits.
        outcomes: the counts.
        level: of the interval.
    """
    found = tango_interval(outcomes, level)
    limits = (100 * found.low, 100 * found.high)
    n, lost, gained = outcomes.n, outcomes.lost, outcomes.gained
    return _unlike(name, given, limits, 100 * ROUNDING, f"lost {lost} and gained {gained} of n {n}")


def unlike_wilson(
    name: str, given: Limits, share: float, n: int, level: float, rounding: float = ROUNDING
) -> str | None:
    """Words about limits, of `<figure>_interval`, that are not Wilson's of a share of `n` samples; None where they are.

    Args:
        name: of the interval in its record.
        given: its limits, 0..1.
        share: of a whole number of the samples.
        n: samples, at least one.
        level: of the interval.
        rounding: of the given limits, as a fraction.
    """
    found = wilson_interval(round(share * n), n, level)
    return _unlike(name, given, (found.low, found.high), rounding, f"{name.removesuffix('_interval')} {share} of n {n}")


def _unlike(name: str, given: Limits, found: Limits, rounding: float, counts: str) -> str | None:
    if max(abs(one - other) for one, other in zip(given, found, strict=True)) <= rounding:
        return None
    return f"{name} [{given[0]}, {given[1]}], but {counts} has [{found[0]:.6f}, {found[1]:.6f}]"
