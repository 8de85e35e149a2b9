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
