"""`quantbench init`: a workload file with gates set off what was measured, its goldens, a workflow."""

import json
import sys

import jsonschema
import numpy as np
import pytest
import torch
import yaml
from files_made_elsewhere import COLOURS, colours, quantized, saved
from made_timings import beside_others, timings
from scored_models import FEATURES, linear

from quantbench.config.json_schema import schema_text

WRONG = COLOURS[[1, 0, 2]]
POOL = ("--param", "calibration_pool=60")


@pytest.fixture
def folder(project):
    """The project's folder without workload files, goldens and tests, as a newcomer has it."""
    for name in ("configs", "golden", "bench"):
        project.root.joinpath(name).rename(project.root.parent / f"{name}_of_others")
    return project.root


@pytest.fixture
def files(folder):
    saved(colours(), folder / "colours.fp32.onnx")
    saved(quantized(), folder / "colours.int8.onnx")
    return "colours.fp32.onnx", "colours.int8.onnx"


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if is_written(path)}


def is_written(path):
    return path.is_file() and not {"cache", "images"} & set(path.parts)


def read(path):
    return yaml.safe_load(path.read_text())


def test_a_pair_is_gated_off_what_was_measured_and_holds_from_then_on(folder, files, quantbench):
    status, out, err = quantbench("init", *files)
    assert (status, ": FAIL" in out + err) == (0, False), out + err
    content = read(folder / "configs" / "colours.yaml")
    gates = content["experiments"]["candidate"]["gates"]
    assert content["workload"]["reference"]["path"] == "../colours.fp32.onnx"
    assert content["workload"]["data"]["root"] == "../data/images"
    assert content["workload"]["data"]["calibration_pool"] == 239, "by which a layer is blamed"
    # 88.67 % of 150, 0.67 pp lost; files of a few hundred bytes; made times are twice as fast.
    assert 0.67 < gates["accuracy_drop_pp"] < 10
    assert gates["int8_share"] == 0.99
    assert gates["speedup"]["default"] == 1.0
    assert {1.6 < bound < 2 for name, bound in gates["speedup"].items() if name != "default"} <= {True}
    status, out, _ = quantbench("run")
    assert (status, "colours/candidate" in out, "PASS" in out) == (0, True, True)


def test_each_gate_stands_beside_what_was_measured_with_its_interval_and_n(folder, files, quantbench):
    quantbench("init", *files)
    lines = (folder / "configs" / "colours.yaml").read_text().splitlines()
    gates = lines[lines.index("    gates:") + 1 :]
    told = {line.split(":")[0].strip(): line.partition("# ")[2] for line in gates if "# " in line}
    assert set(told) == set(read(folder / "configs" / "colours.yaml")["experiments"]["candidate"]["gates"])
    assert all(words.startswith("measured ") and "n = " in words for words in told.values())
    assert "+0.67 pp [" in told["accuracy_drop_pp"]
    assert told["accuracy_drop_pp"].endswith("at 95 %, n = 150 samples")


def test_the_file_is_valid_by_the_schema_that_its_first_line_names(folder, files, quantbench):
    quantbench("init", *files)
    path = folder / "configs" / "colours.yaml"
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=quantbench.schema.json"
    schema = (folder / "configs" / "quantbench.schema.json").read_text()
    assert schema == schema_text()
    jsonschema.Draft7Validator(json.loads(schema)).validate(read(path))


def test_what_was_found_and_guessed_is_told(folder, files, quantbench):
    _, out, _ = quantbench("init", *files)
    assert "configs/colours.yaml: the name is colours (--name)" in out
    assert (
        "data: data/images, taken for image_folder: 3 classes, 150 samples to test with, 240 to calibrate with" in out
    )
    assert "guessed, since --param does not say it: size=8" in out
    assert "task: top1, since each folder is a class" in out
    assert "next: quantbench run 'colours/*'    (or: pytest --pyargs quantbench.claims)" in out


def test_nothing_that_is_there_is_written_over(folder, files, quantbench):
    assert quantbench("init", *files)[0] == 0
    before = everything(folder)
    for options, line in (
        ((), "configs/colours.yaml: is there already and is not written over; give --name another, or remove it"),
        (("--name", "other", "--ci", "github"), ".github/workflows/quantbench.yml: is there already"),
    ):
        workflow = folder / ".github" / "workflows" / "quantbench.yml"
        if "--ci" in options:
            workflow.parent.mkdir(parents=True)
            workflow.write_text("mine\n")
            before = everything(folder)
        status, _, err = quantbench("init", *files, *options)
        assert (status, line in err) == (2, True), err
        assert everything(folder) == before


def test_goldens_of_a_workload_that_is_gone_are_not_written_over(folder, files, quantbench):
    quantbench("init", *files)
    (folder / "configs" / "colours.yaml").unlink()
    status, _, err = quantbench("init", *files)
    assert (status, "is there already, of a workload 'colours' without configs/colours.yaml" in err) == (2, True)


def test_a_second_workload_is_added_beside_the_first(folder, files, quantbench):
    quantbench("init", *files)
    status, _, err = quantbench("init", *files, "--name", "second")
    assert (status, "second" in err) == (0, False)
    assert quantbench("run")[0] == 0


@pytest.mark.parametrize(
    ("service", "path"), [("github", ".github/workflows/quantbench.yml"), ("gitlab", ".gitlab-ci.yml")]
)
def test_a_workflow_installs_what_the_files_need_and_runs_the_gates(folder, files, quantbench, service, path):
    assert quantbench("init", *files, "--ci", service)[0] == 0
    text = (folder / path).read_text()
    assert yaml.safe_load(text)
    assert "pip install 'quantbench-suite[onnxruntime]'" in text
    assert "quantbench run 'colours/*' --json records.json" in text
    assert "quantbench report records.json --html report.html --junit junit.xml" in text, "to look at, pass or fail"
    assert text.count("report.html") == 2, "which is kept"


def test_an_fp32_file_alone_is_quantized_through_each_runtime_that_reads_it(folder, files, quantbench):
    status, _, err = quantbench("init", files[0], *POOL)
    assert status == 0, err
    experiments = read(folder / "configs" / "colours.yaml")["experiments"]
    assert list(experiments) == ["onnxruntime_static_int8", "openvino_static_int8"]
    assert {each["recipe"]["calibration_n"] for each in experiments.values()} == {60}
    assert all("accuracy_drop_pp" in each["gates"] for each in experiments.values())


def test_a_runtime_can_be_named_and_a_wrong_one_is_told(folder, files, quantbench):
    status, _, err = quantbench("init", files[0], "--runtime", "onnxruntim")
    assert (status, "--runtime: unknown backend 'onnxruntim'. Did you mean 'onnxruntime'?" in err) == (2, True)
    assert not (folder / "configs").exists()


def test_without_a_training_side_nothing_is_calibrated_and_that_is_told(folder, files, quantbench):
    _, out, err = quantbench("init", files[0], "--data", "data/images/test", "--runtime", "onnxruntime")
    assert "no recipe that calibrates was tried: put training samples into " in out + err


PACKAGE = {
    "__init__.py": "",
    "net.py": """\
import torch


class Colours(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


def make():
    return Colours()
""",
    "quant.py": """\
import torch


def quantize(model, batches, bits=8):
    with torch.no_grad():
        for weight in model.parameters():
            step = (weight.abs().max() / (2 ** (bits - 1) - 1)).clamp(min=1e-9)
            weight.copy_((weight / step).round() * step)
    return model
""",
}


@pytest.fixture
def package(folder):
    (folder / "their_pkg").mkdir()
    for name, text in PACKAGE.items():
        (folder / "their_pkg" / name).write_text(text)
    weights = {"conv.weight": torch.eye(3)[:, :, None, None] + 0.0123, "conv.bias": torch.zeros(3)}
    torch.save(weights, folder / "weights.pt")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "their_pkg"]:
        del sys.modules[name]


def test_a_package_with_its_own_quantize_function_is_gated(package, quantbench):
    models = ("their_pkg.net:make", "their_pkg.quant:quantize")
    status, _, err = quantbench("init", *models, "--weights", "weights.pt", "--ci", "github")
    assert status == 0, err
    content = read(package / "configs" / "their_pkg.yaml")
    assert content["workload"]["reference"] == {"path": "../weights.pt", "model": {"name": "their_pkg.net:make"}}
    assert content["workload"]["data"]["size"] == 8
    assert content["experiments"]["quantize"]["recipe"] == {"name": "function", "function": "their_pkg.quant:quantize"}
    assert "quantbench-suite[torch]" in (package / ".github" / "workflows" / "quantbench.yml").read_text()
    assert quantbench("run", "their_pkg/*")[0] == 0


def test_a_factory_alone_asks_for_its_weights_and_weights_for_a_factory(package, files, quantbench):
    status, _, err = quantbench("init", "their_pkg.net:make")
    assert (status, "name its state dict with --weights FILE" in err) == (2, True)
    status, _, err = quantbench("init", *files, "--weights", "weights.pt")
    assert (status, "colours.fp32.onnx is none" in err) == (2, True)


def test_a_candidate_that_loses_too_much_gets_no_gate(folder, files, quantbench, monkeypatch):
    monkeypatch.setattr("quantbench.session.first_gates.MOST_LOST_PP", -5.0)
    status, _, err = quantbench("init", *files)
    assert status == 2
    assert "quantbench: nothing is written:" in err
    assert "left out: candidate: it loses +0.67 pp [" in err
    assert "a gate off that would hold a broken model" in err
    assert not (folder / "configs").exists()
    assert not (folder / "golden").exists()


def test_a_candidate_that_is_no_better_than_one_answer_gets_no_gate(folder, quantbench):
    random = np.random.default_rng(0)
    x, weight = (random.normal(size=(n, m)).astype(np.float32) for n, m in ((200, FEATURES), (FEATURES, 2)))
    np.savez(folder / "numbers.npz", x=x, targets=x @ weight + random.normal(0, 0.1, (200, 2)).astype(np.float32))
    linear(folder / "fp32.onnx", weight)
    linear(folder / "int8.onnx", -weight, int8=True)
    status, _, err = quantbench("init", "fp32.onnx", "int8.onnx", "--data", "numbers.npz")
    assert status == 2
    assert "left out: candidate: mean absolute error " in err
    assert "of giving every sample one answer" in err
    assert "a gate off that would hold a broken model" in err
    assert not (folder / "configs").exists()
    assert not (folder / "golden").exists()


def test_a_candidate_that_fails_a_claim_without_a_bound_is_not_accepted(folder, files, quantbench):
    saved(quantized(WRONG), folder / "wrong.onnx")
    status, _, err = quantbench("init", files[0], "wrong.onnx")
    assert (status, "left out: candidate: answered_classes failed: " in err) == (2, True)
    assert not (folder / "golden").exists()


def test_no_speed_is_gated_or_accepted_of_a_busy_machine(folder, files, quantbench, machine):
    machine.here = [beside_others(timings(2.0))]
    status, out, err = quantbench("init", *files)
    assert status == 0, err
    assert "candidate: no gate on speed, and no speed accepted: its times are no wall times of a quiet machine" in out
    assert 'quantbench accept colours/candidate --speed-only --reason "…"' in out
    assert "speedup" not in read(folder / "configs" / "colours.yaml")["experiments"]["candidate"]["gates"]


def test_no_speed_is_gated_that_is_no_gain(folder, files, quantbench, machine):
    machine.here = [timings(0.8)]
    assert quantbench("init", *files)[0] == 0
    assert "speedup" not in read(folder / "configs" / "colours.yaml")["experiments"]["candidate"]["gates"]


def test_everything_is_measured_once(folder, files, quantbench, machine, monkeypatch):
    made, asked = machine.time_forwards, []
    monkeypatch.setattr("quantbench.experiment.run.time_forwards", lambda *a, **k: asked.append(1) or made(*a, **k))
    assert quantbench("init", *files)[0] == 0
    assert len(asked) == 1


def test_it_is_refused_in_ci(folder, files, quantbench, monkeypatch):
    monkeypatch.setenv("CI", "true")
    status, _, err = quantbench("init", *files)
    assert (status, "quantbench init is refused because CI is set" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("absent.onnx",), "absent.onnx: no such file; name a model's file, or a factory: your.module:make"),
        (("a.onnx", "b.onnx", "c.onnx"), "c.onnx: a third model"),
        (("colours.fp32.onnx", "--ci", "jenkins"), "--ci jenkins: unknown service; write one of github, gitlab"),
        (("colours.fp32.onnx", "--name", "../x"), "--name ../x: the name of a workload"),
        (("weights.tflite",), "weights.tflite: no backend quantizes a file that ends in '.tflite'"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(folder, files, quantbench, arguments, line):
    (folder / "weights.tflite").write_bytes(b"TFL3")
    status, _, err = quantbench("init", *arguments)
    assert (status, line in err) == (2, True), err


def test_data_that_cannot_be_told_is_asked_for(folder, files, quantbench):
    (folder / "more").mkdir()
    (folder / "more" / "images").symlink_to(folder / "data" / "images")
    status, _, err = quantbench("init", *files)
    assert (status, "--data: which of data/images, more/images; give a folder" in err) == (2, True)


@pytest.mark.parametrize(
    ("targets", "task", "told"),
    [("numbers", "mae", "targets are numbers with a fraction: task=mae"), ("classes", None, "task: top1, since each")],
)
def test_the_task_of_arrays_is_told_by_their_targets(folder, quantbench, targets, task, told):
    random = np.random.default_rng(0)
    x = random.normal(size=(300, FEATURES)).astype(np.float32)
    weight = (random.normal(size=(FEATURES, 6)) / 8).astype(np.float32)
    found = x @ weight + 0.1 * random.normal(size=(300, 6))
    np.savez("samples.npz", x=x, targets=found if targets == "numbers" else found.argmax(1))
    linear(folder / "fp32.onnx", weight)
    linear(folder / "int8.onnx", weight, int8=True)
    status, out, err = quantbench("init", "fp32.onnx", "int8.onnx", "--data", "samples.npz", "--name", "arrays")
    assert (status, told in out) == (0, True), err
    content = read(folder / "configs" / "arrays.yaml")
    assert content["workload"].get("task") == (task and {"name": task})
    gate = "score_drop" if task else "accuracy_drop_pp"
    assert content["experiments"]["candidate"]["gates"][gate] > 0
    assert quantbench("run")[0] == 0


def test_a_candidate_that_breaks_later_fails(folder, files, quantbench):
    quantbench("init", *files)
    saved(quantized(WRONG), folder / files[1])
    status, _, err = quantbench("run")
    assert (status, "colours/candidate: accuracy_drop_pp: FAIL" in err) == (1, True)
