"""An unfinished training is continued as it was begun, or refused with what changed; it belongs to one process."""

import io
import zipfile

import pytest
import torch
from filelock import FileLock
from tiny_model import tiny_cnn
from tiny_training import CONFIG, STEPS, different_keys, fit, killed, made_split, trained

from quantbench.backends.torch_file import seal
from quantbench.errors import TrainingError
from quantbench.files import cache_dir
from quantbench.progress import Progress
from quantbench.training import state as training_state
from quantbench.training.loop import train


def flipped(data):
    """One bit turned over in the middle of the largest tensor, which no reader of torch's notices."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        tensors = [member for member in archive.infolist() if "/data/" in member.filename]
        largest = max(tensors, key=lambda member: member.file_size)
        content = archive.read(largest)
    place = data.index(content) + len(content) // 2
    changed = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
    torch.load(io.BytesIO(changed), weights_only=True)
    return changed


DAMAGES = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "other bytes": lambda _: b"not a state file",
    "one bit of a weight": lambda data: flipped(data),
}


def refusal(split, state_file, **kwargs):
    with pytest.raises(TrainingError) as error:
        fit(split, state_file, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def begun(split, state_file):
    """Killed in its second epoch."""
    killed(split, state_file, STEPS + 1)
    return state_file


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_file_is_told_and_the_training_begun_anew_to_the_same_end(
    split, begun, tmp_path, capsys, damage
):
    whole, _ = trained(split, tmp_path / "whole.pt")
    begun.write_bytes(damage(begun.read_bytes()))
    again, _ = trained(split, begun)
    assert capsys.readouterr().err == f"{begun}: is cut short or changed; beginning this training anew\n"
    assert different_keys(again, whole) == []


def test_a_state_without_the_hash_of_its_content_is_not_continued(split, begun, capsys):
    torch.save(torch.load(begun, weights_only=True), begun)
    trained(split, begun)
    assert "is cut short or changed; beginning this training anew" in capsys.readouterr().err


def test_a_file_that_lacks_a_part_is_refused(split, begun):
    state = torch.load(begun, weights_only=True)
    del state["optimizer"]
    torch.save(state, begun)
    seal(begun)
    assert "cannot continue this training (KeyError: 'optimizer')" in refusal(split, begun)


def test_a_state_file_of_another_model_is_refused_in_one_line(split, begun):
    with pytest.raises(TrainingError, match="cannot continue this training") as error:
        train(tiny_cnn(channels=4), split, CONFIG, begun, Progress("test"))
    assert "\n" not in str(error.value)


def test_a_changed_configuration_is_refused_with_every_key_that_changed_old_and_new(split, begun):
    config = CONFIG.model_copy(update={"lr": 0.01, "epochs": 6, "augment": ()})
    assert refusal(split, begun, config=config) == (
        f"{begun}: holds an unfinished training (1 epoch(s) done) that was begun otherwise: training.epochs 4 → 6, "
        "training.lr 0.05 → 0.01, training.augment ['pad_crop', 'horizontal_flip'] → []; restore what changed to "
        "continue it, or remove the file to start anew"
    )


def test_a_refused_training_is_left_as_it_was_and_continues_when_the_change_is_undone(split, begun, tmp_path):
    refusal(split, begun, config=CONFIG.model_copy(update={"seed": 1}))
    whole, _ = trained(split, tmp_path / "whole.pt")
    assert different_keys(trained(split, begun)[0], whole) == []


def test_removing_the_file_starts_anew_with_the_changed_configuration(split, begun, tmp_path):
    config = CONFIG.model_copy(update={"seed": 1})
    refusal(split, begun, config=config)
    begun.unlink()
    assert different_keys(trained(split, begun, config)[0], trained(split, tmp_path / "other.pt", config)[0]) == []


def test_another_schedule_is_told_with_the_keys_that_came_and_went(split, begun):
    config = CONFIG.changed({"schedule": "step", "step_epochs": [2]})
    told = refusal(split, begun, config=config)
    assert "training.schedule warmup_cosine → step" in told
    assert "training.step_epochs (absent) → [2]" in told
    assert "training.warmup_epochs 1.0 → (absent)" in told


def test_other_samples_are_told_by_their_split_and_hash(split, begun):
    told = refusal(made_split(seed=3), begun)
    old, new = split.sha256, made_split(seed=3).sha256
    assert f"begun otherwise: data.train {old[:12]}… → {new[:12]}…; restore" in told


def test_a_validation_split_that_was_added_is_told(split, begun, held_out):
    assert f"data.search (absent) → {held_out.sha256[:12]}…" in refusal(split, begun, validation=held_out)


def test_another_normalization_is_told(split, begun):
    from dataclasses import replace

    other = replace(split, normalization=replace(split.normalization, mean=(0.4, 0.5, 0.5)))
    assert "normalization.mean (0.5, 0.5, 0.5) → (0.4, 0.5, 0.5)" in refusal(other, begun)


def test_what_else_decides_the_result_is_compared_too_down_to_its_last_key(split, state_file):
    origin = {"recipe": {"kind": "QatInt8", "weight": {"observer": "A"}}, "parent": "0" * 64}
    fit(split, state_file, origin=origin)
    changed = {"recipe": {"kind": "QatInt8", "weight": {"observer": "B"}}, "parent": "1" * 64}
    told = refusal(split, state_file, origin=changed)
    assert f"recipe.weight.observer A → B, parent {'0' * 12}… → {'1' * 12}…; restore" in told


def test_of_many_changes_the_first_are_named_and_the_rest_counted(split, state_file):
    fit(split, state_file, origin={f"k{i}": i for i in range(10)})
    told = refusal(split, state_file, origin={f"k{i}": i + 1 for i in range(10)})
    assert "k5 5 → 6 and 4 more; restore" in told
    assert "k6" not in told


def test_two_processes_never_train_into_one_file(split, state_file, monkeypatch):
    monkeypatch.setattr(training_state, "LOCK_TIMEOUT_S", 0.0)
    lock = cache_dir() / "locks" / "a.pt.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert refusal(split, state_file) == (
            f"{state_file}: another process is training this right now; wait for it, or train with another cache: "
            "QUANTBENCH_CACHE=<folder>"
        )
    trained(split, state_file)
