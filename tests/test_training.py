"""Training repeats bit for bit, continues bit for bit after it was killed, and says how it failed."""

import numpy as np
import pytest
import torch
from tiny_model import tiny_cnn

from quantbench.config import TrainingConfig
from quantbench.data.cache import CachedSide
from quantbench.data.source import Normalization
from quantbench.data.splits import Split
from quantbench.errors import EvaluationError, TrainingError
from quantbench.progress import Progress
from quantbench.training import train

# 70 is no multiple of the batch size, so that every epoch ends with a smaller batch.
N, BATCH, EPOCHS = 70, 16, 4
STEPS = 5
CONFIG = TrainingConfig(epochs=EPOCHS, batch_size=BATCH, lr=0.05)


@pytest.fixture(autouse=True)
def _one_thread():
    """Steps this small are slowed down by threads, manyfold on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def split():
    random = np.random.RandomState(0)
    labels = random.randint(0, 3, N)
    inputs = random.randint(0, 120, (N, 3, 8, 8))
    inputs[np.arange(N), labels] += 80
    side = CachedSide(inputs.astype(np.uint8), labels, np.zeros((N, 16), np.uint8))
    return Split("train", side, None, Normalization(255.0, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))


@pytest.fixture
def state_file(tmp_path):
    return tmp_path / "training" / "a.pt"


class KilledAt(Progress):
    """Ends the training as Ctrl-C does, at a step counted from 1."""

    def __init__(self, step):
        super().__init__("test")
        self.step = step

    def update(self, done, *_):
        if done == self.step:
            raise KeyboardInterrupt


def new_model():
    torch.manual_seed(0)
    return tiny_cnn()


def trained(split, state_file, config=CONFIG, hook=None):
    model = new_model()
    history = train(model, split, config, state_file, Progress("test"), hook)
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}, history


def killed(split, state_file, step, config=CONFIG):
    with pytest.raises(KeyboardInterrupt):
        train(new_model(), split, config, state_file, KilledAt(step))


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert different == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(split, tmp_path, precision):
    config = CONFIG.model_copy(update={"precision": precision})
    first, history = trained(split, tmp_path / "1.pt", config)
    torch.manual_seed(99)  # whatever was drawn before must not matter
    second, again = trained(split, tmp_path / "2.pt", config)
    assert_same_bits(first, second)
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
    assert_same_bits(whole, continued)
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
    assert_same_bits(whole, again)
    assert history == same


def test_training_learns_and_leaves_the_model_ready_to_evaluate(split, state_file):
    model = new_model()
    history = train(model, split, TrainingConfig(epochs=12, batch_size=BATCH, augment=()), state_file, Progress("test"))
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].accuracy > 0.8
    assert not model.training


def test_every_epoch_takes_every_sample_once_and_in_an_order_of_its_own(split, state_file):
    taken = []

    class Recorded(Split):
        def take(self, positions):
            taken.extend(positions.tolist())
            return super().take(positions)

    train(new_model(), Recorded(**vars(split)), CONFIG, state_file, Progress("test"))
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


def test_the_learning_rate_warms_up_and_then_falls_along_half_a_cosine(split, state_file, monkeypatch):
    rates = []
    step = torch.optim.SGD.step

    def recording(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", recording)
    config = TrainingConfig(epochs=4, batch_size=BATCH, lr=0.1, min_lr=0.01, warmup_epochs=1, augment=())
    train(new_model(), split, config, state_file, Progress("test"))
    assert len(rates) == 4 * STEPS
    assert rates[0] == pytest.approx(0.1e-3)
    assert rates[STEPS] == pytest.approx(0.1)
    assert rates[:STEPS] == sorted(rates[:STEPS])
    assert rates[STEPS:] == sorted(rates[STEPS:], reverse=True)
    cosine = [0.01 + 0.045 * (1 + np.cos(np.pi * i / 15)) for i in range(15)]
    assert rates[STEPS:] == pytest.approx(cosine)


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


def test_a_diverged_training_names_loss_epoch_step_and_what_to_change(split, state_file):
    with pytest.raises(TrainingError) as error:
        trained(split, state_file, CONFIG.model_copy(update={"lr": 1e30, "warmup_epochs": 0.0}))
    told = str(error.value)
    assert told.startswith("the loss is nan at epoch 1, step ")
    assert "of 5" in told
    assert "Try a smaller lr than 1e+30 or more than 0.0 warm-up epochs" in told


def test_a_head_too_small_for_the_labels_is_named_before_any_step(split, state_file):
    with pytest.raises(EvaluationError, match=r"gave 2 logits per sample, but a label is 2; size its head"):
        train(tiny_cnn(n_classes=2), split, CONFIG, state_file, Progress("test"))


def test_a_divergence_keeps_the_last_good_epoch_from_which_training_goes_on(split, tmp_path):
    def poison(model, epoch):
        if epoch == 2:
            model.fc.weight.data.fill_(torch.inf)

    with pytest.raises(TrainingError, match=r"at epoch 3, step 1 of 5; the last good epoch is kept"):
        trained(split, tmp_path / "bad.pt", hook=poison)
    assert_same_bits(trained(split, tmp_path / "bad.pt")[0], trained(split, tmp_path / "good.pt")[0])


DAMAGES = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "other bytes": lambda _: b"not a state file",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_file_is_named_with_the_way_to_start_again(split, state_file, damage):
    killed(split, state_file, STEPS + 1)
    state_file.write_bytes(damage(state_file.read_bytes()))
    with pytest.raises(TrainingError) as error:
        trained(split, state_file)
    told = str(error.value)
    assert told.startswith(f"{state_file}: cannot continue this training (")
    assert told.endswith("remove the file to start again")
    assert "\n" not in told
    state_file.unlink()
    trained(split, state_file)


def test_a_state_file_of_another_model_is_refused_in_one_line(split, state_file):
    killed(split, state_file, STEPS + 1)
    with pytest.raises(TrainingError, match="cannot continue this training") as error:
        train(tiny_cnn(channels=4), split, CONFIG, state_file, Progress("test"))
    assert "\n" not in str(error.value)
