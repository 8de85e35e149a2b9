"""Tango's interval against published values, an independent oracle and simulation."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import two_sided_z
from quantbench.stats.paired import PairedOutcomes, tango_interval

LEVELS = st.floats(min_value=0.5, max_value=0.9999)


@st.composite
def paired_outcomes(draw: st.DrawFn, max_n: int = 20_000) -> PairedOutcomes:
    n = draw(st.integers(min_value=1, max_value=max_n))
    lost = draw(st.integers(min_value=0, max_value=n))
    return PairedOutcomes(n=n, lost=lost, gained=draw(st.integers(min_value=0, max_value=n - lost)))


@pytest.mark.parametrize(
    ("n", "lost", "gained", "level", "low", "high"),
    [
        # Tango, Statist. Med. 17 (1998) 891-908, section 6.2: sleeping difficulties (Karacan et al. 1976).
        (32, 9, 3, 0.95, -0.027, 0.390),
        # The same, section 6.1: cross-over trial on soft contact lenses. The paper prints one limit.
        (44, 1, 0, 0.90, None, 0.096),
        # Airway hyper-responsiveness before and after stem cell transplantation (Bentur et al. 2009), an
        # example of Fagerland, Lydersen and Laake, Statist. Med. 33 (2014) 2850-2875; limits of R's ratesci.
        (21, 1, 7, 0.95, -0.517, -0.026),
    ],
)
def test_tango_reproduces_published_examples_of_three_decimals(
    n: int, lost: int, gained: int, level: float, low: float | None, high: float
) -> None:
    interval = tango_interval(PairedOutcomes(n, lost, gained), level)
    assert low is None or interval.low == pytest.approx(low, abs=5e-4)
    assert interval.high == pytest.approx(high, abs=5e-4)
    assert interval.level == level


@pytest.mark.parametrize(
    ("n", "lost", "gained", "level", "low", "high"),
    [
        # Complete response before and after consolidation therapy (Cavo et al. 2012): the R package
        # contingencytables, Tango_asymptotic_score_CI_paired_2x2, in its own test of chapter 8.
        (161, 6, 16, 0.95, -0.1240, -0.0054),
        # The R package PropCIs, scoreci.mp(25, 28, 618, 0.90).
        (618, 28, 25, 0.90, -0.0148, 0.0247),
    ],
)
def test_tango_agrees_with_the_implementations_in_r(
    n: int, lost: int, gained: int, level: float, low: float, high: float
) -> None:
    interval = tango_interval(PairedOutcomes(n, lost, gained), level)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def score_statistic(outcomes: PairedOutcomes, drop: float) -> float:
    """Tango's statistic from its definition: the likelihood is maximised numerically, not by formula."""
    n, lost, gained = outcomes.n, outcomes.lost, outcomes.gained

    def minus_log_likelihood(share_gained: float) -> float:
        shares = (share_gained + drop, share_gained, 1.0 - 2.0 * share_gained - drop)
        counts = (lost, gained, n - lost - gained)
        return -sum(c * log(max(s, 1e-300)) for c, s in zip(counts, shares, strict=True) if c)

    bounds = (max(0.0, -drop), (1.0 - drop) / 2.0)
    best = float(minimize_scalar(minus_log_likelihood, bounds=bounds, options={"xatol": 1e-13}).x)
    return (lost - gained - n * drop) / sqrt(n * (2.0 * best + drop - drop * drop))


@given(paired_outcomes(max_n=500), st.floats(min_value=-0.5, max_value=1.5))
def test_tango_holds_exactly_the_drops_that_the_score_test_does_not_reject(
    outcomes: PairedOutcomes, position: float
) -> None:
    interval = tango_interval(outcomes)
    drop = interval.low + position * (interval.high - interval.low)
    # Near a limit, or where the statistic is 0 / 0, the numerical maximum is not sharp enough to tell.
    assume(min(abs(position), abs(position - 1.0), abs(drop - outcomes.drop)) > 1e-3 and -1.0 < drop < 1.0)
    accepted = abs(score_statistic(outcomes, drop)) < two_sided_z(0.95)
    assert accepted == (interval.low < drop < interval.high)


@given(paired_outcomes(), LEVELS)
def test_tango_holds_the_observed_drop_and_stays_between_minus_one_and_one(
    outcomes: PairedOutcomes, level: float
) -> None:
    interval = tango_interval(outcomes, level)
    assert -1.0 <= interval.low <= outcomes.drop <= interval.high <= 1.0
    assert interval.low < interval.high


@given(paired_outcomes(), LEVELS)
def test_tango_mirrors_exactly_when_lost_and_gained_are_swapped(outcomes: PairedOutcomes, level: float) -> None:
    swapped = PairedOutcomes(outcomes.n, lost=outcomes.gained, gained=outcomes.lost)
    interval, mirrored = tango_interval(outcomes, level), tango_interval(swapped, level)
    assert (-mirrored.high, -mirrored.low) == (interval.low, interval.high)


@given(paired_outcomes(), LEVELS, LEVELS)
def test_tango_is_wider_at_a_higher_level(outcomes: PairedOutcomes, level: float, other: float) -> None:
    assume(abs(level - other) > 1e-6)
    narrow, wide = (tango_interval(outcomes, x) for x in sorted((level, other)))
    assert wide.low <= narrow.low < narrow.high <= wide.high


@given(st.integers(min_value=1, max_value=1_000_000), LEVELS)
def test_tango_without_changed_samples_is_not_a_point(n: int, level: float) -> None:
    interval, z = tango_interval(PairedOutcomes(n, lost=0, gained=0), level), two_sided_z(level)
    assert interval.high == pytest.approx(z**2 / (z**2 + n))
    assert interval.low == -interval.high


@given(st.integers(min_value=1, max_value=1_000_000), LEVELS)
def test_tango_touches_the_border_exactly_when_every_sample_is_lost(n: int, level: float) -> None:
    interval, z = tango_interval(PairedOutcomes(n, lost=n, gained=0), level), two_sided_z(level)
    assert interval.high == 1.0
    # Wilson's lower limit for n successes in n, on the scale from -1 to 1.
    assert interval.low == pytest.approx(2.0 * n / (n + z**2) - 1.0, abs=1e-12)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 1)])
def test_tango_of_a_single_sample_is_wide(lost: int, gained: int) -> None:
    interval = tango_interval(PairedOutcomes(1, lost, gained))
    assert interval.high - interval.low > 1.5


def test_tango_moves_continuously_from_no_change_to_one_change_in_a_million() -> None:
    none, one = (tango_interval(PairedOutcomes(1_000_000, lost, 0)) for lost in (0, 1))
    assert none.high < one.high < 2.0 * none.high


def wald_limits(outcomes: PairedOutcomes) -> tuple[float, float]:
    changed = (outcomes.lost + outcomes.gained) / outcomes.n
    half_width = two_sided_z(0.95) * sqrt((changed - outcomes.drop**2) / outcomes.n)
    return outcomes.drop - half_width, outcomes.drop + half_width


def tango_limits(outcomes: PairedOutcomes) -> tuple[float, float]:
    interval = tango_interval(outcomes)
    return interval.low, interval.high


def test_tango_keeps_its_coverage_with_few_changes_where_wald_loses_it() -> None:
    # 1.5 % of 500 samples change and the true drop is one point. Summed over the trinomial distribution, the
    # coverage is 0.950 and 0.928, and the probability to lie wholly below the true drop 0.016 and 0.062.
    n, trials, p_lost, p_gained = 500, 20_000, 0.0125, 0.0025
    rng = np.random.default_rng(20_240_501)
    draws = rng.multinomial(n, [p_lost, p_gained, 1.0 - p_lost - p_gained], size=trials)
    tables, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    outcomes = [PairedOutcomes(n, int(lost), int(gained)) for lost, gained in tables]

    def covered_and_below(limits: NDArray[np.float64]) -> tuple[float, float]:
        true_drop = p_lost - p_gained
        covered = (limits[:, 0] <= true_drop) & (true_drop <= limits[:, 1])
        return float(counts @ covered) / trials, float(counts @ (limits[:, 1] < true_drop)) / trials

    tango_covered, tango_below = covered_and_below(np.array([tango_limits(o) for o in outcomes]))
    wald_covered, wald_below = covered_and_below(np.array([wald_limits(o) for o in outcomes]))
    assert 0.944 < tango_covered < 0.965
    assert tango_below < 0.025
    assert wald_covered < 0.935
    assert wald_below > 0.05


def test_tango_refuses_a_level_in_percent() -> None:
    with pytest.raises(StatisticsError, match="confidence level 95 is not strictly between 0 and 1"):
        tango_interval(PairedOutcomes(10, 1, 1), level=95)
