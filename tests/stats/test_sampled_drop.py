"""Samples in the order in which they decide, and predictions that decide that order and nothing else."""

import numpy as np
import pytest

from quantbench.stats.flips import LEAST, FlipModel
from quantbench.stats.sampled_drop import SampledDrop, ToDecide, ToEstimate, log_odds

N = 500
NOTHING = (np.zeros(0, np.int64), np.zeros(0))


def population(lost=40, gained=10, seed=0):
    """Margins, correctness and changes: the narrower the margin the likelier a change."""
    random = np.random.default_rng(seed)
    correct = np.arange(N) < 0.8 * N
    margin = np.where(correct, 1.0, -1.0) * (np.where(correct, np.arange(N), np.arange(N) - 0.8 * N) + 1.0)
    changes = np.zeros(N)
    changes[random.choice(100, lost, replace=False)] = 1.0
    changes[400 + random.choice(50, gained, replace=False)] = -1.0
    return margin.astype(np.float32), correct, changes


def looked_at(sample, changes, m):
    while m > 0 and len(ids := sample.next(min(m, 20))):
        sample.add(changes[ids])
        m -= len(ids)


@pytest.mark.parametrize("aim", [ToDecide(20.0, 5.0), ToEstimate(100, 5.0)])
def test_every_sample_comes_once_and_at_the_end_all_is_known(aim):
    margin, correct, changes = population()
    sample = SampledDrop(correct, FlipModel(margin, correct).probabilities(), NOTHING, aim, np.random.default_rng(0))
    looked_at(sample, changes, N)
    assert sorted(sample.ids.tolist()) == list(range(N))
    assert sample.seen == N
    assert sample.interval(0.05) == (30.0, 30.0)
    assert sample.estimate() == 30.0
    assert sample.log_wealth_above(29.0) == sample.log_wealth_below(31.0) == np.inf


def test_what_is_known_before_is_counted_and_not_looked_at_again():
    margin, correct, changes = population()
    known = np.arange(0, N, 3)
    sample = SampledDrop(
        correct, FlipModel(margin, correct).probabilities(), (known, changes[known]), ToDecide(20.0, 5.0),
        np.random.default_rng(0),
    )  # fmt: skip
    assert not set(sample.order) & set(known)
    assert sample.seen == len(known)
    looked_at(sample, changes, N)
    assert sample.interval(0.05) == (30.0, 30.0)


def test_the_likeliest_are_taken_whole_the_fewer_the_farther_the_bound():
    probabilities = np.sort(np.r_[np.full(50, 0.5), np.full(450, 0.002)])[::-1]
    near, far = (ToDecide(distance, 6.0).plan(probabilities)[0] for distance in (10.0, 300.0))
    assert near == 50
    assert far == 0


def test_a_budget_is_divided_so_that_the_estimate_is_narrowest():
    probabilities = np.r_[np.full(50, 0.5), np.full(450, 0.002)]
    whole, distance = ToEstimate(100, 6.0).plan(probabilities)
    assert whole == 50
    # All of the mean square that is left, told by the draws that are left.
    assert distance == pytest.approx(np.sqrt(12 * 450**2 * 0.002 / 50))


@pytest.mark.parametrize("seen", [10, 60, 150])
def test_the_drop_is_within_its_interval_while_some_are_still_to_be_taken_whole(seen):
    margin, correct, changes = population()
    held = []
    for seed in range(40):
        probabilities = FlipModel(margin, correct).probabilities()
        sample = SampledDrop(correct, probabilities, NOTHING, ToEstimate(100, 5.0), np.random.default_rng(seed))
        looked_at(sample, changes, seen)
        low, high = sample.interval(0.2)
        held.append(low <= 30 <= high)
        assert low <= sample.estimate() <= high
    assert np.mean(held) >= 0.8


def test_what_is_true_is_not_rejected_while_those_taken_whole_are_still_to_be_seen():
    correct = np.arange(120) < 60
    probabilities = np.where(np.arange(120) % 60 < 50, 0.5, 0.002)
    for changed in (0, 60):
        changes = np.where(
            (np.arange(120) >= changed) & (np.arange(120) < changed + 50), 1.0 if changed == 0 else -1.0, 0.0
        )
        sample = SampledDrop(correct, probabilities, NOTHING, ToDecide(10.0, 6.0), np.random.default_rng(0))
        looked_at(sample, changes, 20)
        assert sample.log_wealth_above(changes.sum()) == sample.log_wealth_below(changes.sum()) == 0.0
        low, high = sample.interval(0.05)
        assert low <= changes.sum() <= high


def test_a_claim_far_from_the_truth_is_rejected_after_a_part_of_the_samples():
    margin, correct, changes = population(lost=90)
    sample = SampledDrop(
        correct, FlipModel(margin, correct).probabilities(), NOTHING, ToDecide(60.0, log_odds(0.01)),
        np.random.default_rng(0),
    )  # fmt: skip
    looked_at(sample, changes, N // 2)
    assert sample.log_wealth_above(10.0) > log_odds(0.01) > sample.log_wealth_above(79.0)
    assert sample.log_wealth_below(150.0) > log_odds(0.01)


def test_before_anything_is_seen_the_narrowest_margins_are_the_likeliest_to_change():
    margin, correct, _ = population()
    likely = FlipModel(margin, correct).probabilities()
    assert likely[0] > likely[100] > likely[399] >= LEAST
    assert likely[400] > likely[499]


def test_rates_of_margins_are_learned_from_all_samples_and_a_samples_own_history_counts():
    margin, correct, _ = population()
    model = FlipModel(margin, correct)
    before = model.probabilities()
    seen = np.arange(200)
    for _ in range(10):
        model.observe(seen, seen == 150)
    after = model.probabilities()
    assert after[150] > 0.5
    # Its neighbours share its bin, and the narrowest margins were seen not to change at all.
    assert before[152] < after[152] < after[150]
    assert after[0] < 0.1 * before[0]
    # What was not looked at is as before.
    assert after[300] == before[300]


def test_a_configuration_that_changes_more_is_predicted_to():
    margin, correct, _ = population()
    model, narrow = FlipModel(margin, correct), np.arange(50)
    model.observe(narrow, narrow % 10 == 0)
    assert model.ratio(narrow, narrow % 10 == 0) == pytest.approx(1, abs=0.3)
    assert model.ratio(narrow, narrow % 2 == 0) > 1.5
    assert model.probabilities(0.5)[0] == pytest.approx(0.5 * model.probabilities()[0])
    assert model.probabilities(1e6).max() < 1


def test_a_split_in_which_everything_is_right_has_predictions():
    model = FlipModel(np.arange(1, 31, dtype=np.float32), np.ones(30, np.bool_))
    assert np.isfinite(model.probabilities()).all()
