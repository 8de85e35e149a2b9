"""Worse than accepted, better or the same: an interval against a margin, and the interval of a ratio of two ratios."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, two_sided_z
from quantbench.stats.regression import Change, change_of, ratio_interval

POSITIVE = st.floats(0.1, 10.0)


def between(low, high, level=0.95):
    return Interval(low, high, level)


LOSSES = {
    "all beyond the margin": (0.11, 0.2, Change.REGRESSED),
    "just at the margin": (0.1, 0.2, Change.INCONCLUSIVE),
    "across the margin": (0.05, 0.15, Change.INCONCLUSIVE),
    "so wide that it says nothing": (-0.5, 0.5, Change.INCONCLUSIVE),
    "up to the margin": (0.05, 0.1, Change.SAME),
    "surely a little worse": (0.02, 0.08, Change.SAME),
    "around nothing": (-0.02, 0.03, Change.SAME),
    "surely a little better": (-0.08, -0.02, Change.SAME),
    "across the margin of a gain": (-0.2, -0.05, Change.SAME),
    "just at the margin of a gain": (-0.2, -0.1, Change.SAME),
    "all beyond the margin of a gain": (-0.2, -0.11, Change.IMPROVED),
}


@pytest.mark.parametrize(("low", "high", "change"), LOSSES.values(), ids=LOSSES)
def test_a_change_is_what_the_whole_interval_says(low, high, change):
    assert change_of(between(low, high), 0.1) is change


def test_without_a_margin_any_sure_loss_is_a_regression_and_none_at_all_is_the_same():
    assert change_of(between(0.001, 0.2), 0.0) is Change.REGRESSED
    assert change_of(between(0.0, 0.0), 0.0) is Change.SAME


def test_a_regression_needs_the_wider_interval_of_a_whole_run_too():
    loss = between(0.11, 0.2)
    assert change_of(loss, 0.1, strict=between(0.105, 0.25, 0.99)) is Change.REGRESSED
    assert change_of(loss, 0.1, strict=between(0.09, 0.25, 0.99)) is Change.INCONCLUSIVE
    assert change_of(between(-0.2, -0.11), 0.1, strict=between(-0.3, -0.05)) is Change.IMPROVED


@pytest.mark.parametrize("strict", [0.11, 0.3], ids=["beyond", "far beyond"])
def test_a_stricter_interval_alone_makes_no_regression(strict):
    assert change_of(between(0.05, 0.2), 0.1, strict=between(strict, 0.4)) is Change.INCONCLUSIVE


def test_a_negative_margin_is_refused():
    with pytest.raises(StatisticsError) as error:
        change_of(between(0.0, 0.1), -0.1)
    assert str(error.value) == "the margin of a regression is -0.1; it must not be negative"


def test_the_ratio_of_two_ratios_has_the_interval_that_is_worked_out_by_hand():
    # Limits a factor of e^0.03 and e^0.04 away from the estimates: sqrt(0.03² + 0.04²) = 0.05.
    now, accepted = 2.0 * np.exp([-0.03, 0.04]), 4.0 * np.exp([-0.03, 0.04])
    found = ratio_interval(2.0, between(*now), 4.0, between(*accepted))
    assert (found.low, found.high) == pytest.approx((0.5 * np.exp(-0.05), 0.5 * np.exp(0.05)))


def test_each_limit_takes_the_side_of_each_interval_that_moves_it():
    # Downwards: now's lower side and accepted's upper one, 3-4-5 in hundredths; upwards: 5-12-13.
    now, accepted = 3.0 * np.exp([-0.03, 0.05]), 2.0 * np.exp([-0.12, 0.04])
    found = ratio_interval(3.0, between(*now), 2.0, between(*accepted))
    assert (found.low, found.high) == pytest.approx((1.5 * np.exp(-0.05), 1.5 * np.exp(0.13)))


def test_the_level_is_the_lower_of_the_two():
    assert ratio_interval(1.0, between(0.9, 1.1, 0.99), 1.0, between(0.9, 1.1, 0.95)).level == 0.95
    assert ratio_interval(1.0, between(0.9, 1.1, 0.95), 1.0, between(0.9, 1.1, 0.99)).level == 0.95


@given(POSITIVE, POSITIVE, *[st.floats(1.0, 2.0)] * 4)
def test_the_reverse_of_a_ratio_has_the_reverse_interval(now, accepted, a, b, c, d):
    first, second = between(now / a, now * b), between(accepted / c, accepted * d)
    there = ratio_interval(now, first, accepted, second)
    back = ratio_interval(accepted, second, now, first)
    assert (back.low, back.high) == pytest.approx((1 / there.high, 1 / there.low))
    assert there.low <= now / accepted * (1 + 1e-12)
    assert there.high >= now / accepted * (1 - 1e-12)


@pytest.mark.parametrize(("rounds", "accepted_rounds"), [(40, 40), (40, 320)])
def test_the_interval_holds_the_true_ratio_as_often_as_both_hold_theirs(rounds, accepted_rounds):
    # Medians of lognormal ratios, known to their own standard error; that of the share is 0.0015 at 20,000 trials.
    random, z, level = np.random.default_rng(6), two_sided_z(0.95), 0.95
    spreads = [0.2 * np.sqrt(np.pi / 2 / n) for n in (rounds, accepted_rounds)]
    held = narrower = 0
    for nows in random.normal(0.0, spreads, (20_000, 2)):
        estimates = np.array([2.0, 3.0]) * np.exp(nows)
        now, accepted = (
            (estimate, between(estimate * np.exp(-z * s), estimate * np.exp(z * s), level))
            for estimate, s in zip(estimates, spreads, strict=True)
        )
        found = ratio_interval(*now, *accepted)
        held += found.low <= 2 / 3 <= found.high
        # What ignores how uncertain the accepted figure is.
        narrower += now[1].low / accepted[0] <= 2 / 3 <= now[1].high / accepted[0]
    assert held / 20_000 == pytest.approx(0.95, abs=0.006)
    assert narrower / 20_000 < 0.94


BAD = {
    "estimate below": (0.8, (0.9, 1.1)),
    "estimate above": (1.2, (0.9, 1.1)),
    "a limit of nothing": (1.0, (0.0, 1.1)),
    "a negative limit": (1.0, (-0.5, 1.1)),
    "not a number": (float("nan"), (0.9, 1.1)),
}


@pytest.mark.parametrize(("estimate", "limits"), BAD.values(), ids=BAD)
def test_figures_that_are_not_positive_and_in_order_are_refused_by_name(estimate, limits):
    good = (1.0, between(0.9, 1.1))
    bad = (estimate, between(*limits))
    words = f"the estimate {estimate:g} and its interval [{limits[0]:g}, {limits[1]:g}] are not positive and in order"
    for name, arguments in (("now", (*bad, *good)), ("accepted", (*good, *bad))):
        with pytest.raises(StatisticsError) as error:
            ratio_interval(*arguments)
        assert str(error.value) == f"'{name}': {words}"
