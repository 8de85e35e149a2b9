"""Design effects: one of independent samples, the size of a cluster where all of it is the same."""

import numpy as np
import pytest

from quantbench.stats.design_effect import design_effect

RANDOM = np.random.default_rng(0)


def test_clusters_that_tell_nothing_have_an_effect_of_one():
    values = RANDOM.normal(size=20_000)
    assert design_effect(values, np.arange(20_000) // 10) == pytest.approx(1.0, abs=0.05)


def test_samples_that_are_all_the_same_in_a_cluster_count_once():
    values = np.repeat(RANDOM.normal(size=2_000), 10)
    assert design_effect(values, np.arange(20_000) // 10) == pytest.approx(10, rel=0.01)


def test_it_is_one_plus_the_correlation_within_times_one_less_than_the_size():
    size, rho = 20, 0.1
    together, own = np.repeat(RANDOM.normal(size=2_000), size), RANDOM.normal(size=40_000)
    values = rho**0.5 * together + (1 - rho) ** 0.5 * own
    assert design_effect(values, np.arange(40_000) // size) == pytest.approx(1 + (size - 1) * rho, rel=0.1)


@pytest.mark.parametrize(("values", "clusters"), [(np.zeros(5), np.arange(5)), (np.arange(4.0), np.zeros(4)), ([], [])])
def test_there_is_none_where_nothing_varies_or_all_is_one_cluster(values, clusters):
    assert design_effect(np.array(values, float), np.array(clusters, int)) is None
