"""Wilson's interval against published values, its borders and its symmetry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.errors import StatisticsError
from quantbench.stats.proportions import wilson_interval

LEVELS = st.floats(min_value=0.5, max_value=0.9999)


@st.composite
def proportions(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(min_value=1, max_value=100_000))
    return draw(st.integers(min_value=0, max_value=n)), n


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # R. G. Newcombe, Statist. Med. 17 (1998) 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_reproduces_the_examples_of_newcombe(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert interval.level == 0.95


@given(proportions(), LEVELS)
def test_wilson_holds_the_estimate_and_stays_between_zero_and_one(counts: tuple[int, int], level: float) -> None:
    successes, n = counts
    interval = wilson_interval(successes, n, level)
    assert 0.0 <= interval.low <= successes / n <= interval.high <= 1.0
    assert interval.low < interval.high


@given(proportions(), LEVELS)
def test_wilson_of_the_failures_mirrors_wilson_of_the_successes(counts: tuple[int, int], level: float) -> None:
    successes, n = counts
    interval, mirrored = wilson_interval(successes, n, level), wilson_interval(n - successes, n, level)
    assert (1.0 - mirrored.high, 1.0 - mirrored.low) == pytest.approx((interval.low, interval.high), abs=1e-12)


@given(st.integers(min_value=1, max_value=100_000), LEVELS)
def test_wilson_touches_the_border_exactly_when_all_or_none_succeed(n: int, level: float) -> None:
    assert wilson_interval(0, n, level).low == 0.0
    assert wilson_interval(n, n, level).high == 1.0


@pytest.mark.parametrize(
    ("successes", "n", "message"),
    [
        (0, 0, "a proportion needs at least one sample, but n is 0"),
        (-1, 10, "successes must be between 0 and n = 10, but is -1"),
        (11, 10, "successes must be between 0 and n = 10, but is 11"),
    ],
)
def test_wilson_refuses_impossible_counts(successes: int, n: int, message: str) -> None:
    with pytest.raises(StatisticsError) as error:
        wilson_interval(successes, n)
    assert str(error.value) == message


def test_wilson_refuses_a_level_in_percent() -> None:
    with pytest.raises(StatisticsError, match="confidence level 95 is not strictly between 0 and 1"):
        wilson_interval(5, 10, level=95)
