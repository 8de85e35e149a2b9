"""The least drop that a test set could detect is found in as many simulated comparisons as its power says."""

import numpy as np
import pytest

from quantbench.errors import StatisticsError
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.power import error_of, least_change, least_drop, least_shortfall
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.rare_changes import rare_changes_interval

RANDOM = np.random.default_rng(0)


def test_a_drop_of_that_size_is_told_from_none_four_times_in_five():
    n, changed = 1_000, 0.06
    drop = least_drop(PairedOutcomes(n, 35, 25), 0.95)
    lost, gained = (changed + drop) / 2, (changed - drop) / 2
    found = 0
    for _ in range(400):
        counts = RANDOM.multinomial(n, [lost, gained, 1 - changed])
        found += tango_interval(PairedOutcomes(n, int(counts[0]), int(counts[1])), 0.95).low > 0
    assert found / 400 == pytest.approx(0.8, abs=0.06)


def test_it_is_the_formula_of_the_power_of_mcnemars_test():
    # Connor's n for a drop of 2 pp where 6 % change: (1.95996 √0.06 + 0.84162 √(0.06 − 0.02²))² / 0.02².
    n = round((1.959964 * 0.06**0.5 + 0.841621 * (0.06 - 0.0004) ** 0.5) ** 2 / 0.0004)
    assert least_drop(PairedOutcomes(n, round(0.03 * n), round(0.03 * n)), 0.95) == pytest.approx(0.02, rel=0.01)


def test_where_nothing_changed_as_many_losses_are_needed_as_the_drop_takes():
    # Of n samples z² + … ≈ 7.85 losses without a gain.
    assert least_drop(PairedOutcomes(10_000, 0, 0), 0.95) == pytest.approx(7.85e-4, rel=0.01)
    assert least_drop(PairedOutcomes(1, 0, 0), 0.95) == 1.0


def test_of_other_figures_it_is_a_number_of_standard_errors():
    assert least_change(0.5, 0.95) == pytest.approx(0.5 * 2.8016, rel=1e-4)


def test_rare_changes_of_one_size_have_the_score_limits_of_their_count():
    # k + z²/2 + z √(k + z²/4) of 5.
    assert rare_changes_interval(5.0, np.ones(5), 0.95).high == pytest.approx(11.706, abs=1e-3)
    assert rare_changes_interval(5.0, np.ones(5), 0.95).low == pytest.approx(-1.706, abs=1e-3)


def test_no_change_tells_nothing_of_rare_ones():
    with pytest.raises(StatisticsError, match="no sample changed"):
        rare_changes_interval(0.0, np.zeros(0), 0.95)


def test_a_share_that_far_below_a_floor_is_found_four_times_in_five():
    n, floor = 1_000, 0.9
    true = floor - least_shortfall(floor, n, 0.95)
    found = [wilson_interval(int(count), n, 0.95).high < floor for count in RANDOM.binomial(n, true, 1_000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_a_floor_that_no_share_misses_so_surely_has_none():
    assert least_shortfall(0.001, 100, 0.95) is None
    assert least_shortfall(0.0, 100, 0.95) is None
    assert least_shortfall(1.5, 100, 0.95) is None


def test_an_interval_stands_for_a_standard_error():
    assert error_of(-1.959964, 1.959964, 0.95) == pytest.approx(1.0)
