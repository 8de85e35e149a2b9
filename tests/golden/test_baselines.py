"""A baseline is loaded only if it is whole, is its card's, fits the model and was made for this data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from quantbench.backends.checkpoint import read_safetensors
from quantbench.backends.module import ModulePredictor
from quantbench.config.selection import find_workload
from quantbench.errors import BaselineError, ConfigError
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import sha256_of_file
from quantbench.golden.baselines import load_card, save_weights
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
