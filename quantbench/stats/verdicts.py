"""A bound and a measured quantity → PASS, FAIL or INCONCLUSIVE; nothing else in the project decides that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change


class Outcome(StrEnum):
    """Outcome of a bound held against the evidence.

    Example:
        >>> Outcome("FAIL") is Outcome.FAIL
        True
    """

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
        accept: the command that accepts what was found, where it depends on more than the quantity.
        warning: what else was noticed, although it decides nothing; empty where nothing was.
        blame: the layer that is responsible, and why; empty where nobody looked.
        change: what became of the quantity since it was accepted, of a verdict that asks that.

    Example:
        >>> verdict = at_most("accuracy_drop_pp", 0.4, Interval(0.1, 1.2, level=0.95), 1.0, 1_000, "0.4 pp", " pp")
        >>> verdict.outcome.value, verdict.requirement
        ('INCONCLUSIVE', 'at most 1 pp')
    """

    quantity: str
    outcome: Outcome
    estimate: float | None
    interval: Interval | None
    bound: float | None
    n: int
    measured: str
    requirement: str
    change: Change | None = None
    accept: str = ""
    warning: str = ""
    blame: str = ""


def at_most(
    quantity: str,
    estimate: float,
    interval: Interval | None,
    bound: float,
    n: int,
    measured: str,
    unit: str,
    strict: Interval | None = None,
) -> Verdict:
    """Judges a quantity that must not exceed its bound: PASS only when its whole interval does not, FAIL only when all
    of it does (a non-inferiority test with margin `bound`).

    Where many gates of a run share its false alarms (`multiplicity.Family`), a FAIL needs the wider interval `strict`
    beyond the bound as well; a gate that would fail by its own interval only is INCONCLUSIVE.
    """
    low, high = (interval.low, interval.high) if interval else (estimate, estimate)
    exceeded = low > bound and (strict is None or strict.low > bound)
    outcome = Outcome.PASS if high <= bound else Outcome.FAIL if exceeded else Outcome.INCONCLUSIVE
    return Verdict(quantity, outcome, estimate, interval, bound, n, measured, f"at most {bound:g}{unit}")


def at_least(
    quantity: str,
    estimate: float,
    interval: Interval | None,
    bound: float,
    n: int,
    measured: str,
    unit: str,
    strict: Interval | None = None,
) -> Verdict:
    """Judges a quantity that must reach its bound: PASS only when its whole interval does, FAIL only when none does.

    A FAIL needs the wider interval `strict` short of the bound as well, as in `at_most`.
    """
    low, high = (interval.low, interval.high) if interval else (estimate, estimate)
    missed = high < bound and (strict is None or strict.high < bound)
    outcome = Outcome.PASS if low >= bound else Outcome.FAIL if missed else Outcome.INCONCLUSIVE
    return Verdict(quantity, outcome, estimate, interval, bound, n, measured, f"at least {bound:g}{unit}")


def no_evidence(quantity: str, bound: float, reason: str) -> Verdict:
    """The verdict where nothing could be measured: never a pass, never a skip."""
    return Verdict(quantity, Outcome.INCONCLUSIVE, None, None, bound, 0, reason, f"bound {bound:g}")


def of_change(
    quantity: str,
    change: Change,
    estimate: float,
    interval: Interval,
    margin: float,
    n: int,
    measured: str,
    requirement: str,
) -> Verdict:
    """The verdict on a change since acceptance: REGRESSED is a FAIL, IMPROVED and SAME are a PASS."""
    outcome = {Change.REGRESSED: Outcome.FAIL, Change.INCONCLUSIVE: Outcome.INCONCLUSIVE}.get(change, Outcome.PASS)
    return Verdict(quantity, outcome, estimate, interval, margin, n, measured, requirement, change)
