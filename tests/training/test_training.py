"""Training repeats bit for bit, continues bit for bit after it was killed, and says how it failed."""

import pytest
import torch
from tiny_model import tiny_cnn
from tiny_training import BATCH, CONFIG, EPOCHS, STEPS, N, different_keys, fit, killed, new_model, trained

from quantbench.config.training import TrainingConfig
from quantbench.data.splits import Split
from quantbench.errors import EvaluationError, TrainingError
from quantbench.progress import Progress
from quantbench.training.loop import train


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(split, tmp_path, precision):
    config = CONFIG.model_copy(update={"precision": precision})
    first, history = trained(split, tmp_path / "1.pt", config)
    torch.manual_seed(99)  # whatever was drawn before must not matter
    second, again = trained(split, tmp_path / "2.pt", config)
    assert different_keys(first, second) == []
    assert history == again


@pytest.mark.parametrize("change", [{"seed": 1}, {"augment": ()}, {"lr": 0.04}, {"precision": "bf16"}])
def test_another_seed_or_setting_gives_other_bits(split, tmp_path, change):
    first, _ = trained(split, tmp_path / "1.pt")
    second, _ = trained(split, tmp_path / "2.pt", CONFIG.model_copy(update=change))
    assert not torch.equal(first["conv.weight"], second["conv.weight"])


@pytest.mark.parametrize("step", [1, STEPS, STEPS + 1, 2 * STEPS + 3, EPOCHS * STEPS])
def test_a_killed_training_that_is_continued_ends_with_the_same_bits(split, tmp_path, step):
    whole, history = trained(split, tmp_path / "whole.pt")
    killed(split, tmp_path / "killed.pt", step)
    continued, rest = trained(split, tmp_path / "killed.pt")
    assert different_keys(whole, continued) == []
    assert history == rest


def test_a_continued_training_really_continues(split, state_file):
    killed(split, state_file, 2 * STEPS + 3)
    epochs = []
    trained(split, state_file, hook=lambda _, epoch: epochs.append(epoch))
    assert epochs == [2, 3], "the first two epochs were saved before the kill"


def test_a_kill_leaves_one_whole_state_file_and_nothing_half_written(split, state_file):
    killed(split, state_file, 2 * STEPS + 3)
    assert list(state_file.parent.iterdir()) == [state_file]


def test_a_training_that_had_ended_is_not_repeated(split, state_file):
    whole, history = trained(split, state_file)
    epochs = []
    again, same = trained(split, state_file, hook=lambda _, epoch: epochs.append(epoch))
    assert epochs == []
    assert different_keys(whole, again) == []
    assert history == same


def test_training_learns_and_leaves_the_model_ready_to_evaluate(split, state_file):
    model, outcome = fit(split, state_file, TrainingConfig(epochs=12, batch_size=BATCH, augment=()))
    history = outcome.history
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].accuracy > 0.8
    assert not model.training


def test_every_epoch_takes_every_sample_once_and_in_an_order_of_its_own(split, state_file):
    taken = []

    class Recorded(Split):
        def take(self, positions):
            taken.extend(positions.tolist())
            return super().take(positions)

    recorded = Recorded(split.name, split.side, split.indices, split.normalization)
    train(new_model(), recorded, CONFIG, state_file, Progress("test"))
    epochs = [tuple(taken[start : start + N]) for start in range(0, EPOCHS * N, N)]
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs)
    assert len({*epochs, tuple(range(N))}) == EPOCHS + 1


def test_training_leaves_the_callers_random_numbers_alone(split, state_file):
    model = new_model()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(model, split, CONFIG, state_file, Progress("test"))
    assert torch.equal(torch.rand(3), expected)


def test_progress_tells_epoch_loss_and_accuracy_of_every_step(split, state_file):
    shown = []

    class Recorder(Progress):
        def update(self, done, total, note=""):
            shown.append((done, total, note))

    train(new_model(), split, CONFIG, state_file, Recorder("test"))
    assert [done for done, _, _ in shown] == list(range(1, EPOCHS * STEPS + 1))
    assert {total for _, total, _ in shown} == {EPOCHS * STEPS}
    assert shown[STEPS][2].startswith("epoch 2/4 loss ")
    assert "accuracy" in shown[STEPS][2]


def test_a_head_too_small_for_the_labels_is_named_before_any_step(split, state_file):
    with pytest.raises(EvaluationError, match=r"gave 2 logits per sample, but a label is 2; size its head"):
        train(tiny_cnn(n_classes=2), split, CONFIG, state_file, Progress("test"))


def test_a_model_without_a_weight_to_train_is_refused(split, state_file):
    with pytest.raises(TrainingError, match=r"^TinyCNN has no weight that could be trained: it was converted"):
        train(new_model().requires_grad_(False), split, CONFIG, state_file, Progress("test"))
    assert not state_file.exists()
