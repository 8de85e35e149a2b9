"""Studentized bootstrap intervals hold their value as often as they say, and refuse what is too little."""

import numpy as np
import pytest

from quantbench.errors import StatisticsError
from quantbench.stats.bootstrap import log_ratio_interval, mean_interval

LEVEL = 0.95


def test_of_normal_values_it_is_students():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    interval = mean_interval(values, LEVEL)
    half = 1.966 * values.std(ddof=1) / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_skewed_values_reach_farther_on_their_long_side():
    values = np.random.default_rng(0).lognormal(0.0, 1.5, 300)
    interval = mean_interval(values, LEVEL)
    assert interval.high - values.mean() > 1.5 * (values.mean() - interval.low)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_it_covers_as_often_as_it_says(sigma):
    random, hits, trials = np.random.default_rng(1), 0, 100
    for trial in range(trials):
        signal, noise = random.lognormal(0.0, 0.3, 200), random.lognormal(-4.0, sigma, 200)
        interval = log_ratio_interval(signal, noise, LEVEL, seed=trial)
        true = 0.045 + 4.0 - sigma**2 / 2
        hits += interval.low <= true <= interval.high
    assert hits / trials >= 0.89


def test_a_higher_level_is_wider_and_no_extreme_of_the_replicates():
    values = np.random.default_rng(2).exponential(1.0, 100)
    own, strict = mean_interval(values, LEVEL), mean_interval(values, 0.9995)
    assert strict.low < own.low < own.high < strict.high


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(3).exponential(1.0, 100)
    assert mean_interval(values, LEVEL) == mean_interval(values, LEVEL)


def test_values_that_are_all_the_same_leave_no_doubt():
    interval = mean_interval(np.full(20, 0.7), LEVEL)
    assert (interval.low, interval.high) == pytest.approx((0.7, 0.7))


def test_one_value_among_equals_leaves_the_far_side_open():
    values = np.zeros(50)
    values[0] = 1.0
    interval = mean_interval(values, LEVEL)
    assert interval.high == np.inf, "of a third of the replicates nothing but zeros is drawn"


def test_too_few_samples_are_refused():
    with pytest.raises(StatisticsError, match="9 samples are too few for an interval; measure on at least 10"):
        mean_interval(np.arange(9.0), LEVEL)
