"""A training whose loss is not finite, or has exploded, ends with the step, the loss and what to try."""

import math

import pytest
import torch
from tiny_training import BATCH, CONFIG, STEPS, different_keys, trained

from quantbench.config.training import TrainingConfig
from quantbench.errors import TrainingError
from quantbench.training.divergence import EXPLODED, RECENT_STEPS, LossWatch

STEPS_OF_AN_EPOCH = 100
LN10 = math.log(10)


def watched(losses, before=(), steps=STEPS_OF_AN_EPOCH):
    """The step, from 1, that ends an epoch with these losses, and why; or None."""
    watch = LossWatch(10, list(before), steps)
    return next(((i, told) for i, loss in enumerate(losses, 1) if (told := watch.problem(loss))), None)


def refusal(split, state_file, **changes):
    with pytest.raises(TrainingError) as error:
        trained(split, state_file, CONFIG.changed(changes))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_at_once(loss):
    assert watched([2.3, 2.2, loss, 2.1]) == (3, f"the loss is {loss}")


def test_an_explosion_is_told_when_most_of_the_recent_steps_are_above_the_limit():
    above = EXPLODED * LN10 + 1
    step, told = watched([2.0] * 30 + [above] * 30)
    assert step == 30 + RECENT_STEPS // 2 + 1
    assert told == "the loss has exploded: it is 24.03, and above 23.03 in 11 of the last 20"


@pytest.mark.parametrize(
    "losses",
    [
        [2.0] * 30 + [1e9] * (RECENT_STEPS // 2) + [2.0] * 30,
        [2.0, 1e9] * 50,
        [EXPLODED * LN10] * 50,
        [500.0 - 4 * i for i in range(100)],
        [2.3] * 100,
    ],
    ids=["a long spike", "every other step", "just at the limit", "a bad start that gets better", "nothing learned"],
)
def test_what_may_still_become_good_ends_no_training(losses):
    assert watched(losses) is None


def test_a_network_that_starts_far_off_is_held_against_its_own_first_loss():
    assert watched([100.0] + [900.0] * 99) is None
    assert watched([100.0] + [1_100.0] * 99)[0] == RECENT_STEPS


def test_later_epochs_are_held_against_the_best_one_so_that_slow_growth_is_found_too():
    assert watched([150.0] * 50, before=[40.0, 90.0, 120.0]) is None
    assert watched([450.0] * 50, before=[40.0, 90.0, 420.0])[0] == RECENT_STEPS
    assert watched([22.0] * 50, before=[0.001]) is None, "never below the loss of guessing"


def test_a_short_epoch_is_judged_at_its_end():
    assert watched([2.0, 99.0, 99.0], steps=5) is None
    assert watched([2.0, 2.0, 99.0, 99.0, 99.0], steps=5)[0] == 5


def test_a_diverged_training_names_loss_epoch_step_and_what_to_change(split, state_file):
    told = refusal(split, state_file, lr=1e30, warmup_epochs=0.0)
    assert told.startswith("the loss is nan at epoch 1, step ")
    assert " of 5; no epoch was finished. " in told
    assert told.endswith("Try a smaller lr than 1e+30 or more than 0 warm-up epochs")


def test_an_exploded_training_names_the_limit_it_broke(split, state_file):
    told = refusal(split, state_file, lr=1e4, warmup_epochs=0.0)
    assert told.startswith("the loss has exploded: it is ")
    assert ", and above 1" in told
    assert " of the last 5 at epoch 1, step 5 of 5; no epoch was finished" in told


@pytest.mark.parametrize("schedule", [{"schedule": "constant"}, {"schedule": "step", "step_epochs": [1]}])
def test_without_a_warm_up_the_schedule_that_has_one_is_what_to_try(split, state_file, schedule):
    told = refusal(split, state_file, lr=1e30, precision="bf16", **schedule)
    assert told.endswith("Try a smaller lr than 1e+30 or schedule: warmup_cosine, or precision: fp32")


def poison(model, epoch):
    """Makes the third epoch's first loss infinite."""
    if epoch == 2:
        model.fc.weight.data.fill_(torch.inf)


def test_a_divergence_keeps_the_last_good_epoch_and_tells_where_and_what_to_remove(split, tmp_path):
    config = TrainingConfig(epochs=4, batch_size=BATCH, lr=0.05)
    with pytest.raises(TrainingError) as error:
        trained(split, tmp_path / "bad.pt", config, hook=poison)
    told = str(error.value)
    assert f"at epoch 3, step 1 of {STEPS}; the last good epoch (2) is kept in {tmp_path / 'bad.pt'}. Try" in told
    assert told.endswith(", and remove that file to start anew")
    kept = torch.load(tmp_path / "bad.pt", weights_only=True)
    good, _ = trained(split, tmp_path / "good.pt", config)
    assert len(kept["history"]) == 2
    assert all(bool(torch.isfinite(each).all()) for each in kept["model"].values())
    assert different_keys(trained(split, tmp_path / "bad.pt", config)[0], good) == [], "it goes on from there"
