"""The distribution-free interval of a median ratio: its order statistics, its level, invariances and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from quantbench.errors import StatisticsError
from quantbench.stats.ratios import order_statistic_interval

RATIOS = st.lists(st.floats(min_value=0.1, max_value=10.0), min_size=5, max_size=60).map(np.array)


@settings(max_examples=25, deadline=None)
@given(RATIOS, st.sampled_from([0.25, 2.0, 1024.0]), st.randoms())
def test_it_is_of_the_ratios_in_any_order_and_scales_with_them(ratios, factor, random) -> None:
    interval = order_statistic_interval(ratios)
    shuffled = ratios.tolist()
    random.shuffle(shuffled)
    assert order_statistic_interval(np.array(shuffled)) == interval
    scaled = order_statistic_interval(ratios * factor)
    assert (scaled.low, scaled.high) == (interval.low * factor, interval.high * factor)


def test_it_holds_the_true_median_as_often_as_it_says() -> None:
    # Skewed on purpose, as latencies are. Of 40 ratios at 0.95 it promises 0.9615; the standard error is 0.003.
    rng = np.random.default_rng(11)
    intervals = [order_statistic_interval(rng.lognormal(0.0, 0.2, 40), 0.95) for _ in range(4_000)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in intervals) / len(intervals)
    assert covered == pytest.approx(1 - 2 * binom.cdf(13, 40, 0.5), abs=0.012)
    assert covered > 0.95


@pytest.mark.parametrize(
    ("n", "level", "k"), [(8, 0.99, 1), (12, 0.99, 2), (20, 0.95, 6), (25, 0.95, 8), (40, 0.95, 14)]
)
def test_the_distribution_free_interval_ends_at_the_tabulated_order_statistics(n, level, k):
    ratios = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    interval = order_statistic_interval(ratios, level)
    assert (interval.low, interval.high) == (k, n + 1 - k)


@pytest.mark.parametrize("n", [8, 13, 40, 81, 320])
def test_the_distribution_free_interval_is_the_shortest_that_keeps_its_level(n):
    k = int(order_statistic_interval(np.arange(1.0, n + 1), 0.99).low)
    assert 1 - 2 * binom.cdf(k - 1, n, 0.5) >= 0.99 > 1 - 2 * binom.cdf(k, n, 0.5)


def test_the_distribution_free_interval_of_too_few_ratios_is_their_range():
    interval = order_statistic_interval(np.array([1.0, 5.0, 2.0, 4.0, 3.0]), 0.99)
    assert (interval.low, interval.high) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        (
            [1.0, 1.0, 1.0, 1.0],
            "a median ratio needs one ratio per pair and at least 5 pairs, but the shape is (4,); measure more pairs",
        ),
        (
            [[1.0, 1.0, 1.0, 1.0, 1.0]],
            "a median ratio needs one ratio per pair and at least 5 pairs, but the shape is (1, 5); measure more pairs",
        ),
        (
            [1.0, 1.0, np.nan, np.inf, 1.0],
            "ratios must be finite and positive, but 2 of 5 are not; the first is nan at index 2",
        ),
        (
            [1.0, 0.0, 1.0, 1.0, 1.0],
            "ratios must be finite and positive, but 1 of 5 are not; the first is 0.0 at index 1",
        ),
        (
            [1.0, 1.0, 1.0, 1.0, -2.0],
            "ratios must be finite and positive, but 1 of 5 are not; the first is -2.0 at index 4",
        ),
    ],
)
def test_ratios_that_carry_no_evidence_are_refused(ratios: list[float], message: str) -> None:
    with pytest.raises(StatisticsError) as error:
        order_statistic_interval(np.array(ratios))
    assert str(error.value) == message


def test_a_level_in_percent_is_refused() -> None:
    with pytest.raises(StatisticsError, match="confidence level 99 is not strictly between 0 and 1"):
        order_statistic_interval(np.linspace(1.0, 2.0, 9), level=99)
