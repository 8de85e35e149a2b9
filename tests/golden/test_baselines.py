"""A baseline is loaded only if it is whole, is its card's, fits the model and was made for this data."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from quantbench.backends.checkpoint import read_safetensors
from quantbench.backends.module import ModulePredictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import find_workload, select
from quantbench.errors import BaselineError, ConfigError
from quantbench.experiment.adoption import adopt
from quantbench.experiment.result import inputs_of
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import sha256_of_file
from quantbench.golden import baselines
from quantbench.golden.baselines import check_place, load_card, save_pair, save_weights, weights_path
from quantbench.measure.evaluation import evaluate

WEIGHTS = Path("golden/baselines/tiny.safetensors")
CARD = WEIGHTS.with_suffix(".json")
COMMAND = "quantbench train configs/tiny.yaml"
RESTORE = f"restore it from version control, or make it again: {COMMAND}"


def opened():
    return OpenWorkload(find_workload("tiny", Path("configs")), Path("golden"))


def refusal():
    with pytest.raises(BaselineError) as error:
        opened().load_baseline()
    return str(error.value)


def edit_card(**changes):
    CARD.write_text(json.dumps(json.loads(CARD.read_text()) | changes))


def test_a_whole_baseline_is_loaded_ready_to_evaluate_with_the_accuracy_of_its_card(project):
    workload = opened()
    model = workload.load_baseline()
    assert not model.training
    assert evaluate(ModulePredictor(model), workload.splits.test).accuracy == load_card(WEIGHTS, COMMAND).accuracy


def test_the_card_says_what_was_trained_on_what_with_which_result_and_how_to_repeat_it(project):
    card = load_card(WEIGHTS, COMMAND)
    assert card.weights_sha256 == sha256_of_file(WEIGHTS)
    assert set(card.data_sha256) == {"train", "calibration", "test"}
    assert (card.n_train, card.n_test, len(card.history)) == (180, 150, 3)
    assert card.accuracy_interval[0] < card.accuracy < card.accuracy_interval[1]
    assert card.command.startswith("quantbench train ")
    assert card.duration_s > 0
    assert card.training["epochs"] == 3
    assert {"torch", "numpy"} <= set(card.environment.versions)


def test_a_missing_baseline_is_named_with_the_command_that_makes_it(project):
    WEIGHTS.unlink()
    assert refusal() == f"{WEIGHTS}: no such baseline; restore it from version control, or make it: {COMMAND}"


def test_whatever_asks_for_the_hash_of_a_missing_baseline_is_told_the_same(project):
    (experiment,) = select(load_experiments(Path("configs")), "tiny/ptq_static*")
    run = Runs(Settings(project.golden)).run(experiment)
    assert inputs_of(run).baseline == sha256_of_file(WEIGHTS)
    WEIGHTS.unlink()
    for ask in (lambda: inputs_of(run), lambda: run.opened.weights_sha256()):
        with pytest.raises(
            BaselineError, match=r"tiny\.safetensors: no such baseline; restore it .*: quantbench train "
        ):
            ask()
    os.mkfifo(WEIGHTS)
    with pytest.raises(BaselineError, match=rf"tiny\.safetensors: cannot be read \(is a named pipe, .*; {RESTORE}$"):
        run.opened.weights_sha256()


def test_a_truncated_baseline_is_named_with_the_command_that_makes_it(project):
    content = WEIGHTS.read_bytes()
    WEIGHTS.write_bytes(content[:-1])
    told = refusal()
    assert told.startswith(f"{WEIGHTS}: sha256 is {sha256_of_file(WEIGHTS)[:16]}…, but its card says ")
    assert told.endswith(RESTORE)


def test_weights_with_one_changed_bit_are_refused_with_both_hashes(project):
    card = load_card(WEIGHTS, COMMAND)
    content = bytearray(WEIGHTS.read_bytes())
    content[-1] ^= 1
    WEIGHTS.write_bytes(content)
    told = refusal()
    assert sha256_of_file(WEIGHTS)[:16] in told
    assert f"its card says {card.weights_sha256[:16]}…; {RESTORE}" in told


def test_a_file_that_is_no_safetensors_is_refused_although_its_hash_fits(project):
    WEIGHTS.write_bytes(b"\xff" * 100)
    edit_card(weights_sha256=sha256_of_file(WEIGHTS))
    assert refusal().startswith(f"{WEIGHTS}: not a whole safetensors file (")


def test_a_pickle_is_never_unpickled_as_a_baseline(project, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(BaselineError, match=r"a\.safetensors: not a whole safetensors file"):
        read_safetensors(tmp_path / "a.safetensors")


def test_a_safetensors_file_with_a_tensor_given_twice_is_refused(tmp_path):
    entry = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = b'{"a":' + entry + b',"a":' + entry + b"}"
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(BaselineError, match=r"not a whole safetensors file \(the key 'a' is given twice\)"):
        read_safetensors(path)


def test_a_missing_card_is_named_with_the_command_that_makes_it(project):
    CARD.unlink()
    assert refusal() == f"{CARD}: cannot be read (No such file or directory); {RESTORE}"


@pytest.mark.parametrize("content", [b'{"workload": "tiny",', b"", b"\xff\xfe"], ids=["cut short", "empty", "not text"])
def test_a_damaged_card_is_named_with_the_command_that_makes_it(project, content):
    CARD.write_bytes(content)
    told = refusal()
    assert told.startswith(f"{CARD}: not valid JSON (")
    assert told.endswith(RESTORE)


def test_a_card_that_lacks_a_field_is_told_which(project):
    card = json.loads(CARD.read_text())
    del card["accuracy"]
    CARD.write_text(json.dumps(card))
    assert refusal() == f"{CARD}: accuracy: Field required\n{RESTORE}"


def test_a_card_that_is_a_list_is_refused(project):
    CARD.write_text("[]")
    assert refusal() == f"{CARD}: Input should be a mapping of keys to values (given: [])\n{RESTORE}"


@pytest.mark.parametrize(("side", "changed"), [("train", "calibration, train|calibration|train"), ("test", "test")])
def test_a_baseline_for_other_data_is_refused_with_the_splits_that_differ(project, side, changed):
    project.replace_image(f"{side}/red/000.png", np.full((8, 8, 3), 7, np.uint8))
    told = refusal()
    assert told.startswith(f"{WEIGHTS}: its card was written for other data than this machine has (split ")
    assert told.partition("(split ")[2].partition(")")[0] in changed.split("|")
    assert told.endswith(f"or make weights for yours: {COMMAND}")


def test_a_baseline_for_otherwise_normalized_samples_is_refused(project):
    project.edit("size: 8", "size: 8, mean: [0.1, 0.1, 0.1]")
    assert f"{WEIGHTS}: its card was written for samples normalized with Normalization(" in refusal()


def test_a_baseline_of_another_model_is_refused_with_the_keys_that_do_not_fit(project):
    project.edit('name: "tiny_model:tiny_cnn"', 'name: "tiny_model:tiny_cnn", channels: 4')
    told = refusal()
    assert told.startswith(f"{WEIGHTS}: does not fit the model of this workload: of another shape: conv.weight ")
    assert told.endswith("; correct workload.model, or train again")


def test_a_baseline_that_lacks_a_key_is_refused_with_the_key(project):
    state = load_file(WEIGHTS)
    del state["fc.bias"]
    save_file(state, WEIGHTS)
    edit_card(weights_sha256=sha256_of_file(WEIGHTS))
    assert "workload: not in the file: fc.bias; correct" in refusal()


def test_an_unknown_parameter_of_the_model_is_told_with_its_place(project):
    project.edit('name: "tiny_model:tiny_cnn"', 'name: "tiny_model:tiny_cnn", chanels: 4')
    with pytest.raises(
        ConfigError, match=r"^configs/tiny\.yaml: workload\.model: .*'chanels'\. Did you mean 'channels'\?"
    ):
        opened().load_baseline()


def test_training_again_makes_a_broken_baseline_whole_with_the_same_bits(project):
    before = WEIGHTS.read_bytes()
    WEIGHTS.write_bytes(before[:100])
    CARD.write_text("{")
    opened().train_baseline()
    assert WEIGHTS.read_bytes() == before
    opened().load_baseline()
    assert list((project.root / "cache" / "training").iterdir()) == [], "the state file goes when its result is safe"


def test_tied_weights_are_saved_and_come_back(tmp_path):
    weight = torch.arange(6.0).view(2, 3)
    save_weights(tmp_path / "a.safetensors", {"first": weight, "second": weight, "turned": weight.T})
    state = read_safetensors(tmp_path / "a.safetensors")
    assert torch.equal(state["first"], weight)
    assert torch.equal(state["second"], weight)
    assert torch.equal(state["turned"], weight.T)


def half_written(project, monkeypatch, left_out):
    """Writes a new pair, as far as a process comes that is killed before a step; gives the new card."""
    card = load_card(WEIGHTS, COMMAND)
    state = {key: value + 1 for key, value in load_file(WEIGHTS).items()}
    with monkeypatch.context() as patch:
        # Nothing is cleaned up after a kill.
        patch.setattr(baselines, "_settle", lambda *_: None)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        if left_out == "card":
            patch.setattr(baselines, "save_card", lambda *_: None)
        return save_pair(WEIGHTS, state, lambda sha256: card.model_copy(update={"weights_sha256": sha256}))


def test_a_kill_before_the_new_card_leaves_the_old_pair(project, monkeypatch):
    before = load_card(WEIGHTS, COMMAND)
    half_written(project, monkeypatch, "card")
    assert len(list(WEIGHTS.parent.iterdir())) == 3
    assert weights_path(Path("golden"), "tiny") == WEIGHTS
    assert load_card(WEIGHTS, COMMAND) == before
    opened().load_baseline()


def test_a_kill_after_the_new_card_leaves_the_new_pair_which_the_next_reader_completes(project, monkeypatch):
    new = half_written(project, monkeypatch, "move")
    assert sha256_of_file(WEIGHTS) != new.weights_sha256, "the old weights are still in their place"
    assert sha256_of_file(opened().weights_path) == new.weights_sha256
    assert load_card(WEIGHTS, COMMAND) == new
    assert sorted(WEIGHTS.parent.iterdir()) == sorted([WEIGHTS, CARD])
    opened().load_baseline()


def test_a_reader_that_meets_a_writer_between_card_and_weights_completes_the_pair(project, monkeypatch):
    path = opened().weights_path
    new = half_written(project, monkeypatch, "move")
    assert load_card(path, COMMAND) == new
    assert sha256_of_file(WEIGHTS) == new.weights_sha256


def test_weights_that_a_killed_writer_left_without_a_card_are_swept(project, monkeypatch):
    half_written(project, monkeypatch, "card")
    (waiting,) = [path for path in WEIGHTS.parent.iterdir() if path.name.startswith(".")]
    weights_path(Path("golden"), "tiny")
    assert waiting.exists(), "this process is alive, and could be writing the card"
    monkeypatch.setattr(baselines, "is_abandoned", lambda _: True)
    weights_path(Path("golden"), "tiny")
    assert sorted(WEIGHTS.parent.iterdir()) == sorted([WEIGHTS, CARD])


@pytest.mark.parametrize("step", ["save_weights", "save_card"])
def test_a_disk_that_is_full_leaves_the_old_pair_and_nothing_else(project, monkeypatch, step):
    card, state = load_card(WEIGHTS, COMMAND), load_file(WEIGHTS)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(baselines, step, full)
        with pytest.raises(BaselineError) as error:
            save_pair(WEIGHTS, {key: value + 1 for key, value in state.items()}, lambda _: card)
    assert str(error.value) == (
        f"{WEIGHTS}: cannot be written (No space left on device); what was there stays as it was; free some space, or "
        "name another folder with --golden"
    )
    assert sorted(WEIGHTS.parent.iterdir()) == sorted([WEIGHTS, CARD])
    assert load_card(WEIGHTS, COMMAND) == card


def test_a_folder_that_cannot_be_written_is_told_before_hours_of_training(project, monkeypatch):
    def read_only(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", read_only)
    monkeypatch.setattr(OpenWorkload, "fit", lambda *_: pytest.fail("it has begun to train"))
    monkeypatch.setattr(OpenWorkload, "evaluated", lambda *_: pytest.fail("it has begun to measure"))
    adopted = WEIGHTS.read_bytes()
    for begin in (lambda: check_place(WEIGHTS), opened().train_baseline, lambda: adopt(opened(), WEIGHTS)):
        with pytest.raises(
            BaselineError, match=rf"^{WEIGHTS}: cannot be written \(Permission denied\); what was there"
        ):
            begin()
    assert WEIGHTS.read_bytes() == adopted


def test_two_writers_of_one_pair_wait_for_each_other(project):
    card, state = load_card(WEIGHTS, COMMAND), load_file(WEIGHTS)

    def write(i):
        def card_of(sha256):
            return card.model_copy(update={"weights_sha256": sha256, "command": str(i)})

        save_pair(WEIGHTS, {key: value + i for key, value in state.items()}, card_of)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(1, 5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert load_card(WEIGHTS, COMMAND).command in {"1", "2", "3", "4"}
    assert sorted(WEIGHTS.parent.iterdir()) == sorted([WEIGHTS, CARD])
