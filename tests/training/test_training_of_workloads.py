"""A workload that holds samples out chooses its best epoch by them, for the baseline and for QAT; its cards say so."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from quantbench.backends.module import ModulePredictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import find_workload, select
from quantbench.data.opening import open_splits
from quantbench.errors import BaselineError, TrainingError
from quantbench.experiment.adoption import adopt
from quantbench.experiment.fine_tuning import fine_tuning_config
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.golden.baselines import load_card
from quantbench.measure.evaluation import evaluate
from quantbench.training import loop as training
from quantbench.training.state import state_path

POOL = ("calibration_pool: 60}", "calibration_pool: 60, search_pool: 40}")


@pytest.fixture
def held_out(project):
    """The project with 40 samples set aside and more epochs than it needs."""
    project.edit(*POOL)
    project.edit("epochs: 3, lr: 0.05", "epochs: 8, lr: 0.05, patience: 6")
    return project


def opened(project):
    return OpenWorkload(find_workload("tiny", project.configs), project.golden)


def qat_run(project, **settings):
    return Runs(Settings(project.golden, retrain=True, **settings)).run(
        select(load_experiments(project.configs), "tiny/qat_int8")[0]
    )


def test_a_pool_of_nothing_leaves_splits_and_card_as_they_were(project):
    workload = opened(project)
    card = load_card(project.weights, "")
    hashes = {name: getattr(workload.splits, name).sha256 for name in ("train", "calibration", "test")}
    assert card.data_sha256 == hashes
    assert (card.n_validation, card.best_epoch, card.amp) == (0, None, None)
    assert set(card.history[0]) == {"loss", "accuracy", "lr", "seconds"}
    assert card.duration_s == pytest.approx(sum(epoch["seconds"] for epoch in card.history), abs=0.01)


def test_a_card_from_before_validation_still_loads(project):
    path = project.weights.with_suffix(".json")
    card = json.loads(path.read_text())
    for key in ("n_validation", "best_epoch", "amp"):
        del card[key]
    card["history"] = [{"loss": 1.0, "accuracy": 0.5}]
    path.write_text(json.dumps(card))
    loaded = opened(project).load_baseline().state_dict()
    expected = load_file(project.weights)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)


def test_the_baseline_is_the_best_epochs_and_its_card_tells_which_and_by_how_many_samples(held_out):
    workload = opened(held_out)
    card = workload.train_baseline()
    assert card.n_validation == len(workload.splits.search) == 40
    assert card.data_sha256["search"] == workload.splits.search.sha256
    assert card.training["patience"] == 6
    accuracies = [epoch["validation_accuracy"] for epoch in card.history]
    assert accuracies[card.best_epoch - 1] == max(accuracies)
    assert evaluate(ModulePredictor(workload.load_baseline()), workload.splits.search).accuracy == max(accuracies)


def test_validation_samples_are_neither_trained_on_nor_calibrated_with_nor_tested(held_out, monkeypatch):
    taken = {}
    own = training.evaluate
    monkeypatch.setattr(
        training, "evaluate", lambda forward, split: taken.setdefault(split.name, split) and own(forward, split)
    )
    workload = opened(held_out)
    workload.train_baseline()
    assert list(taken) == ["search"]
    splits = workload.splits
    digests = [{bytes(row) for row in split.digests} for split in (splits.train, splits.calibration, splits.test)]
    assert not {bytes(row) for row in taken["search"].digests} & set.union(*digests)


def test_holding_samples_out_takes_them_from_training_and_leaves_calibration_and_test(project):
    before = opened(project).splits
    project.edit(*POOL)
    after = opened(project).splits
    assert (before.calibration.sha256, before.test.sha256) == (after.calibration.sha256, after.test.sha256)
    assert len(before.train) - len(after.train) == len(after.search) == 40


def test_a_baseline_is_refused_when_other_samples_are_held_out(held_out):
    opened(held_out).train_baseline()
    held_out.edit("search_pool: 40", "search_pool: 41")
    with pytest.raises(BaselineError, match=r"written for other data than this machine has \(split search, train\)"):
        opened(held_out).load_baseline()


def test_adopted_weights_whose_card_is_older_than_the_search_split_are_still_theirs(held_out):
    workload = opened(held_out)
    adopt(workload, held_out.weights)
    path = held_out.weights.with_suffix(".json")
    card = json.loads(path.read_text())
    assert card["data_sha256"].pop("search") == workload.splits.search.sha256
    assert (card["n_validation"], card["best_epoch"], card["history"]) == (0, None, [])
    path.write_text(json.dumps(card))
    opened(held_out).load_baseline()


def test_projects_that_name_a_workload_alike_train_into_files_of_their_own(held_out, tmp_path, monkeypatch):
    other = OpenWorkload(opened(held_out).workload, tmp_path / "other" / "golden")
    assert opened(held_out).unfinished("tiny") != other.unfinished("tiny")
    state_path(other.unfinished("tiny")).parent.mkdir(parents=True, exist_ok=True)
    state_path(other.unfinished("tiny")).write_bytes(b"of the other project")
    opened(held_out).train_baseline()
    assert state_path(other.unfinished("tiny")).read_bytes() == b"of the other project"
    monkeypatch.chdir(held_out.root)
    assert OpenWorkload(other.workload, Path("golden")).unfinished("tiny") == opened(held_out).unfinished("tiny")


def test_one_state_file_per_workload_refuses_another_configuration_with_the_key(held_out):
    one_epoch = training._epoch

    def killed(loop, progressed):
        if len(progressed.history) == 2:
            raise KeyboardInterrupt
        return one_epoch(loop, progressed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(held_out).train_baseline()
    state_file = state_path(opened(held_out).unfinished("tiny"))
    assert list(state_file.parent.iterdir()) == [state_file]
    held_out.edit("lr: 0.05", "lr: 0.04")
    with pytest.raises(TrainingError, match=rf"{state_file}: holds .*\(2 epoch\(s\) done\).*training.lr 0.05 → 0.04;"):
        opened(held_out).train_baseline()
    held_out.edit("lr: 0.04", "lr: 0.05")
    opened(held_out).train_baseline()
    assert list(state_file.parent.iterdir()) == []


def test_amp_computes_in_bf16_and_the_card_says_what_that_is_and_how_to_repeat_it(project):
    before = load_file(project.weights)
    card = opened(project).train_baseline(amp=True)
    assert card.training["precision"] == "bf16"
    assert card.amp.startswith("torch.autocast: forward and backward in bfloat16")
    assert card.command.endswith("tiny.yaml --amp")
    after = load_file(project.weights)
    assert {tensor.dtype for key, tensor in after.items() if tensor.is_floating_point()} == {torch.float32}
    assert not torch.equal(before["fc.weight"], after["fc.weight"])


def test_qat_takes_its_best_epoch_too(held_out):
    opened(held_out).train_baseline()
    run = qat_run(held_out)
    run.candidate  # noqa: B018 — trains
    card = load_card(held_out.golden / "baselines" / "tiny.qat_int8.safetensors", "")
    assert (card.n_validation, len(card.history)) == (40, 2)
    accuracies = [epoch["validation_accuracy"] for epoch in card.history]
    assert accuracies[card.best_epoch - 1] == max(accuracies)
    assert "patience" not in card.training
    assert run.accuracy.quantized == pytest.approx(card.accuracy)


def test_validation_of_qat_leaves_the_ranges_that_observers_found_alone(held_out, monkeypatch):
    # Two epochs in which the observers move, so that what the first validation did would show in the second.
    held_out.edit("qat_int8, epochs: 2,", "qat_int8, epochs: 3,")
    opened(held_out).train_baseline()
    seen = []
    own = training.train

    def recorded(model, split, config, state_file, show, hook, validation, origin):
        outcome = own(model, split, config, state_file, show, hook, validation, origin)
        seen.append(torch.load(state_file, weights_only=True)["model"])
        return outcome

    monkeypatch.setattr(training, "train", recorded)
    qat_run(held_out).candidate  # noqa: B018 — trains
    monkeypatch.setattr(training, "train", lambda *args: recorded(*args[:6], None, args[7]))
    qat_run(held_out).candidate  # noqa: B018 — trains
    assert any("activation_post_process" in key for key in seen[0])
    assert [key for key in seen[0] if not torch.equal(seen[0][key], seen[1][key])] == []


def test_observers_take_no_ranges_from_validation_samples(held_out, monkeypatch):
    opened(held_out).train_baseline()
    ranges = []
    own = training.Validation

    def recorded(split, evaluated):
        def watched(model):
            made = evaluated(model)
            ranges.append((made, {key: value.clone() for key, value in made.state_dict().items()}))
            return made

        return own(split, watched)

    monkeypatch.setattr(training, "Validation", recorded)
    qat_run(held_out).candidate  # noqa: B018 — trains
    assert len(ranges) == 2
    for model, before in ranges:
        after = model.state_dict()
        assert any("activation_post_process.max_val" in key for key in after)
        assert [key for key in after if not torch.equal(before[key], after[key])] == []


def test_qat_in_bf16_converts_and_says_so_on_its_card(project):
    run = qat_run(project, amp=True)
    assert run.coverage.int8_share == 1.0
    card = load_card(project.golden / "baselines" / "tiny.qat_int8.safetensors", "")
    assert card.training["precision"] == "bf16"
    assert card.command.endswith("--retrain --amp")
    assert card.amp


@pytest.mark.parametrize(
    "settings", ["schedule: step, step_epochs: [1]", "schedule: constant", "warmup_epochs: 2, min_lr: 0.001"]
)
def test_qat_falls_along_its_own_cosine_whatever_the_baseline_did(project, settings):
    project.edit("epochs: 3,", f"epochs: 3, {settings},")
    workload = opened(project)
    recipe = select(load_experiments(project.configs), "tiny/qat_int8")[0].recipe
    config = fine_tuning_config(workload.training, recipe, amp=False)
    assert (config.schedule, config.warmup_epochs, config.epochs, config.lr) == ("warmup_cosine", 0, 2, recipe.lr)
    assert config.min_lr == (0.001 if "min_lr" in settings else 0)


def test_splits_without_a_pool_have_an_empty_search_split(project):
    assert len(open_splits(opened(project).workload.config.data, "here").search) == 0
