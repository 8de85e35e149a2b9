"""The bootstrap interval of a median ratio: exact limits, invariances, coverage and refusals."""

import median_bootstrap
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from median_bootstrap import median_ratio_interval
from numpy.typing import NDArray
from scipy.stats import binom

from quantbench.errors import StatisticsError

RATIOS = st.lists(st.floats(min_value=0.1, max_value=10.0), min_size=5, max_size=60).map(np.array)


def test_the_limits_are_the_order_statistics_that_the_binomial_distribution_gives() -> None:
    # For odd n the bootstrap distribution of a median is known: the median of a resample is at most the k-th
    # ordered ratio when at least (n + 1) / 2 of its n draws are, each with probability k / n.
    n, level = 41, 0.99
    ratios = np.linspace(1.0, 2.0, n)
    at_most = binom.sf((n + 1) / 2 - 1, n, np.arange(1, n + 1) / n)
    low, high = (ratios[np.searchsorted(at_most, tail)] for tail in (0.005, 0.995))
    interval = median_ratio_interval(ratios, level)
    assert (interval.low, interval.high, interval.level) == pytest.approx((low, high, level))


@settings(max_examples=25, deadline=None)
@given(RATIOS, st.floats(min_value=0.5, max_value=0.99))
def test_the_interval_stays_within_the_ratios(ratios: NDArray[np.float64], level: float) -> None:
    interval = median_ratio_interval(ratios, level, resamples=299)
    assert ratios.min() <= interval.low <= interval.high <= ratios.max()


@settings(max_examples=25, deadline=None)
@given(RATIOS, st.integers(min_value=0, max_value=2**32), st.randoms())
def test_the_order_of_the_pairs_does_not_matter(
    ratios: NDArray[np.float64], seed: int, random: np.random.Generator
) -> None:
    shuffled = ratios.tolist()
    random.shuffle(shuffled)
    first = median_ratio_interval(ratios, resamples=299, seed=seed)
    assert median_ratio_interval(np.array(shuffled), resamples=299, seed=seed) == first


@settings(max_examples=25, deadline=None)
@given(RATIOS, st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_every_ratio_scales_the_interval(ratios: NDArray[np.float64], factor: float) -> None:
    interval = median_ratio_interval(ratios, resamples=299)
    scaled = median_ratio_interval(ratios * factor, resamples=299)
    assert (scaled.low, scaled.high) == pytest.approx((interval.low * factor, interval.high * factor))


def test_the_seed_decides_the_interval() -> None:
    ratios = np.random.default_rng(3).lognormal(0.2, 0.1, size=40)
    first = median_ratio_interval(ratios, resamples=299, seed=7)
    assert median_ratio_interval(ratios, resamples=299, seed=7) == first
    assert any(median_ratio_interval(ratios, resamples=299, seed=seed) != first for seed in range(5))


def test_the_ratios_are_left_as_they_were() -> None:
    ratios = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    median_ratio_interval(ratios, resamples=299)
    assert ratios.tolist() == [3.0, 1.0, 2.0, 5.0, 4.0]


def test_resampling_in_small_batches_fills_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(median_bootstrap, "MAX_VALUES_AT_ONCE", 64)
    interval = median_ratio_interval(np.linspace(1.0, 2.0, 21), resamples=999)
    assert 1.0 < interval.low < 1.5 < interval.high < 2.0


def test_with_the_fewest_resamples_a_limit_is_a_resampled_median_and_not_a_value_between_two() -> None:
    ratios = np.random.default_rng(5).lognormal(0.0, 0.2, size=401)
    interval = median_ratio_interval(ratios, level=0.99, resamples=199)
    assert [np.abs(ratios - limit).min() for limit in (interval.low, interval.high)] == pytest.approx([0, 0])


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    # Skewed on purpose, as latencies are. The standard error of the coverage is 0.011 at 400 trials.
    rng = np.random.default_rng(11)
    intervals = [median_ratio_interval(rng.lognormal(0.0, 0.2, 40), 0.95, resamples=399) for _ in range(400)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in intervals) / len(intervals)
    assert 0.91 < covered < 0.985


def test_too_few_resamples_for_the_level_are_refused_and_the_named_number_is_enough() -> None:
    ratios = np.linspace(1.0, 2.0, 9)
    with pytest.raises(StatisticsError) as error:
        median_ratio_interval(ratios, level=0.99, resamples=100)
    assert str(error.value) == "100 resamples are too few for a level of 0.99; use at least 199"
    assert median_ratio_interval(ratios, level=0.99, resamples=199).low >= 1.0


def test_ratios_that_carry_no_evidence_and_a_level_in_percent_are_refused() -> None:
    with pytest.raises(StatisticsError, match="at least 5 pairs"):
        median_ratio_interval(np.ones(4))
    with pytest.raises(StatisticsError, match="confidence level 99 is not strictly between 0 and 1"):
        median_ratio_interval(np.linspace(1.0, 2.0, 9), level=99)
