"""Weights trained elsewhere become a baseline with a card, or are refused with one line."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from quantbench.config.selection import find_workload
from quantbench.errors import BaselineError, CheckpointError, ConfigError
from quantbench.experiment.adoption import adopt
from quantbench.experiment.workload import OpenWorkload


def opened(project):
    return OpenWorkload(find_workload("tiny", project.configs), project.golden)


def test_a_torch_state_dict_becomes_the_baseline_with_its_measured_accuracy(project):
    before = opened(project).load_baseline()
    original = load_file(project.weights)
    torch.save(original, project.root / "mine.pt")
    project.weights.unlink()
    card = adopt(opened(project), project.root / "mine.pt").card
    assert card.training == {"adopted": "mine.pt"}
    assert card.n_test == 150
    after = opened(project).load_baseline()
    assert all(torch.equal(before.state_dict()[key], value) for key, value in after.state_dict().items())


def test_a_safetensors_file_is_adopted_without_a_training_section(project):
    project.edit("  training: {epochs: 3, lr: 0.05, batch_size: 32, augment: []}\n", "")
    mine = project.weights.rename(project.root / "mine.safetensors")
    assert adopt(opened(project), mine).card.accuracy > 0.4


def test_training_without_a_training_section_names_the_missing_key(project):
    project.edit("  training: {epochs: 3, lr: 0.05, batch_size: 32, augment: []}\n", "")
    with pytest.raises(ConfigError, match=r"tiny\.yaml: workload\.training: missing; .*epochs"):
        opened(project).train_baseline()


def test_weights_of_another_model_are_refused_with_the_key_that_differs(project):
    torch.save({"conv.weight": torch.zeros(1)}, project.root / "other.pt")
    kept = project.weights.read_bytes()
    with pytest.raises(
        BaselineError, match=r"other\.pt: does not fit the model of this workload: not in the file: bn\.weight, "
    ):
        adopt(opened(project), project.root / "other.pt")
    assert project.weights.read_bytes() == kept, "the committed baseline must survive a refused one"


def test_a_pickle_with_code_is_refused_and_not_run(project):
    class Bomb:
        def __reduce__(self):
            return (open, (str(project.root / "exploded"), "w"))

    torch.save({"conv.weight": Bomb()}, project.root / "bomb.pt")
    with pytest.raises(CheckpointError, match=r"bomb\.pt: refused: opening it could run code"):
        adopt(opened(project), project.root / "bomb.pt")
    assert not (project.root / "exploded").exists()


def saved(project, state, name="mine.pt"):
    torch.save(state, project.root / name)
    return project.root / name


@pytest.fixture
def original(project):
    return load_file(project.weights)


@pytest.mark.parametrize(
    ("wrap", "notes"),
    [
        (lambda w: {"state_dict": w, "epoch": 3}, ["the weights below 'state_dict'; left out: 'epoch'"]),
        (lambda w: {"model": w, "ema": w}, ["the weights below 'model'; left out: 'ema'"]),
        (lambda w: {"ema": w}, ["the weights below 'ema'"]),
        (lambda w: {"my_best_weights": w}, ["the weights below 'my_best_weights'"]),
        (lambda w: {"state_dict": {"model": w}}, ["the weights below 'state_dict'", "the weights below 'model'"]),
        (lambda w: {f"module.{k}": v for k, v in w.items()}, ["without the prefix 'module.'"]),
        (lambda w: {f"net.{k}": v for k, v in w.items()}, ["without the prefix 'net.'"]),
        (
            lambda w: {"model": {f"_orig_mod.module.{k}": v for k, v in w.items()}},
            ["the weights below 'model'", "without the prefix '_orig_mod.'", "without the prefix 'module.'"],
        ),
    ],
)
def test_weights_are_unwrapped_and_that_is_said(project, original, wrap, notes):
    adopted = adopt(opened(project), saved(project, wrap(original)))
    assert adopted.notes == notes
    assert all(torch.equal(load_file(project.weights)[key], value) for key, value in original.items())


def test_weights_that_were_left_out_are_named_where_those_taken_are_refused(project, original):
    zeros = {key: torch.zeros_like(value) for key, value in original.items()}
    with pytest.raises(BaselineError, match=r"; taken: the weights below 'model'; left out: 'ema', 'epoch'$"):
        adopt(opened(project), saved(project, {"model": zeros, "ema": original, "epoch": 3}))


def test_complex_weights_are_refused_instead_of_halved(project, original):
    original["fc.weight"] = original["fc.weight"] + 1j
    with pytest.raises(BaselineError, match=r"mine\.pt: 'fc\.weight' is complex, and the model's weights are real"):
        adopt(opened(project), saved(project, original))


def test_keys_that_the_model_lacks_are_named_first(project, original):
    state = {**original, **{f"extra.{i}": torch.zeros(1) for i in range(5)}}
    del state["fc.weight"]
    state["fc.bias"] = torch.zeros(7)
    with pytest.raises(BaselineError) as raised:
        adopt(opened(project), saved(project, state))
    assert str(raised.value).endswith(
        "does not fit the model of this workload: not in the model: extra.0, extra.1, extra.2 and 2 more; "
        "not in the file: fc.weight; of another shape: fc.bias ([7] instead of [3]); correct workload.model, "
        "or train again"
    )


def turned(original, order):
    """The same network with its outputs in another order."""
    return {key: value[order] if key.startswith("fc.") else value for key, value in original.items()}


def test_weights_trained_for_another_order_of_classes_are_refused_with_the_order_that_mends_it(project, original):
    # Output 0 answers green, 1 red, 2 blue.
    weights, kept = saved(project, turned(original, [1, 2, 0])), project.weights.read_bytes()
    with pytest.raises(BaselineError) as raised:
        adopt(opened(project), weights)
    message = str(raised.value)
    assert (
        "is not surely more than the 33.33 % of giving every sample one class: output 0 answers 'green'; with "
        in message
    )
    assert "set data.classes: [green, red, blue]; or take it as it is with --accept-accuracy" in message
    assert project.weights.read_bytes() == kept
    accuracy = adopt(opened(project), saved(project, original, "sorted.pt")).card.accuracy
    project.edit("calibration_pool: 60", "calibration_pool: 60, classes: [green, red, blue]")
    assert adopt(opened(project), weights).card.accuracy == accuracy


def test_an_accuracy_that_takes_no_model_is_taken_on_request_with_a_warning(project, original):
    constant = {key: torch.zeros_like(value) if key.startswith("fc.") else value for key, value in original.items()}
    with pytest.raises(BaselineError, match=r"compare model, preprocessing .*--accept-accuracy"):
        adopt(opened(project), saved(project, constant))
    adopted = adopt(opened(project), saved(project, constant), accept_accuracy=True)
    assert adopted.card.training["accepted_accuracy"] is True
    (note,) = adopted.notes
    assert note.startswith("warning: ")


@pytest.mark.parametrize(("offset", "fits"), [(0.0, True), (0.02, True), (0.2, False), (-0.2, False)])
def test_an_expected_accuracy_is_checked_against_the_interval_and_kept(project, original, offset, fits):
    weights = saved(project, original)
    expected = adopt(opened(project), weights).card.accuracy + offset
    if fits:
        assert adopt(opened(project), weights, expected=expected).card.training["expected_accuracy"] == expected
    else:
        with pytest.raises(BaselineError, match=r"mine\.pt: accuracy .* is expected; compare preprocessing"):
            adopt(opened(project), weights, expected=expected)


def test_the_command_tells_notes_and_takes_per_cent(quantbench, project, original):
    weights = saved(project, {"model": original})
    status, out, err = quantbench("adopt", "tiny", weights, "--expect-accuracy", "1.5")
    assert (status, "but 1.5 % is expected" in err) == (2, True)
    status, out, err = quantbench("adopt", "tiny", weights)
    assert (status, err) == (0, "the weights below 'model'\n")
    assert "accuracy" in out


def test_more_outputs_than_classes_are_a_warning(project, original):
    project.edit('"tiny_model:tiny_cnn"', '"tiny_model:tiny_cnn", n_classes: 5')
    grown = {
        key: torch.cat([value, torch.full((2, *value.shape[1:]), -9.0)]) if key.startswith("fc.") else value
        for key, value in original.items()
    }
    (note,) = adopt(opened(project), saved(project, grown)).notes
    assert note.startswith("warning: the model has 5 outputs, but the data 3 classes")


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ("[green, red]", "workload.data.classes: unknown class of the data 'blue'"),
        ("[green, red, blue, red]", "workload.data.classes: 'red' is given twice"),
        ("[green, red, bleu]", "unknown class of the data 'blue'. Did you mean 'bleu'?"),
    ],
)
def test_an_order_of_classes_that_is_not_one_is_refused(project, classes, told):
    project.edit("calibration_pool: 60", f"calibration_pool: 60, classes: {classes}")
    with pytest.raises(ConfigError, match=re.escape(told)):
        opened(project).splits  # noqa: B018


def test_classes_without_samples_may_be_named(project):
    project.edit("calibration_pool: 60", "calibration_pool: 60, classes: [ants, blue, green, red]")
    splits = opened(project).splits
    assert splits.classes == ("ants", "blue", "green", "red")
    assert set(splits.test.labels) == {1, 2, 3}


@pytest.mark.parametrize("key", ["mean", "std"])
@pytest.mark.parametrize("value", ["127.5", "-0.1", ".nan"])
def test_statistics_of_unscaled_pictures_are_refused(project, key, value):
    project.edit("calibration_pool: 60", f"calibration_pool: 60, {key}: [0.5, {value}, 0.5]")
    with pytest.raises(ConfigError, match=rf"tiny\.yaml: workload\.data\.{key}\.1: "):
        find_workload("tiny", project.configs)


def test_a_standard_deviation_of_zero_is_refused(project):
    project.edit("calibration_pool: 60", "calibration_pool: 60, std: [0.5, 0, 0.5]")
    with pytest.raises(ConfigError, match=r"workload\.data\.std\.1: Input should be greater than 0"):
        find_workload("tiny", project.configs)


@pytest.mark.parametrize("key", ["conv.weight", "bn.running_var"])
def test_weights_that_hold_nan_are_refused_by_their_key(project, original, key):
    original[key].view(-1)[0] = float("nan")
    with pytest.raises(BaselineError, match=rf"mine\.pt: '{key}' holds NaN or infinity"):
        adopt(opened(project), saved(project, original))


def test_what_is_replaced_is_told_old_and_new(quantbench, project, original):
    original["fc.bias"][0] += 0.5
    old = json.loads(project.weights.with_suffix(".json").read_text())
    status, out, _ = quantbench("adopt", "tiny", saved(project, original))
    new = json.loads(project.weights.with_suffix(".json").read_text())
    assert status == 0
    assert out.splitlines()[-1] == (
        f"replaced the baseline, old → new: accuracy {100 * old['accuracy']:.2f} % → {100 * new['accuracy']:.2f} %, "
        f"sha256 {old['weights_sha256'][:12]}… → {new['weights_sha256'][:12]}…"
    )
    assert old["weights_sha256"] != new["weights_sha256"]


def test_weights_that_are_the_same_or_cannot_be_compared_are_told_too(project, original):
    mine = saved(project, original)
    assert adopt(opened(project), mine).replaced.startswith("replaced the same weights: accuracy ")
    project.weights.with_suffix(".json").write_text("{")
    assert "replaced a baseline that could not be read (" in adopt(opened(project), mine).replaced
    project.weights.with_suffix(".json").unlink()
    project.weights.unlink()
    assert adopt(opened(project), mine).replaced == ""


@pytest.mark.parametrize(("n", "is_told"), [(50, False), (4, True)])
def test_an_accuracy_of_few_samples_is_told_as_open(quantbench, project, original, n, is_told):
    for folder in (project.images / "test").iterdir():
        for path in sorted(folder.iterdir())[n:]:
            path.unlink()
    status, _, err = quantbench("adopt", "tiny", saved(project, original), "--accept-accuracy")
    assert status == 0
    told = re.search(rf"warning: {3 * n} test samples leave the accuracy open between \d+ and \d+ %; with so few", err)
    assert bool(told) == is_told
