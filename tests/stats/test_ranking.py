"""Kendall's tau as published, and neighbours that are told apart only where all of the intervals hold together."""

from itertools import permutations

import numpy as np
import pytest

from quantbench.errors import StatisticsError
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.ranking import agreement, neighbours

PUBLISHED = (92.8, 86.5, 89.2, 88.4, 90.3, 91.5)


def bits(*shares, n=1_000, seed=0):
    """Correctness of models of these accuracies, alike on most samples."""
    hardness = np.random.RandomState(seed).permutation(n)
    return [hardness < round(share * n) for share in shares]


def discordant_tau(first, second):
    """Concordant minus discordant pairs, over all pairs; for values without ties."""
    n = len(first)
    signs = [np.sign((first[i] - first[j]) * (second[i] - second[j])) for i in range(n) for j in range(i)]
    return sum(signs) / len(signs)


def test_tau_is_the_share_of_concordant_minus_discordant_pairs():
    random = np.random.RandomState(1)
    for _ in range(20):
        other = random.permutation(6).astype(float)
        assert agreement(PUBLISHED, other).tau == pytest.approx(discordant_tau(PUBLISHED, other))


def test_the_same_order_gives_1_and_the_reverse_minus_1_however_the_values_are_spaced():
    assert agreement(PUBLISHED, np.exp(PUBLISHED)).tau == pytest.approx(1)
    assert agreement(PUBLISHED, [-each for each in PUBLISHED]).tau == pytest.approx(-1)


def test_the_p_value_is_the_share_of_all_orders_that_agree_or_disagree_as_much():
    other = (3.0, 1.0, 2.0, 4.0)
    found = agreement((1.0, 2.0, 3.0, 4.0), other)
    taus = [abs(discordant_tau((1, 2, 3, 4), order)) for order in permutations((1, 2, 3, 4))]
    assert found.p_value == pytest.approx(np.mean([tau >= abs(found.tau) - 1e-9 for tau in taus]))
    assert found.n == 4


def test_values_that_are_all_the_same_rank_nothing():
    assert agreement(PUBLISHED, (1.0,) * 6).tau is None
    assert agreement(PUBLISHED, (1.0,) * 6).p_value is None


@pytest.mark.parametrize(("first", "second"), [((1.0,), (2.0,)), ((1.0, 2.0), (1.0, 2.0, 3.0)), ((), ())])
def test_one_thing_or_unequal_numbers_of_them_are_no_ranking(first, second):
    with pytest.raises(StatisticsError, match="a ranking needs two values or more of each"):
        agreement(first, second)


def test_neighbours_are_those_of_the_ranking_that_is_given_highest_first():
    found = neighbours(bits(0.8, 0.9, 0.7), ranked_by=(5.0, 1.0, 3.0))
    assert [(each.upper, each.lower) for each in found] == [(0, 2), (2, 1)]
    assert [each.difference for each in found] == pytest.approx([0.1, -0.2])
    assert [each.separated for each in found] == [True, True], "in whichever direction"


def test_without_a_ranking_from_elsewhere_the_accuracies_rank_themselves():
    found = neighbours(bits(0.8, 0.9, 0.7))
    assert [(each.upper, each.lower) for each in found] == [(1, 0), (0, 2)]


def test_the_level_is_shared_by_the_pairs_that_could_have_been_compared():
    models = bits(0.8, 0.9, 0.7, 0.6)
    given, own = neighbours(models, ranked_by=(3, 4, 2, 1)), neighbours(models)
    assert [each.interval.level for each in given] == pytest.approx([1 - 0.05 / 3] * 3)
    assert [each.interval.level for each in own] == pytest.approx([1 - 0.05 / 6] * 3)
    outcomes = PairedOutcomes.from_correct(models[1], models[0])
    assert given[0].interval == tango_interval(outcomes, 1 - 0.05 / 3)


def test_a_difference_that_one_interval_would_separate_may_not_be_separated_among_several():
    # Of 1,000 samples 5 were lost and none gained: separated at 95 % alone, not at 99.8 %.
    one = np.ones(1_000, bool)
    other = one.copy()
    other[:5] = False
    assert neighbours([one, other])[0].separated
    assert not neighbours([one, other, *bits(0.5, 0.4, 0.3, 0.2, 0.1)])[0].separated


def test_models_that_are_right_on_the_same_samples_are_never_separated():
    (same,) = neighbours(bits(0.8, 0.8))
    assert not same.separated
    assert (same.upper, same.lower) == (0, 1), "ties keep their order"


@pytest.mark.parametrize(("count", "ranked_by"), [(1, None), (0, None), (3, (1.0, 2.0))])
def test_fewer_than_two_models_or_a_ranking_of_others_is_refused(count, ranked_by):
    with pytest.raises(StatisticsError, match="a ranking needs two things or more, and a value for each"):
        neighbours(bits(*[0.5] * count), ranked_by)
