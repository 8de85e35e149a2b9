"""A bound and a measured quantity give PASS, FAIL or INCONCLUSIVE, and never a pass without evidence."""

import math

import pytest

from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Outcome, at_least, at_most, no_evidence

NAN = math.nan


def drop(low, high, bound=1.0):
    interval = Interval(low, high, 0.95)
    return at_most("accuracy_drop_pp", (low + high) / 2, interval, bound, 2000, "as measured", " pp")


def speedup(low, high, bound=1.2):
    return at_least("speedup", (low + high) / 2, Interval(low, high, 0.99), bound, 60, "as measured", "×")


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.5, 0.9, Outcome.PASS),
        (-0.5, 1.0, Outcome.PASS),
        (-0.5, 1.01, Outcome.INCONCLUSIVE),
        (1.0, 2.0, Outcome.INCONCLUSIVE),
        (1.01, 2.0, Outcome.FAIL),
        (-3.0, -2.0, Outcome.PASS),
        (NAN, NAN, Outcome.INCONCLUSIVE),
        (0.0, NAN, Outcome.INCONCLUSIVE),
    ],
)
def test_a_drop_passes_only_when_its_whole_interval_is_within_the_bound(low, high, outcome):
    assert drop(low, high).outcome is outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.3, 1.5, Outcome.PASS),
        (1.2, 1.5, Outcome.PASS),
        (1.19, 1.5, Outcome.INCONCLUSIVE),
        (0.9, 1.2, Outcome.INCONCLUSIVE),
        (0.9, 1.19, Outcome.FAIL),
        (NAN, NAN, Outcome.INCONCLUSIVE),
        (NAN, 1.5, Outcome.INCONCLUSIVE),
    ],
)
def test_a_speedup_passes_only_when_its_whole_interval_reaches_the_bound(low, high, outcome):
    assert speedup(low, high).outcome is outcome


@pytest.mark.parametrize(
    ("estimate", "most", "least"),
    [(0.9, Outcome.PASS, Outcome.FAIL), (1.0, Outcome.PASS, Outcome.PASS), (1.1, Outcome.FAIL, Outcome.PASS)],
)
def test_an_exact_quantity_is_judged_by_itself(estimate, most, least):
    assert at_most("q", estimate, None, 1.0, 1, "m", "").outcome is most
    assert at_least("q", estimate, None, 1.0, 1, "m", "").outcome is least


def test_an_exact_quantity_that_is_nan_is_inconclusive():
    assert at_most("q", NAN, None, 1.0, 1, "m", "").outcome is Outcome.INCONCLUSIVE
    assert at_least("q", NAN, None, 1.0, 1, "m", "").outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("strict_low", "outcome"),
    [(1.01, Outcome.FAIL), (1.0, Outcome.INCONCLUSIVE), (0.5, Outcome.INCONCLUSIVE), (NAN, Outcome.INCONCLUSIVE)],
)
def test_a_drop_fails_only_when_the_strict_interval_is_beyond_the_bound_too(strict_low, outcome):
    strict = Interval(strict_low, 3.0, 0.99)
    verdict = at_most("accuracy_drop_pp", 1.5, Interval(1.1, 1.9, 0.95), 1.0, 2000, "m", " pp", strict)
    assert verdict.outcome is outcome
    assert verdict.interval == Interval(1.1, 1.9, 0.95)


@pytest.mark.parametrize(
    ("strict_high", "outcome"),
    [(1.19, Outcome.FAIL), (1.2, Outcome.INCONCLUSIVE), (1.5, Outcome.INCONCLUSIVE), (NAN, Outcome.INCONCLUSIVE)],
)
def test_a_speedup_fails_only_when_the_strict_interval_is_short_of_the_bound_too(strict_high, outcome):
    strict = Interval(0.5, strict_high, 0.999)
    verdict = at_least("speedup", 1.0, Interval(0.9, 1.1, 0.99), 1.2, 60, "m", "×", strict)
    assert verdict.outcome is outcome
    assert verdict.interval == Interval(0.9, 1.1, 0.99)


def test_the_strict_interval_neither_prevents_a_pass_nor_makes_one_fail():
    reaching_past = Interval(-9.0, 9.0, 0.999)
    assert at_most("q", 0.5, Interval(0.0, 0.9, 0.95), 1.0, 1, "m", "", reaching_past).outcome is Outcome.PASS
    assert at_least("q", 1.5, Interval(1.3, 1.7, 0.95), 1.2, 1, "m", "", reaching_past).outcome is Outcome.PASS
    # Not wider, as it should be: the gate's own interval still has to agree.
    beyond, short = Interval(1.5, 1.6, 0.999), Interval(0.5, 0.6, 0.999)
    assert at_most("q", 1.2, Interval(0.9, 1.5, 0.95), 1.0, 1, "m", "", beyond).outcome is Outcome.INCONCLUSIVE
    assert at_least("q", 1.0, Interval(0.9, 1.3, 0.95), 1.2, 1, "m", "", short).outcome is Outcome.INCONCLUSIVE


def test_a_negative_bound_demands_an_improvement():
    assert drop(-3.0, -2.5, bound=-2.0).outcome is Outcome.PASS
    assert drop(-1.5, -1.0, bound=-2.0).outcome is Outcome.FAIL


def test_the_requirement_says_direction_bound_and_unit():
    assert drop(0.0, 0.5, bound=1.0).requirement == "at most 1 pp"
    assert speedup(1.3, 1.4).requirement == "at least 1.2×"


def test_a_verdict_carries_all_that_led_to_it():
    verdict = drop(0.0, 0.5)
    assert (verdict.quantity, verdict.bound, verdict.n, verdict.measured) == (
        "accuracy_drop_pp",
        1.0,
        2000,
        "as measured",
    )
    assert verdict.estimate == 0.25
    assert verdict.interval == Interval(0.0, 0.5, 0.95)


def test_no_evidence_is_inconclusive_and_says_why():
    verdict = no_evidence("speedup", 1.2, "nothing was timed")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert (verdict.estimate, verdict.interval, verdict.n) == (None, None, 0)
    assert (verdict.measured, verdict.requirement) == ("nothing was timed", "bound 1.2")


def test_an_outcome_is_shown_as_its_word():
    assert f"{Outcome.INCONCLUSIVE} {Outcome.PASS} {Outcome.FAIL}" == "INCONCLUSIVE PASS FAIL"
