"""The accuracy drop between two models on the same samples, and Tango's score interval for it."""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, two_sided_z

# Absolute tolerance of a limit, as a fraction of the samples: one sample in 10**12.
LIMIT_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class PairedOutcomes:
    """Counts of the samples among `n` that changed between right and wrong.

    Attributes:
        n: Number of samples that both models were evaluated on.
        lost: Samples right before and wrong after.
        gained: Samples wrong before and right after.

    Raises:
        StatisticsError: `n` is below 1, a count is negative, or more samples changed than there are.

    Example:
        >>> before, after = np.array([True, True, False]), np.array([True, False, False])
        >>> PairedOutcomes.from_correct(before, after)
        PairedOutcomes(n=3, lost=1, gained=0)
    """

    n: int
    lost: int
    gained: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise StatisticsError(f"paired outcomes need at least one sample, but n is {self.n}")
        if self.lost < 0 or self.gained < 0:
            raise StatisticsError(f"counts of samples cannot be negative: lost is {self.lost}, gained is {self.gained}")
        if self.lost + self.gained > self.n:
            raise StatisticsError(
                f"lost ({self.lost}) and gained ({self.gained}) together exceed n = {self.n}; "
                "a sample can change only once"
            )

    @classmethod
    def from_correct(cls, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Self:
        """Count the changes between two evaluations of the same samples in the same order.

        Args:
            before: Whether each sample was right with the first model, shape (n,).
            after: Whether each sample was right with the second model, shape (n,).

        Raises:
            StatisticsError: The arrays are not one-dimensional and boolean, differ in length, or are empty.
        """
        for name, correct in (("before", before), ("after", after)):
            if correct.dtype != np.bool_ or correct.ndim != 1:
                raise StatisticsError(
                    f"'{name}' must hold one boolean per sample, shape (n,), "
                    f"but has dtype {correct.dtype} and shape {correct.shape}"
                )
        if len(before) != len(after):
            raise StatisticsError(
                f"'before' has {len(before)} samples and 'after' {len(after)}; "
                "evaluate both models on the same samples in the same order"
            )
        if len(before) == 0:
            raise StatisticsError("'before' and 'after' are empty; evaluate at least one sample")
        lost = int(np.count_nonzero(before & ~after))
        gained = int(np.count_nonzero(~before & after))
        return cls(n=len(before), lost=lost, gained=gained)

    @property
    def drop(self) -> float:
        """Accuracy before minus accuracy after, as a fraction: 0.01 is one percentage point."""
        return (self.lost - self.gained) / self.n


def tango_interval(outcomes: PairedOutcomes, level: float = 0.95) -> Interval:
    """Tango's score interval for the accuracy drop, as a fraction: 0.01 is one percentage point.

    It keeps its coverage with few changed samples, where Wald and percentile bootstrap are too short. It
    holds the observed drop, stays inside [-1, 1], and mirrors exactly when `lost` and `gained` are swapped.

    Args:
        outcomes: The counts of changed samples.
        level: Nominal coverage as a fraction.

    Raises:
        StatisticsError: `level` is not between 0 and 1.

    Source:
        T. Tango, Statist. Med. 17 (1998) 891-908, equations (24)-(26), with the opposite sign of the
        difference. Deviations, none of which changes a limit: a bracketing root finder instead of the secant
        method; the equation without its division, so that it is defined at the observed drop and at 1; the
        restricted estimate in the form that does not cancel; closed forms where the observed drop solves the
        equation too.

    Example:
        >>> interval = tango_interval(PairedOutcomes(n=1000, lost=12, gained=4))
        >>> round(interval.low, 4), round(interval.high, 4)
        (0.0002, 0.0173)
    """
    z = two_sided_z(level)
    n, lost, gained = outcomes.n, outcomes.lost, outcomes.gained
    low = -_upper_limit(n, lost=gained, gained=lost, z=z)
    return Interval(low=low, high=_upper_limit(n, lost=lost, gained=gained, z=z), level=level)


def samples_to_decide(outcomes: PairedOutcomes, bound: float, level: float = 0.95) -> int | None:
    """Number of samples that, changing at the rates observed, would put `bound` outside of Tango's interval.

    The score statistic grows with the square root of n while rates stay as they are, so that n follows from setting it
    equal to the quantile: `n = z² v(bound) / (bound − drop)²`, with the variance v of one sample's change restricted to
    that drop, as in Tango's interval.

    Args:
        outcomes: The counts of changed samples.
        bound: On the drop, as a fraction: 0.01 is one percentage point.
        level: Of the interval.

    Returns:
        The number, or None where the observed drop is the bound itself, or the bound a drop that cannot be exceeded.

    Raises:
        StatisticsError: `level` is not between 0 and 1.
    """
    z = two_sided_z(level)
    distance = bound - outcomes.drop
    if distance == 0.0 or not -1.0 < bound < 1.0:
        return None
    lost, gained, toward = outcomes.lost, outcomes.gained, bound
    if distance < 0:
        # The lower limit is the upper one of the mirrored counts.
        lost, gained, toward = gained, lost, -bound
    variance = _restricted_variance(outcomes.n, lost=lost, gained=gained, drop=toward)
    return max(ceil(z * z * variance / distance**2), 1)


def _upper_limit(n: int, *, lost: int, gained: int, z: float) -> float:
    """Largest drop that the score test with quantile `z` does not reject, as a fraction."""
    if lost == n:
        return 1.0
    # In the next two tables the estimated variance is zero at the observed drop, which is therefore a second
    # root of the equation and not the limit. What is left after dividing that root out is linear.
    if gained == n:
        return (z * z - n) / (z * z + n)
    if lost == gained == 0:
        return z * z / (z * z + n)
    from scipy.optimize import brentq

    observed = (lost - gained) / n

    def excess(drop: float) -> float:
        """Distance above the observed drop minus `z` standard errors: rises through 0 at the limit."""
        variance = _restricted_variance(n, lost=lost, gained=gained, drop=drop)
        return n * (drop - observed) - z * sqrt(n * variance)

    return float(brentq(excess, observed, 1.0, xtol=LIMIT_TOLERANCE))


def _restricted_variance(n: int, *, lost: int, gained: int, drop: float) -> float:
    """Variance of one sample's change if the true drop were `drop`, other things at their likeliest."""
    a = 2.0 * n
    b = -lost - gained + (2.0 * n - lost + gained) * drop
    c = -gained * drop * (1.0 - drop)
    root = sqrt(max(b * b - 4.0 * a * c, 0.0))
    # The likeliest share of gained samples. Of the two equal forms, the one that adds terms of one sign.
    share_gained = -2.0 * c / (b + root) if b > 0.0 else (root - b) / (2.0 * a)
    return max(2.0 * share_gained + drop * (1.0 - drop), 0.0)
