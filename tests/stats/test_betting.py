"""Bets on the total of a finite population: exact in small ones, at the stated risk in large ones."""

from itertools import permutations
from math import exp, inf, log

import numpy as np
import pytest

from quantbench.errors import StatisticsError
from quantbench.stats.betting import (
    estimated_total,
    log_wealth_against_at_least,
    log_wealth_against_at_most,
    total_interval,
)
from quantbench.stats.draws import Draws, Population, weighted_order

DISTANCES = np.array([1.0, 2.0, 4.0])
# Five items, two of which were wrong before and may be gained.
VALUES = np.array([1.0, 0.0, 0.0, 0.0, -1.0])
LOW, HIGH = np.array([0.0, 0, 0, -1, -1]), np.array([1.0, 1, 1, 0, 0])
SMALL = Population(np.array([2.0, 1.0, 0.5, 1.0, 3.0]), LOW, HIGH, np.array([0.4, 0.2, 0.1, 0.2, 0.3]))


def orders(population):
    """Every order of the items and its probability."""
    for order in permutations(range(len(population.weights))):
        left, chance = population.weights.sum(), 1.0
        for item in order:
            chance *= population.weights[item] / left
            left -= population.weights[item]
        yield np.array(order), chance


def draws(order, t, population=SMALL, values=VALUES):
    return Draws.of(order, population, values[order][:t])


def test_chances_and_extremes_are_those_of_the_items_left():
    order = np.array([4, 0, 2, 1, 3])
    found = draws(order, 4)
    for t in range(4):
        left = order[t:]
        chances = SMALL.weights[left] / SMALL.weights[left].sum()
        assert found.chances[t] == pytest.approx(chances[0])
        assert found.lowest[t] == pytest.approx(min(0, (LOW[left] / chances).min()))
        assert found.highest[t] == pytest.approx(max(0, (HIGH[left] / chances).max()))
        assert found.squares[t] == pytest.approx((SMALL.expected_squares[left] / chances).sum())
    assert found.floor.tolist() == [-2, -1, -1, -1, -1]
    assert found.ceiling.tolist() == [3, 3, 2, 1, 0]


def test_the_guess_of_every_draw_is_unbiased():
    guesses = np.zeros(5)
    for order, chance in orders(SMALL):
        seen = np.concatenate([[0.0], np.cumsum(VALUES[order])[:-1]])
        guesses += chance * (seen + VALUES[order] / draws(order, 5).chances)
    assert guesses == pytest.approx(np.full(5, VALUES.sum()))


@pytest.mark.parametrize("alpha", [0.5, 0.2, 0.1, 0.05])
@pytest.mark.parametrize("against", [log_wealth_against_at_most, log_wealth_against_at_least])
@pytest.mark.parametrize("values", [VALUES, np.array([1.0, 1, 0, 0, -1]), np.array([0.0, 0, 0, -1, -1])])
def test_the_chance_to_ever_reject_what_is_true_is_at_most_the_risk_by_counting_every_order(against, values, alpha):
    wrong = sum(
        chance
        for order, chance in orders(SMALL)
        if against(draws(order, 5, values=values), values.sum(), DISTANCES) >= log(1 / alpha)
    )
    assert wrong <= alpha + 1e-12


def test_chances_that_are_not_those_of_the_draws_break_the_promise():
    # So that the test above is seen to be able to fail: items are drawn by their weights and taken for drawn alike.
    values, weights = np.array([1.0, 0, 0, 0, 0]), np.array([50.0, 1, 1, 1, 1])
    alike, skewed = (Population(each, np.zeros(5), np.ones(5), np.full(5, 0.2)) for each in (np.ones(5), weights))
    wrong = sum(
        chance
        for order, chance in orders(skewed)
        if log_wealth_against_at_most(draws(order, 5, alike, values), 1.0, DISTANCES) >= log(2)
    )
    assert wrong > 0.5


def test_what_the_items_seen_contradict_is_rejected_for_certain():
    order = np.array([0, 1, 2, 3, 4])
    population = Population(np.ones(5), np.zeros(5), np.ones(5), np.full(5, 0.5))
    found = draws(order, 2, population, np.array([1.0, 1, 0, 0, 0]))
    assert log_wealth_against_at_most(found, 1.0, DISTANCES) == inf
    assert log_wealth_against_at_most(found, 2.0, DISTANCES) < inf
    assert log_wealth_against_at_least(found, 6.0, DISTANCES) == inf


def test_before_the_first_draw_nothing_is_known():
    found = draws(np.arange(5), 0)
    assert log_wealth_against_at_most(found, 0.0, DISTANCES) == 0.0
    assert total_interval(found, 0.05, DISTANCES) == (-2.0, 3.0)
    assert estimated_total(found, predicted_rest=0.7, uncertainty=2.0) == 0.7


def test_when_all_are_seen_the_total_is_known():
    found = draws(np.array([3, 1, 4, 0, 2]), 5)
    assert total_interval(found, 0.05, DISTANCES) == (0.0, 0.0)
    assert estimated_total(found, predicted_rest=0.0, uncertainty=0.0) == 0.0


def test_the_estimate_moves_from_the_prediction_to_the_draws_as_they_become_many():
    looks, total = next(simulated(60, 20, looks=(2, 50, 600)))
    trusted = [estimated_total(each, -100.0, 60.0) for each in looks]
    # Two draws hardly count against a prediction; many do, however wrong it is.
    assert abs(trusted[0] + 100) < 40
    assert abs(trusted[2] - total) < 15
    certain = [estimated_total(each, -100.0, 1e-9) for each in looks]
    assert certain[0] == pytest.approx(-100 + looks[0].values.sum())


def test_every_order_comes_as_often_as_its_chance():
    random = np.random.default_rng(0)
    weights = np.array([3.0, 1.0, 2.0])
    first = np.bincount([weighted_order(weights, random)[0] for _ in range(6000)], minlength=3) / 6000
    assert first == pytest.approx(weights / 6, abs=0.02)


@pytest.mark.parametrize("weight", [0.0, -1.0, np.inf, np.nan])
def test_a_weight_that_is_no_chance_is_refused(weight):
    with pytest.raises(StatisticsError, match="weights of items to be drawn must be positive and finite"):
        weighted_order(np.array([1.0, weight]), np.random.default_rng(0))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 5.0])
def test_a_risk_that_is_no_probability_is_refused(alpha):
    with pytest.raises(StatisticsError, match=f"risk {alpha:g} is not strictly between 0 and 1"):
        total_interval(draws(np.arange(5), 2), alpha, DISTANCES)


def simulated(lost, gained, n=2000, seed=0, series=60, looks=(100, 200, 400), predicted=True):
    """Draws of many series over one population, at each look: yields them with the total."""
    random = np.random.default_rng(seed)
    correct = np.arange(n) < 0.9 * n
    values = np.where(correct, np.arange(n) < lost, 0) - np.where(correct, 0, np.arange(n) >= n - gained).astype(float)
    likely = np.where(np.abs(values) > 0, 0.3, 0.02) if predicted else np.full(n, 0.05)
    population = Population(np.sqrt(likely), np.where(correct, 0.0, -1.0), np.where(correct, 1.0, 0.0), likely)
    for _ in range(series):
        order = weighted_order(population.weights, random)
        yield [Draws.of(order, population, values[order][:t]) for t in looks], values.sum()


@pytest.mark.parametrize(("lost", "gained"), [(60, 20), (20, 20), (200, 5)])
def test_intervals_hold_the_total_at_all_looks_as_often_as_promised(lost, gained):
    held = [
        all(
            low <= total <= high
            for low, high in (total_interval(each, 0.1, np.array([10.0, 20, 40])) for each in looks)
        )
        for looks, total in simulated(lost, gained)
    ]
    # 0.9 less three standard errors.
    assert np.mean(held) >= 0.9 - 3 * np.sqrt(0.09 / len(held))


def test_good_predictions_make_intervals_narrow_and_bad_ones_only_wide():
    def width(predicted):
        looks = next(simulated(60, 20, predicted=predicted))[0]
        low, high = total_interval(looks[-1], 0.1, np.array([10.0, 20, 40]))
        return high - low

    assert width(True) < 0.5 * width(False) < 200


def test_a_total_far_from_the_bound_is_told_from_it_by_few_draws():
    told = [
        log_wealth_against_at_most(looks[1], 0.0, np.array([40.0, 80])) >= log(100) for looks, _ in simulated(120, 0)
    ]
    assert np.mean(told) > 0.9


def test_wealth_never_ends_at_zero():
    population = Population(np.ones(50), np.zeros(50), np.ones(50), np.full(50, 0.5))
    found = Draws.of(np.arange(50), population, np.zeros(49))
    assert exp(log_wealth_against_at_most(found, 10.0, np.array([1e6]))) >= 1.0
