"""Looking more than once at growing evidence: when, at which level, and that it fools nobody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from quantbench.errors import StatisticsError
from quantbench.stats.sequential import Looks

LOOKS = Looks(first=40, count=4, level=0.95)
SERIES = 20_000


def test_each_look_needs_twice_the_rounds_of_the_one_before():
    assert Looks(first=12, count=6, level=0.99).rounds == (12, 24, 48, 96, 192, 384)


def test_a_single_look_is_taken_once_at_the_level_of_all():
    once = Looks(first=40, count=1, level=0.99)
    assert (once.rounds, once.level_of_each) == ((40,), pytest.approx(0.99))


@given(st.integers(1, 500), st.integers(1, 12), st.floats(0.5, 0.9999))
def test_the_errors_of_all_looks_together_are_the_error_promised(first, count, level):
    looks = Looks(first, count, level)
    assert count * (1 - looks.level_of_each) == pytest.approx(1 - level)
    assert level <= looks.level_of_each < 1
    assert len(looks.rounds) == count


def alarms_of(series, interval_at, level):
    """Share of series in which an observer who looks until it decides is led to say that the centre is below 0.

    Args:
        series: `[series, rounds]`, all of them with centre 0.
        interval_at: (values so far, level) → lower and upper limits, one for each series.
        level: of the interval at one look.
    """
    undecided, fooled = np.ones(len(series), bool), np.zeros(len(series), bool)
    for rounds in LOOKS.rounds:
        low, high = interval_at(series[:, :rounds], level)
        fooled |= undecided & (high < 0)
        undecided &= (low < 0) & (high >= 0)
    return fooled.mean()


def mean_interval(values, level):
    """Of a mean whose standard deviation of 1 is known: exact at each look."""
    mean, half = values.mean(axis=1), norm.ppf((1 + level) / 2) / np.sqrt(values.shape[1])
    return mean - half, mean + half


def median_interval(values, level):
    """Between order statistics of the values: exact at each look, up to whole ranks."""
    n = values.shape[1]
    rank = int(binom.ppf((1 - level) / 2, n, 0.5)) - 1
    ordered = np.sort(values, axis=1)
    return ordered[:, rank], ordered[:, n - 1 - rank]


@pytest.mark.parametrize(
    ("interval_at", "series"),
    [(mean_interval, SERIES), (median_interval, SERIES // 5)],
    ids=["a mean", "a median of skewed ratios"],
)
def test_looking_until_it_decides_raises_no_more_false_alarms_than_promised_and_more_if_nothing_is_shared(
    interval_at, series
):
    random = np.random.default_rng(4)
    values = random.standard_normal((series, LOOKS.rounds[-1]))
    if interval_at is median_interval:
        # Lognormal as ratios of times are, with a median of 1, from which they are counted.
        values = np.expm1(0.2 * values)
    promised = (1 - LOOKS.level) / 2
    spread = np.sqrt(promised * (1 - promised) / series)
    assert alarms_of(values, interval_at, LOOKS.level_of_each) <= promised + 3 * spread
    assert alarms_of(values, interval_at, LOOKS.level) > 1.7 * promised > promised + 6 * spread


def test_all_looks_together_hold_the_true_value_as_often_as_promised():
    series = np.random.default_rng(5).standard_normal((SERIES, LOOKS.rounds[-1]))

    def share_held(level):
        limits = [mean_interval(series[:, :rounds], level) for rounds in LOOKS.rounds]
        return np.mean(np.all([(low <= 0) & (high >= 0) for low, high in limits], axis=0))

    assert share_held(LOOKS.level_of_each) >= LOOKS.level
    assert share_held(LOOKS.level) < LOOKS.level - 0.04


@pytest.mark.parametrize(("first", "count"), [(0, 4), (40, 0), (-1, 1)])
def test_a_plan_without_a_look_or_a_round_is_refused(first, count):
    with pytest.raises(StatisticsError) as error:
        Looks(first, count, 0.99)
    assert str(error.value) == (
        f"{count} looks from {first} rounds on: plan at least one look after at least one round"
    )


def test_a_level_in_percent_is_refused():
    with pytest.raises(StatisticsError, match="confidence level 99 is not strictly between 0 and 1"):
        Looks(40, 4, 99)
