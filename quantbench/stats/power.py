"""Least drops that a test set could detect: the power of the comparison, beside its verdict."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from quantbench.stats.intervals import two_sided_z
from quantbench.stats.paired import PairedOutcomes

POWER = 0.8


def least_drop(outcomes: PairedOutcomes, level: float, power: float = POWER) -> float:
    """The least true drop that a test of as many samples would find with that probability, as a fraction.

    Samples change as often as they were seen to, or as often as the drop itself takes.

    Args:
        outcomes: counts of the samples that changed.
        level: of the two-sided interval that excludes no drop, a fraction.
        power: probability to find it, a fraction.

    Source:
        Power of McNemar's test: R. J. Connor, Sample size for testing differences in proportions for the paired-sample
        design, Biometrics 43 (1987) 207–211, equation 3: n = (z₁ √ψ + z₂ √(ψ − δ²))² / δ², with ψ the share of samples
        that change and δ the drop; solved for δ.

    Example:
        >>> round(100 * least_drop(PairedOutcomes(10_000, 60, 40), 0.95), 2)
        0.28
    """
    z, z_power = two_sided_z(level), NormalDist().inv_cdf(power)

    def is_found(drop: float) -> bool:
        changed = max((outcomes.lost + outcomes.gained) / outcomes.n, drop)
        return drop * sqrt(outcomes.n) >= z * sqrt(changed) + z_power * sqrt(max(changed - drop**2, 0.0))

    low, high = 0.0, 1.0
    if not is_found(high):
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def least_shortfall(floor: float, n: int, level: float, power: float = POWER) -> float | None:
    """The least distance of a share below a floor that so many samples would find with that probability.

    Args:
        floor: 0..1.
        n: samples.
        level: of the two-sided interval that must lie below the floor, a fraction.
        power: probability to find it, a fraction.

    Returns:
        None where not even a share of 0 would be found, or the floor is none that a share can miss.

    Source:
        Power of the test of one proportion: Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 3rd
        ed. 2003, section 2.5: n = ((z₁ √(p₀ q₀) + z₂ √(p₁ q₁)) / (p₀ − p₁))², without its continuity correction; solved
        for p₁.

    Example:
        >>> round(least_shortfall(0.9, 1_000, 0.95), 4)
        0.0275
    """
    if not 0 < floor < 1:
        return None
    z, z_power = two_sided_z(level), NormalDist().inv_cdf(power)

    def is_found(distance: float) -> bool:
        below = max(floor - distance, 0.0)
        return distance * sqrt(n) >= z * sqrt(floor * (1 - floor)) + z_power * sqrt(below * (1 - below))

    low, high = 0.0, floor
    if not is_found(high):
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def error_of(low: float, high: float, level: float) -> float:
    """Standard error that a two-sided interval stands for, by its width."""
    return (high - low) / (2 * two_sided_z(level))


def least_change(error: float, level: float, power: float = POWER) -> float:
    """The least true change of a figure that would be found with that probability, in its unit.

    Args:
        error: standard error of the change.
        level: of the two-sided interval that excludes no change, a fraction.
        power: probability to find it, a fraction.

    Source:
        The normal approximation: (z₁ + z₂) standard errors; Julious, Statist. Med. 23 (2004) 1921–1986, section 3.

    Example:
        >>> round(least_change(0.1, 0.95), 3)
        0.28
    """
    return (two_sided_z(level) + NormalDist().inv_cdf(power)) * error
