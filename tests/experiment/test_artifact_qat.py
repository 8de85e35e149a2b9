"""Quantization-aware training: committed weights are converted, foreign ones refused, and retraining really trains."""

import json
import shutil

import pytest
import torch
from judged import measure_and_judge
from safetensors.torch import load_file

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import BaselineError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.files import cache_dir, sha256_of_file
from quantbench.golden import baselines
from quantbench.records.card import BaselineCard

COMMAND = r"pytest bench --experiment tiny/qat_int8 --retrain"


def run_of(project, **settings):
    """The experiment's run in a session of its own, as a new process would have it."""
    return Runs(Settings(project.golden, **settings)).run(select(load_experiments(project.configs), "tiny/qat_int8")[0])


def trained(project):
    return project.golden / "baselines" / "tiny.qat_int8.safetensors"


def card_of(path):
    return BaselineCard.model_validate_json(path.with_suffix(".json").read_text())


def change_weights(path, key, value):
    """Sets the first number of a tensor, and the card's hash with it."""
    state = load_file(path)
    state[key].view(-1)[0] = value
    sha256 = baselines.save_weights(path, state)
    baselines.save_card(path, card_of(path).model_copy(update={"weights_sha256": sha256}))


def forget_conversion():
    """Removes the converted checkpoint, so that the trained weights are read again."""
    shutil.rmtree(cache_dir() / "quantized")


@pytest.fixture
def retrained(project):
    """The project after `--retrain`."""
    run_of(project, retrain=True).candidate  # noqa: B018 — trains
    return project


def test_retraining_trains_for_real_and_writes_weights_and_card(retrained):
    before, after = load_file(retrained.weights), load_file(trained(retrained))
    assert not torch.equal(before["fc.weight"], after["fc.weight"])
    card = card_of(trained(retrained))
    assert card.parent_sha256 == sha256_of_file(retrained.weights)
    assert card.weights_sha256 == sha256_of_file(trained(retrained))
    assert card.recipe == "qat_int8"
    assert len(card.history) == card.training["epochs"] == 2
    assert card.command == COMMAND
    assert list((cache_dir() / "training").iterdir()) == [], "the unfinished state is gone"


def test_the_batch_norm_statistics_stand_still_in_the_frozen_epoch(retrained):
    before, after = load_file(retrained.weights), load_file(trained(retrained))
    updates = after["conv.bn.num_batches_tracked"] - before["bn.num_batches_tracked"]
    assert updates == 6, "180 samples in batches of 32: the first of two epochs"


@pytest.mark.usefixtures("real_processes")
def test_a_default_run_converts_the_committed_weights_and_trains_nothing(retrained):
    committed = trained(retrained).read_bytes()
    run = run_of(retrained)
    verdicts = {verdict.quantity: verdict.outcome for verdict in measure_and_judge(run)}
    assert verdicts["reload"] == "PASS"
    assert verdicts["accuracy_drop_pp"] != "FAIL"
    assert run.coverage.int8_share == 1.0
    assert run.accuracy.quantized == pytest.approx(card_of(trained(retrained)).accuracy)
    assert trained(retrained).read_bytes() == committed


def test_retraining_again_gives_the_same_weights(retrained):
    first = trained(retrained).read_bytes()
    run_of(retrained, retrain=True).candidate  # noqa: B018 — trains
    assert trained(retrained).read_bytes() == first


def test_missing_trained_weights_are_named_with_the_command_that_makes_them(project):
    with pytest.raises(BaselineError, match=rf"tiny\.qat_int8\.safetensors: no such file; restore .*: {COMMAND}"):
        run_of(project).candidate  # noqa: B018 — raises


def test_trained_weights_without_their_card_are_refused(retrained):
    trained(retrained).with_suffix(".json").unlink()
    forget_conversion()
    with pytest.raises(BaselineError, match=rf"tiny\.qat_int8\.json: cannot be read .*{COMMAND}"):
        run_of(retrained).candidate  # noqa: B018 — raises


def test_truncated_trained_weights_are_refused_with_both_hashes(retrained):
    trained(retrained).write_bytes(trained(retrained).read_bytes()[:500])
    message = rf"tiny\.qat_int8\.safetensors: sha256 is \w+…, but its card says \w+…; .*{COMMAND}"
    with pytest.raises(BaselineError, match=message):
        run_of(retrained).candidate  # noqa: B018 — raises


def test_trained_weights_that_hold_nan_are_refused(retrained):
    # Converted, a NaN in a bias would become integers that look sound.
    change_weights(trained(retrained), "conv.bn.bias", float("nan"))
    with pytest.raises(BaselineError, match=rf"tiny\.qat_int8\.safetensors: 'conv\.bn\.bias' holds NaN .*{COMMAND}"):
        run_of(retrained).candidate  # noqa: B018 — raises


def test_weights_trained_from_another_baseline_are_refused_even_if_converted_before(retrained):
    change_weights(retrained.weights, "fc.bias", 1.0)
    message = rf"tiny\.qat_int8\.safetensors: was trained from another baseline than .*tiny\.safetensors; .*{COMMAND}"
    with pytest.raises(BaselineError, match=message):
        run_of(retrained).candidate  # noqa: B018 — raises


def test_weights_trained_on_other_data_are_refused(retrained):
    card = json.loads(trained(retrained).with_suffix(".json").read_text())
    card["data_sha256"]["test"] = "0" * 64
    trained(retrained).with_suffix(".json").write_text(json.dumps(card))
    forget_conversion()
    with pytest.raises(BaselineError, match=rf"written for other data than this machine has \(split test\).*{COMMAND}"):
        run_of(retrained).candidate  # noqa: B018 — raises


def test_trained_weights_of_another_model_are_named_by_their_keys(retrained):
    path = trained(retrained)
    state = load_file(path)
    state["conv2.weight"] = state.pop("conv.weight")
    sha256 = baselines.save_weights(path, state)
    baselines.save_card(path, card_of(path).model_copy(update={"weights_sha256": sha256}))
    with pytest.raises(
        BaselineError,
        match=r"of this workload: not in the model: conv2\.weight; not in the file: conv\.weight; correct",
    ):
        run_of(retrained).candidate  # noqa: B018 — raises
