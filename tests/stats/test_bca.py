"""BCa intervals: equal to scipy's on a mean, wider over clusters, and none where resamples tell none."""

import numpy as np
import pytest
from scipy import stats

from quantbench.errors import StatisticsError
from quantbench.stats.bca import bca_intervals

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.exponential(size=150)


def mean(values):
    return lambda weights: (weights @ values / weights.sum(axis=1))[:, None]


def interval(figures, n, level=0.95, **given):
    (found,) = bca_intervals(figures, n, [level], **given)
    return found


def test_it_agrees_with_scipy_on_a_skewed_mean():
    theirs = stats.bootstrap((VALUES,), np.mean, method="BCa", n_resamples=9_999, random_state=1).confidence_interval
    found = interval(mean(VALUES), len(VALUES))
    assert (found.intervals[0].low, found.intervals[0].high) == pytest.approx(tuple(theirs), rel=0.02)
    assert found.error == pytest.approx(VALUES.std(ddof=1) / np.sqrt(len(VALUES)), rel=0.05)
    assert found.estimate == pytest.approx(VALUES.mean())


def test_it_agrees_with_scipy_on_a_variance_where_the_correction_is_large():
    def variances(weights):
        means = weights @ VALUES / weights.sum(axis=1)
        return (weights @ VALUES**2 / weights.sum(axis=1) - means**2)[:, None]

    theirs = stats.bootstrap((VALUES,), np.var, method="BCa", n_resamples=9_999, random_state=1).confidence_interval
    found = interval(variances, len(VALUES)).intervals[0]
    assert (found.low, found.high) == pytest.approx(tuple(theirs), rel=0.05)


def test_samples_that_come_in_clusters_tell_less():
    clusters = np.repeat(np.arange(30), 5)
    together = np.repeat(RANDOM.normal(size=30), 5)
    alone = interval(mean(together), 150).intervals[0]
    wide = interval(mean(together), 150, clusters=clusters).intervals[0]
    assert (wide.high - wide.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(5), rel=0.15)


def test_names_of_clusters_do_not_matter():
    clusters = np.repeat([7, -3, 1_000_000, *range(20, 40)], 5)
    values = RANDOM.normal(size=115)
    again = np.repeat(np.unique(clusters, return_inverse=True)[1].reshape(-1, 5)[:, 0], 5)
    assert interval(mean(values), 115, clusters=clusters) == interval(mean(values), 115, clusters=again)


def test_a_higher_level_is_wider_and_of_the_same_resamples():
    (found,) = bca_intervals(mean(VALUES), len(VALUES), [0.95, 0.999])
    own, strict = found.intervals
    assert strict.low < own.low < found.estimate < own.high < strict.high


def test_the_same_value_in_every_resample_is_certain():
    found = interval(lambda weights: np.zeros((len(weights), 1)), 20)
    assert (found.intervals[0].low, found.intervals[0].high, found.error) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(lambda weights: np.where(weights[:, :1] == 0, np.nan, 1.0), id="undefined without one sample"),
        pytest.param(lambda weights: 1.0 * (weights.max(axis=1, keepdims=True) > 1), id="beyond its own resamples"),
    ],
)
def test_resamples_without_a_figure_or_all_on_one_side_tell_no_interval(odd):
    assert interval(odd, 50).intervals == (None,)


def test_few_samples_or_clusters_are_refused():
    with pytest.raises(StatisticsError, match="9 samples are too few for an interval; measure on at least 10"):
        interval(mean(np.arange(9.0)), 9)
    with pytest.raises(StatisticsError, match="2 clusters are too few"):
        interval(mean(VALUES), 150, clusters=np.arange(150) % 2)
    with pytest.raises(StatisticsError, match=r"write 95 % as 0\.95"):
        interval(mean(VALUES), 150, level=95)
