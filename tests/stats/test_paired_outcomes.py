"""Counting the samples that changed between two evaluations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantbench.errors import StatisticsError
from quantbench.stats.paired import PairedOutcomes


def test_outcomes_count_the_samples_that_changed_in_each_direction() -> None:
    before = np.array([True, True, True, False, False, False, True])
    after = np.array([True, False, False, True, False, False, False])
    outcomes = PairedOutcomes.from_correct(before, after)
    assert outcomes == PairedOutcomes(n=7, lost=3, gained=1)
    assert outcomes.drop == pytest.approx(2 / 7)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_the_drop_is_the_difference_of_the_two_accuracies(pairs: list[tuple[bool, bool]]) -> None:
    before, after = (np.array(side, dtype=np.bool_) for side in zip(*pairs, strict=True))
    drop = PairedOutcomes.from_correct(before, after).drop
    assert drop == pytest.approx(float(before.mean() - after.mean()), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "lost", "gained", "message"),
    [
        (0, 0, 0, "paired outcomes need at least one sample, but n is 0"),
        (5, -1, 2, "counts of samples cannot be negative: lost is -1, gained is 2"),
        (5, 1, -2, "counts of samples cannot be negative: lost is 1, gained is -2"),
        (5, 3, 3, "lost (3) and gained (3) together exceed n = 5; a sample can change only once"),
    ],
)
def test_outcomes_refuse_impossible_counts(n: int, lost: int, gained: int, message: str) -> None:
    with pytest.raises(StatisticsError) as error:
        PairedOutcomes(n, lost, gained)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            np.ones(3, np.bool_),
            np.ones(4, np.bool_),
            "'before' has 3 samples and 'after' 4; evaluate both models on the same samples in the same order",
        ),
        (
            np.ones(0, np.bool_),
            np.ones(0, np.bool_),
            "'before' and 'after' are empty; evaluate at least one sample",
        ),
        (
            np.ones((3, 1), np.bool_),
            np.ones(3, np.bool_),
            "'before' must hold one boolean per sample, shape (n,), but has dtype bool and shape (3, 1)",
        ),
        (
            np.ones(3, np.bool_),
            np.ones(3, np.float32),
            "'after' must hold one boolean per sample, shape (n,), but has dtype float32 and shape (3,)",
        ),
    ],
)
def test_outcomes_refuse_evaluations_that_are_not_pairs(
    before: NDArray[np.bool_], after: NDArray[np.bool_], message: str
) -> None:
    with pytest.raises(StatisticsError) as error:
        PairedOutcomes.from_correct(before, after)
    assert str(error.value) == message
