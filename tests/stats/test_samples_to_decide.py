"""How many samples an undecided verdict would need, checked against the interval that decides it."""

from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantbench.errors import StatisticsError
from quantbench.stats.paired import PairedOutcomes, samples_to_decide, tango_interval


def is_decided(n, lost, gained, bound, level):
    interval = tango_interval(PairedOutcomes(n, lost, gained), level)
    return not interval.low <= bound <= interval.high


@settings(deadline=None)
@given(
    n=st.integers(100, 3_000),
    lost=st.integers(0, 50),
    gained=st.integers(0, 50),
    permille=st.integers(-90, 90),
    level=st.sampled_from([0.9, 0.95, 0.99]),
)
@example(n=1_420, lost=32, gained=22, permille=11, level=0.95)
@example(n=300, lost=0, gained=0, permille=5, level=0.95)
def test_so_many_samples_decide_and_fewer_do_not(n, lost, gained, permille, level):
    bound = permille / 1_000
    needed = samples_to_decide(PairedOutcomes(n, lost, gained), bound, level)
    if needed is None:
        assert (lost - gained) / n == bound
        return
    # Whole multiples of the counts keep the rates exactly.
    enough, too_few = ceil(needed / n), (needed - 1) // n
    assert is_decided(n * enough, lost * enough, gained * enough, bound, level)
    if too_few:
        assert not is_decided(n * too_few, lost * too_few, gained * too_few, bound, level)


def test_a_drop_that_is_the_bound_itself_is_never_decided():
    assert samples_to_decide(PairedOutcomes(1_000, 10, 0), 0.01) is None


@pytest.mark.parametrize("bound", [1.0, -1.0, 2.0])
def test_a_bound_that_no_drop_can_pass_is_never_decided(bound):
    assert samples_to_decide(PairedOutcomes(1_000, 10, 0), bound) is None


def test_without_a_change_it_is_the_closed_form():
    # From n >= z^2 (1 - bound) / bound, the limit of Tango's interval for no discordant pair.
    assert samples_to_decide(PairedOutcomes(50, 0, 0), 0.01) == 381


def test_a_level_that_is_no_fraction_is_refused():
    with pytest.raises(StatisticsError, match="confidence level 95"):
        samples_to_decide(PairedOutcomes(10, 1, 0), 0.2, level=95)
