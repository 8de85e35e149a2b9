"""Bets on a mean, chunk by chunk in random order: seldom wrong whenever one stops, of a set and what it stands for."""

from itertools import permutations

import numpy as np
import pytest

from quantbench.errors import StatisticsError
from quantbench.stats.early_verdict import SHARE_OF_LOOKS, Side, level_of_last, risk_of_looks
from quantbench.stats.sampled_mean import MeanBets, MeanSequence, chunk_of

CHANGES = np.array([1.0, -1.0, 0.0])
RISK = 0.005


def of_population(n, chunk, bound, shares, trials, seed=0):
    """Log of the wealth of both bets, of sets drawn from a population with these shares of losses and gains."""
    random, bets = np.random.default_rng(seed), MeanBets(np.full(trials, bound), n, (-1.0, 1.0), abs(bound))
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        bets.add(CHANGES, random.multinomial(size, [*shares, 1 - sum(shares)], trials).astype(float))
    return bets


def of_set(n, chunk, bound, counts, trials, seed=0):
    """The same of one set in many orders."""
    random, bets = np.random.default_rng(seed), MeanBets(np.full(trials, bound), n, (-1.0, 1.0), abs(bound))
    left = np.tile(np.array(counts), (trials, 1))
    for start in range(0, n, chunk):
        drawn = np.stack([random.multivariate_hypergeometric(row, min(chunk, n - start)) for row in left])
        left = left - drawn
        bets.add(CHANGES, drawn.astype(float))
    return bets


def changes(lost, gained, n, seed=0):
    """A set with so many losses and gains, in random order."""
    values = np.r_[np.ones(lost), -np.ones(gained), np.zeros(n - lost - gained)]
    return np.random.default_rng(seed).permutation(values)


def looked_at(sequence, values, chunk=256):
    for start in range(0, len(values), chunk):
        sequence.add(values[start : start + chunk])
        if sequence.side is not Side.OPEN:
            break
    return sequence


@pytest.mark.parametrize(("lost", "gained"), [(0.015, 0.005), (0.01, 0.0), (0.06, 0.05)])
def test_a_population_at_the_bound_is_seldom_judged_whenever_one_stops(lost, gained):
    bets = of_population(5_000, 50, 0.01, (lost, gained), 4_000)
    assert (bets.above >= np.log(1 / RISK)).mean() <= RISK + 0.003
    assert (bets.below >= np.log(1 / RISK)).mean() <= RISK + 0.003


def test_a_set_at_the_bound_is_seldom_judged_whenever_one_stops():
    bets = of_set(1_000, 50, 0.01, (20, 10, 970), 1_000)
    assert max((bets.above >= np.log(1 / 0.05)).mean(), (bets.below >= np.log(1 / 0.05)).mean()) <= 0.05


@pytest.mark.parametrize("values", [(1, 0, 0, -1, 0, 0), (1, 1, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1), (-1, -1, 1, 0, 0, 0)])
@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_over_all_orders_of_a_small_set_a_wealth_exceeds_a_number_no_more_often_than_one_in_it(values, chunk):
    orders = np.array(list(permutations(values)), np.float64)
    bets = MeanBets(np.full(len(orders), float(np.mean(values))), len(values), (-1.0, 1.0), 0.3)
    for start in range(0, len(values), chunk):
        part = orders[:, start : start + chunk]
        bets.add(CHANGES, np.stack([(part == value).sum(axis=1) for value in CHANGES], axis=1).astype(float))
    for wealth in (1.2, 1.5, 2.0, 4.0):
        for log_wealth in (bets.above, bets.below):
            assert (log_wealth >= np.log(wealth)).mean() <= 1 / wealth + 1e-12


def test_a_set_of_which_nothing_changes_is_decided_after_few_samples():
    sequence = looked_at(MeanSequence(0.01, 50_000, (-1.0, 1.0), 0.01, (RISK, RISK)), np.zeros(50_000))
    assert (sequence.side, sequence.decided_at) == (Side.AT_MOST, 768)


def test_a_loss_of_twice_the_bound_is_found():
    sequence = looked_at(MeanSequence(0.01, 50_000, (-1.0, 1.0), 0.01, (RISK, RISK)), changes(1_000, 0, 50_000))
    assert sequence.side is Side.ABOVE
    assert sequence.decided_at < 5_000
    low, high = sequence.interval(RISK)
    assert 0.01 < low < sequence.mean < high


def test_the_interval_lies_on_the_side_that_was_decided_and_holds_the_mean_of_the_samples_seen():
    sequence = looked_at(MeanSequence(0.01, 50_000, (-1.0, 1.0), 0.01, (RISK, RISK)), changes(250, 250, 50_000))
    low, high = sequence.interval(RISK)
    assert (sequence.side, high <= 0.01, low <= sequence.mean <= high) == (Side.AT_MOST, True, True)
    assert sequence.decided_at < 7_500


def test_an_interval_of_a_smaller_risk_is_wider():
    sequence = looked_at(MeanSequence(0.5, 4_000, (0.0, 1.0), 0.0, (0.05, 0.05)), np.full(4_000, 0.6))
    wide, narrow = sequence.interval(0.001), sequence.interval(0.05)
    assert wide[0] < narrow[0] <= 0.6 <= narrow[1] < wide[1]


def test_intervals_of_sets_in_random_order_hold_the_mean():
    held = 0
    for seed in range(60):
        values = np.random.default_rng(seed).beta(2, 5, 600)
        sequence = MeanSequence(0.5, len(values), (0.0, 1.0), 0.0, (0.05, 0.05))
        for start in range(0, 300, 60):
            sequence.add(values[start : start + 60])
        low, high = sequence.interval(0.05)
        held += low <= values.mean() <= high and low <= 2 / 7 <= high
    assert held >= 57


def test_a_decision_stands_whatever_follows():
    sequence = MeanSequence(0.01, 50_000, (-1.0, 1.0), 0.01, (RISK, RISK))
    looked_at(sequence, np.zeros(1_024))
    at = sequence.decided_at
    sequence.add(np.ones(1_000))
    assert (sequence.side, sequence.decided_at) == (Side.AT_MOST, at)
    low, high = sequence.interval(RISK)
    assert low <= sequence.mean <= high


@pytest.mark.parametrize(("bound", "side"), [(1.5, Side.AT_MOST), (-1.5, Side.ABOVE)])
def test_a_bound_that_no_mean_reaches_is_decided_at_once(bound, side):
    sequence = MeanSequence(bound, 100, (-1.0, 1.0), abs(bound), (RISK, RISK))
    sequence.add(np.zeros(10))
    assert (sequence.side, sequence.decided_at) == (side, 10)


def test_a_bound_of_zero_is_decided_where_the_set_can_tell():
    sequence = looked_at(MeanSequence(0.0, 50_000, (-1.0, 1.0), 0.0, (RISK, RISK)), changes(600, 200, 50_000))
    assert sequence.side is Side.ABOVE


def test_the_last_interval_and_the_looks_share_the_error():
    spent = 2 * risk_of_looks(0.95)
    assert spent == pytest.approx(SHARE_OF_LOOKS * 0.05)
    assert spent + 1 - level_of_last(0.95) == pytest.approx(0.05)


def test_a_chunk_is_whole_batches():
    assert [chunk_of(total, 64) for total in (100, 20_000, 50_000, 1_000_000)] == [64, 128, 256, 4992]


def test_limits_and_risks_that_are_none_are_refused():
    with pytest.raises(StatisticsError, match="limits 1 and 0 are not in order"):
        MeanSequence(0.5, 10, (1.0, 0.0), 0.0, (RISK, RISK))
    with pytest.raises(StatisticsError, match="risk 0 is not strictly between 0 and 1"):
        MeanSequence(0.5, 10, (0.0, 1.0), 0.0, (0.0, RISK))
