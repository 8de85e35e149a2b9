"""Intervals by betting hold whatever the distribution, and shrink with the spread of the values."""

import numpy as np
import pytest

from quantbench.errors import StatisticsError
from quantbench.stats.bounded_mean import betting_interval
from quantbench.stats.proportions import wilson_interval

RANDOM = np.random.default_rng(0)


def test_it_holds_the_mean_of_rare_changes_that_a_resample_would_miss():
    misses = 0
    for _ in range(200):
        changed = np.where(RANDOM.random(200) < 0.01, 1.0, 0.0)
        found = betting_interval(changed, -1, 1, 0.95)
        misses += not found.low <= 0.01 <= found.high
    assert misses <= 10


def test_it_mirrors_and_follows_the_scale():
    values = RANDOM.beta(2, 5, 300)
    found, mirrored, scaled = (
        betting_interval(values, 0, 1, 0.95), betting_interval(-values, -1, 0, 0.95),
        betting_interval(10 * values + 3, 3, 13, 0.95),
    )  # fmt: skip
    assert (-mirrored.high, -mirrored.low) == pytest.approx((found.low, found.high), abs=1e-6)
    assert ((scaled.low - 3) / 10, (scaled.high - 3) / 10) == pytest.approx((found.low, found.high), abs=1e-6)


def test_of_values_of_0_and_1_it_is_little_wider_than_wilsons():
    ones = np.arange(1_000) < 300
    found, score = betting_interval(ones.astype(float), 0, 1, 0.95), wilson_interval(300, 1_000)
    assert found.low < score.low < score.high < found.high
    assert (found.high - found.low) / (score.high - score.low) < 1.5


def test_values_close_together_tell_more():
    wide, close = (betting_interval(0.5 + spread * RANDOM.uniform(-1, 1, 500), 0, 1, 0.95) for spread in (0.5, 0.05))
    assert close.high - close.low < 0.4 * (wide.high - wide.low)


def test_values_that_are_all_at_a_limit_leave_no_more_than_a_few_in_n():
    found = betting_interval(np.zeros(1_000), 0, 1, 0.95)
    assert (found.low, found.high) == (0.0, pytest.approx(0.005, abs=0.002))


@pytest.mark.parametrize(
    ("values", "low", "high", "words"),
    [([], 0, 1, "no value"), ([0.5, 1.5], 0, 1, "from 0.5 to 1.5 are not within 0 to 1"), ([0.0], 0, 0, "not within")],
)
def test_values_that_are_not_within_their_limits_are_refused(values, low, high, words):
    with pytest.raises(StatisticsError, match=words):
        betting_interval(np.array(values), low, high, 0.95)
