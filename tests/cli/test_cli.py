"""The verbs of the command line that measure: what they print and write, and their exit status."""

import json
import re
from dataclasses import replace
from importlib.metadata import entry_points

import pytest
import torch
from accepting import accept, accept_checkpoint

from quantbench.cli.app import main
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Run, Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.speed import questions_of
from quantbench.records.card import BaselineCard
from quantbench.records.run import RecordFile
from quantbench.training import loop as training
from quantbench.upstream import silenced

STATIC = "tiny/ptq_static_int8_per_channel"
CONTROL_HELD = r"A/A control held in each measurement of speed: fp32 against itself was \d\.\d+× \(n=1\)"


def files(root):
    """Everything in the project beside its cache."""
    return {path for path in root.rglob("*") if path.is_file() and "cache" not in path.parts}


def test_the_console_script_is_this_main():
    (script,) = entry_points(group="console_scripts", name="quantbench")
    assert script.load() is main


def test_no_arguments_show_every_verb(quantbench):
    _, out, err = quantbench()
    assert all(verb in out + err for verb in ("list", "train", "quantize", "run", "report"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("models", {"cifar_cnn"}),
        ("recipes", {"fp32_baseline", "dynamic_int8", "static_int8_per_tensor", "static_int8_per_channel", "qat_int8"}),
        ("data", {"shapes", "cifar10", "image_folder"}),
        ("backends", {"eager", "low_bit"}),
        ("tasks", {"top1"}),
        ("experiments", {"tiny/fp32_baseline", "tiny/ptq_dynamic_int8", STATIC, "tiny/qat_int8"}),
    ],
)
def test_list_names_one_kind_one_a_line(quantbench, project, kind, expected):
    status, out, _ = quantbench("list", kind)
    assert status == 0
    assert expected <= set(out.splitlines())


def test_list_without_a_kind_names_all_of_them(quantbench, project):
    _, out, _ = quantbench("list")
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert heads == ["models:", "recipes:", "data:", "backends:", "tasks:", "quantities:", "experiments:"]
    assert f"  {STATIC}" in out.splitlines()


def test_list_refuses_another_kind_with_those_that_exist(quantbench):
    status, _, err = quantbench("list", "recipe")
    assert status == 2
    assert "'models', 'recipes', 'data', 'backends', 'tasks', 'quantities', 'experiments'" in err


def test_train_writes_weights_and_card_and_prints_the_accuracy_with_its_interval(quantbench, project):
    before = project.weights.read_bytes()
    project.weights.unlink()
    project.weights.with_suffix(".json").unlink()
    status, out, _ = quantbench("train", "tiny")
    card = BaselineCard.model_validate_json(project.weights.with_suffix(".json").read_text())
    assert status == 0
    assert out.startswith(f"golden/baselines/tiny.safetensors: accuracy {100 * card.accuracy:.2f} % [")
    assert out.endswith("] (n=150)\n")
    assert card.command == "quantbench train configs/tiny.yaml"
    assert project.weights.read_bytes() == before, "the same seed gives the same weights"


def test_a_training_that_was_killed_continues_and_ends_with_the_same_weights(quantbench, project, monkeypatch):
    before = project.weights.read_bytes()
    one_epoch, epochs = training._epoch, []

    def killed(*args):
        if len(epochs) == 2:
            raise KeyboardInterrupt
        epochs.append(args)
        return one_epoch(*args)

    monkeypatch.setattr(training, "_epoch", killed)
    status, _, _ = quantbench("train", "configs/tiny.yaml")
    assert status != 0
    assert project.weights.read_bytes() == before, "a killed training replaces nothing"
    seen = []
    monkeypatch.setattr(training, "_epoch", lambda *args: seen.append(args) or one_epoch(*args))
    assert quantbench("train", "configs/tiny.yaml")[0] == 0
    assert len(seen) == 1
    assert project.weights.read_bytes() == before


def test_quantize_writes_a_checkpoint_that_opens_without_running_code(quantbench, project):
    status, out, _ = quantbench("quantize", "tiny", "--config", "static_int8_per_channel", "--calibration-n", "20")
    assert status == 0
    path = project.root / "tiny-static_int8_per_channel.pt"
    with silenced():
        state = torch.load(path, weights_only=True)
    assert state["conv.weight"].dtype is torch.qint8
    assert state["conv.weight"].qscheme() is torch.per_channel_affine
    assert out.startswith(f"tiny-static_int8_per_channel.pt: {path.stat().st_size:,} bytes, ")


def test_quantize_writes_where_it_is_told_and_the_same_bytes_again(quantbench, project):
    for name in ("a", "b"):
        assert quantbench("quantize", "tiny", "--config", "dynamic_int8", "--out", f"new/{name}.pt")[0] == 0
    assert (project.root / "new/a.pt").read_bytes() == (project.root / "new/b.pt").read_bytes()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("tiny", "--config", "static_int8_per_channel", "--calibration-n", "0"), "calibration_n: * greater than 0"),
        (
            ("tiny", "--config", "static_int8_per_channel", "--calibration-n", "61"),
            "calibration_n: 61 samples asked for",
        ),
        (("tiny", "--config", "dynamic_int8", "--calibration-n", "9"), "unknown parameter*'calibration_n'"),
        (("tiny", "--config", "dynamic_int9"), "unknown recipe 'dynamic_int9'. Did you mean 'dynamic_int8'? Known: "),
        (("tinny", "--config", "dynamic_int8"), "configs: unknown workload 'tinny'. Did you mean 'tiny'? Known: tiny"),
        (("tiny", "--config", "qat_int8"), "tiny.qat_int8.safetensors: no such file"),
        (("tiny", "--config", "dynamic_int8", "--engine", "x87"), "x87"),
        (("tiny", "--config", "dynamic_int8", "--out", "configs"), "configs: Is a directory"),
    ],
)
def test_quantize_ends_a_mistake_with_one_line_and_leaves_no_file(quantbench, project, args, message):
    before = files(project.root)
    status, out, err = quantbench("quantize", *args)
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("quantbench: ")
    for part in message.split("*"):
        assert part in err
    assert files(project.root) == before


def test_run_that_holds_every_gate_ends_with_0_and_writes_its_record(quantbench, project):
    # Small forwards on a busy machine: that each claim is made is asked here, not how fast they are.
    project.edit("rounds: 12}", "rounds: 40}\n  regression: {accuracy_pp: 3.0, speedup: 0.9}")
    # What was accepted is a gate too, and is accepted by the test suite only.
    accepted = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
    accept_checkpoint(accepted)
    accepted.time_forwards(questions_of(accepted))
    accept(accepted, "as it was trained", predictions=True, speed=True)
    status, out, err = quantbench("run", STATIC, "--json", "out/record.json")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split()[0] == STATIC
    assert out.splitlines()[1].split()[-1] == "PASS"
    assert out.splitlines()[2].startswith("2 gates judged by intervals: a FAIL needs its whole ")
    assert re.fullmatch(CONTROL_HELD, out.splitlines()[3])
    (record,) = RecordFile.model_validate_json((project.root / "out/record.json").read_text()).records
    assert record.command == f"quantbench run {STATIC} --json out/record.json"
    assert {v.outcome for v in record.verdicts} == {"PASS"}
    assert None not in (record.accuracy, record.size, record.coverage, record.checkpoint, record.latency)


def test_run_ends_with_1_and_an_explanation_when_a_gate_fails(quantbench, project):
    status, out, err = quantbench("run", "tiny/ptq_dyn*")
    assert status == 1
    assert out.splitlines()[1].endswith("FAIL, no baseline")
    assert "no golden tiny/ptq_dynamic_int8.json was ever accepted" in err
    assert "pytest bench --experiment tiny/ptq_dynamic_int8 --update-golden" in err


def test_run_keeps_what_it_measured_when_another_experiment_cannot_be(quantbench, project):
    status, out, err = quantbench("run", "tiny/*", "--json", "records.json")
    assert status == 2
    assert "quantbench: tiny/qat_int8: golden/baselines/tiny.qat_int8.safetensors: no such file" in err
    records = json.loads((project.root / "records.json").read_text())["records"]
    assert [record["experiment"] for record in records] == ["tiny/fp32_baseline", "tiny/ptq_dynamic_int8", STATIC]
    assert all(record["experiment"] in out for record in records)


def test_quantize_refuses_an_artifact_of_several_files_and_drops_none(quantbench, project, monkeypatch):
    whole = Run.artifact.fget

    def in_two_files(run):
        artifact = whole(run)
        return replace(artifact, files=(artifact.path, artifact.path.with_suffix(".bin")))

    monkeypatch.setattr(Run, "artifact", property(in_two_files))
    code, _, err = quantbench("quantize", "tiny", "--config", "static_int8_per_channel", "--out", "out.pt")
    assert code == 2
    assert "its artifact is 2 files, and this command writes one; copy them from " in err
    assert err.rstrip().endswith("checkpoint.pt, checkpoint.bin")
    assert not (project.root / "out.pt").exists()
