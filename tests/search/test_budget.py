"""Budgets and fronts over measured sensitivities, held to trying all 2^k configurations."""

from itertools import product

import numpy as np
import pytest
from made_searches import layer, sensitivity

from quantbench.errors import QuantizationError
from quantbench.records.costs import Measure, cost, shown
from quantbench.search.budget import Additive, additive_front, within_budget

N = 2_000


def layers_of(random, k):
    return [
        layer(f"conv{i}", macs=int(random.randint(1, 10**7)), weights=int(random.randint(1, 10**5)),
              inputs=int(random.randint(1, 10**5)))
        for i in range(k)
    ]  # fmt: skip


def model_of(seed, k=8, high=4, low=2, failed=(), lost=60):
    """Random layers whose drops collide often, some of them negative."""
    random = np.random.RandomState(seed)
    found = [
        sensitivity(f"conv{i}", i, N, int(random.randint(0, lost)), int(random.randint(0, lost // 2)),
                    failed="logits are NaN" if i in failed else "")
        for i in range(k)
    ]  # fmt: skip
    return Additive.of(layers_of(random, k), found, high, low)


def everything(model, measure):
    """(exact cost, drop in samples, widths) of each of the 2^k configurations that may be."""
    found = []
    for chosen in product([False, True], repeat=len(model.layers)):
        if all(may or not low for low, may in zip(chosen, model.may_be_low, strict=True)):
            bits = tuple(model.low if low else model.high for low in chosen)
            drop = sum(int(d) for d, low in zip(model.drops, chosen, strict=True) if low)
            found.append((cost(model.layers, bits, measure), drop, bits))
    return found


def samples(configuration):
    return round(configuration.drop_pp * N / 100)


@pytest.mark.parametrize("measure", Measure)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("failed", [(), (0, 3)])
def test_the_front_is_what_is_left_of_all_configurations_when_the_dominated_are_dropped(measure, seed, failed):
    model = model_of(seed, failed=failed)
    points = {(c, d) for c, d, _ in everything(model, measure)}
    undominated = {
        (c, d) for c, d in points
        if not any((c2 <= c and d2 < d) or (c2 < c and d2 <= d) for c2, d2 in points)
    }  # fmt: skip
    front = additive_front(model, measure)
    assert [(cost(model.layers, each.bits, measure), samples(each)) for each in front] == sorted(undominated)
    assert len(front) > 1


@pytest.mark.parametrize("measure", Measure)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("high_low", [(4, 2), (32, 8)])
def test_within_every_budget_that_some_configuration_just_meets_none_loses_less(measure, seed, high_low):
    model = model_of(seed, k=5, high=high_low[0], low=high_low[1], lost=12)
    points = everything(model, measure)
    # Configurations of equal cost just meet the same budget.
    for spent, bits in {spent: bits for spent, _, bits in points}.items():
        best = within_budget(model, measure, shown(model.layers, bits, measure))
        own = cost(model.layers, best.bits, measure)
        affordable = [(d, c) for c, d, _ in points if c <= spent]
        assert own <= spent
        assert (samples(best), own) == min(affordable), "the least lost, and the cheapest of those"


def test_a_larger_budget_never_loses_more_on_thirty_layers_of_very_different_size():
    random = np.random.RandomState(1)
    layers = [layer(f"l{i}", macs=int(10 ** random.uniform(3, 9)), weights=1, inputs=1) for i in range(30)]
    found = [sensitivity(f"l{i}", i, 10_000, int(random.randint(0, 300)), 0) for i in range(30)]
    model = Additive.of(layers, found, 8, 2)
    front = additive_front(model, Measure.BIT_OPERATIONS)
    for point in front[:: len(front) // 12]:
        best = within_budget(model, Measure.BIT_OPERATIONS, shown(layers, point.bits, Measure.BIT_OPERATIONS))
        assert best.drop_pp == point.drop_pp, "the program and the front agree"


def test_a_layer_whose_logits_are_not_finite_at_its_low_width_is_never_low():
    model = model_of(0, failed=(2,))
    assert all(each.bits[2] == 4 for each in additive_front(model, Measure.BITS))
    smallest = within_budget(model, Measure.BITS, (4 + 7 * 2) / 8)
    assert smallest.bits == (2, 2, 4, 2, 2, 2, 2, 2)


def test_layers_that_gain_are_low_even_where_the_budget_asks_for_nothing():
    found = [sensitivity("a", 0, N, 0, 7), sensitivity("b", 1, N, 5, 0), sensitivity("c", 2, N, 0, 0)]
    model = Additive.of([layer(name) for name in "abc"], found, 4, 2)
    best = within_budget(model, Measure.BITS, 4)
    assert best.bits == (2, 4, 2), "of two that lose nothing more, the cheaper"
    assert best.drop_pp == pytest.approx(-0.35)


def test_a_budget_below_the_smallest_configuration_says_how_small_that_is():
    model = model_of(0, failed=(2,))
    with pytest.raises(QuantizationError, match=r"2\.20 bits on average cannot be met") as error:
        within_budget(model, Measure.BITS, 2.2)
    assert str(error.value).endswith("the smallest possible, with every layer low that may be, is 2.25 bits on average")


def test_estimates_on_different_samples_are_added_in_percentage_points():
    found = [sensitivity("a", 0, 100, 3, 1), sensitivity("b", 1, 400, 3, 1)]
    model = Additive.of([layer("a"), layer("b")], found, 4, 2)
    (all_low,) = [each for each in additive_front(model, Measure.BITS) if each.bits == (2, 2)]
    assert all_low.drop_pp == pytest.approx(2.0 + 0.5)


def test_costs_are_in_the_units_that_people_read():
    layers = [layer("a", macs=1_000, weights=90, weight_bits=4, inputs=100), layer("b", macs=500, weights=10,
              weight_bits=4, inputs=50)]  # fmt: skip
    assert shown(layers, (4, 2), Measure.BITS) == 3.0
    assert shown(layers, (4, 2), Measure.BYTES) == (90 * 4 + 100 * 4 + 10 * 4 + 50 * 2) / 8
    assert shown(layers, (4, 2), Measure.BIT_OPERATIONS) == 1_000 * 4 * 4 + 500 * 4 * 2


def test_a_layer_left_in_fp32_has_weights_of_32_bits_too():
    layers = [layer("a", macs=10, weights=100, weight_bits=8, inputs=7)]
    assert shown(layers, (32,), Measure.BYTES) == (100 + 7) * 4
    assert shown(layers, (8,), Measure.BYTES) == 100 + 7
    assert shown(layers, (32,), Measure.BIT_OPERATIONS) == 10 * 32 * 32
