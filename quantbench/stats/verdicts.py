"""A bound and a measured quantity → PASS, FAIL or INCONCLUSIVE; nothing else in the project decides that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quantbench.stats.intervals import Interval


class Outcome(StrEnum):
    """What the evidence says of a bound."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Verdict:
    """One judged quantity.

    Attributes:
        quantity: name of the gate, such as `accuracy_drop_pp`.
        estimate: measured value, or None where there is no evidence.
        interval: its confidence interval, or None for a quantity that is exact.
        bound: of the gate.
        n: samples or rounds behind the estimate.
        measured: the estimate as text, with unit, interval and n.
        requirement: the bound as text.
    """

    quantity: str
    outcome: Outcome
    estimate: float | None
    interval: Interval | None
    bound: float | None
    n: int
    measured: str
    requirement: str


def at_most(
    quantity: str, estimate: float, interval: Interval | None, bound: float, n: int, measured: str, unit: str
) -> Verdict:
    """Judges a quantity that must not exceed its bound: PASS only when its whole interval does not, FAIL only when all
    of it does (a non-inferiority test with margin `bound`)."""
    low, high = (interval.low, interval.high) if interval else (estimate, estimate)
    outcome = Outcome.PASS if high <= bound else Outcome.FAIL if low > bound else Outcome.INCONCLUSIVE
    return Verdict(quantity, outcome, estimate, interval, bound, n, measured, f"at most {bound:g}{unit}")


def at_least(
    quantity: str, estimate: float, interval: Interval | None, bound: float, n: int, measured: str, unit: str
) -> Verdict:
    """Judges a quantity that must reach its bound: PASS only when its whole interval does, FAIL only when none does."""
    low, high = (interval.low, interval.high) if interval else (estimate, estimate)
    outcome = Outcome.PASS if low >= bound else Outcome.FAIL if high < bound else Outcome.INCONCLUSIVE
    return Verdict(quantity, outcome, estimate, interval, bound, n, measured, f"at least {bound:g}{unit}")


def no_evidence(quantity: str, bound: float, reason: str) -> Verdict:
    """The verdict where nothing could be measured: never a pass, never a skip."""
    return Verdict(quantity, Outcome.INCONCLUSIVE, None, None, bound, 0, reason, f"bound {bound:g}")
