"""The exact test on discordant pairs against published p-values, exact fractions and its symmetries."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from quantbench.stats.discordant import p_value_of_change
from quantbench.stats.paired import PairedOutcomes

COUNTS = st.integers(min_value=0, max_value=400)
FEW = st.integers(min_value=0, max_value=60)


def outcomes(lost, gained, unchanged=100):
    return PairedOutcomes(lost + gained + unchanged, lost, gained)


@pytest.mark.parametrize(
    ("n", "lost", "gained", "p_value", "digits"),
    [
        # Airway hyper-responsiveness in 21 children (Bentur et al. 2009), in Fagerland, Lydersen and Laake, BMC Med.
        # Res. Methodol. 13 (2013) 91.
        (21, 1, 7, 0.0703, 5e-5),
        # Complete response before and after consolidation therapy (Cavo et al. 2012): the R package contingencytables,
        # McNemar_exact_cond_test_paired_2x2, in its own test of chapter 8.
        (161, 6, 16, 0.052479, 5e-7),
        # Approval of a president in two surveys, Agresti, Categorical Data Analysis (1990), p. 350; the R package
        # exact2x2, mcnemar.exact.
        (1600, 150, 86, 3.716e-05, 5e-9),
        # Support for a cabinet in January and April; R's binom.test(c(35, 28)).
        (164, 28, 35, 0.45, 5e-4),
    ],
)
def test_the_p_value_of_change_is_the_published_one(n, lost, gained, p_value, digits):
    assert p_value_of_change(PairedOutcomes(n, lost, gained)) == pytest.approx(p_value, abs=digits)


def upper_tail(lost, gained):
    """Probability of at least `lost` heads among `lost + gained` fair coins, as an exact fraction."""
    changed = lost + gained
    return Fraction(sum(comb(changed, heads) for heads in range(lost, changed + 1)), 2**changed)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_the_p_value_of_change_is_twice_the_smaller_tail(lost, gained):
    doubled = 2 * upper_tail(max(lost, gained), min(lost, gained))
    assert p_value_of_change(outcomes(lost, gained)) == pytest.approx(float(min(doubled, 1)), rel=1e-9)


@pytest.mark.parametrize("changed", range(1, 40))
def test_the_p_value_is_that_of_scipys_binomial_test(changed):
    for lost in range(changed + 1):
        pair = outcomes(lost, changed - lost)
        assert p_value_of_change(pair) == pytest.approx(binomtest(lost, changed).pvalue, rel=1e-12)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_a_change_is_as_likely_as_the_same_change_the_other_way(lost, gained):
    assert p_value_of_change(outcomes(lost, gained)) == p_value_of_change(outcomes(gained, lost))


@settings(deadline=None)
@given(FEW, FEW)
def test_moving_the_split_away_from_even_never_weakens_the_evidence_of_change(lost, gained):
    if lost >= gained > 0:
        assert p_value_of_change(outcomes(lost + 1, gained - 1)) < p_value_of_change(outcomes(lost, gained))


@given(st.integers(min_value=1, max_value=10_000))
def test_without_a_discordant_pair_nothing_speaks_against_no_change(n):
    assert p_value_of_change(PairedOutcomes(n, 0, 0)) == 1.0


@settings(deadline=None)
@given(FEW, FEW, st.integers(min_value=0, max_value=10_000))
def test_samples_that_did_not_change_carry_no_information(lost, gained, unchanged):
    few, many = outcomes(lost, gained, unchanged=1), outcomes(lost, gained, unchanged=unchanged + 1)
    assert p_value_of_change(few) == p_value_of_change(many)


def test_the_level_is_kept_whatever_the_number_of_changed_samples():
    # Summed over the null distribution: at most 5 % of all outcomes may have a p-value of at most 5 %.
    for changed in range(1, 60):
        chances = [comb(changed, lost) / 2**changed for lost in range(changed + 1)]
        p_values = [p_value_of_change(outcomes(lost, changed - lost)) for lost in range(changed + 1)]
        assert sum(c for c, p_value in zip(chances, p_values, strict=True) if p_value <= 0.05) <= 0.05


def test_a_million_samples_lost_and_none_gained_is_a_p_value_and_no_overflow():
    assert p_value_of_change(PairedOutcomes(1_000_000, 1_000_000, 0)) == 0.0
