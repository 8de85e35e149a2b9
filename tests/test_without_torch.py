"""Files of other runtimes are gated where torch is not installed; what needs it says so in a line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_ir
import tiny_tflite
from files_made_elsewhere import COLOURS, colours, quantized, saved

from quantbench.backends.openvino_runtime.lowering import write_ir

REPOSITORY = Path(__file__).parents[1]
# In this interpreter and in all that it starts: the libraries are not found, as if they were not installed.
HIDING = """
import sys
from importlib.machinery import PathFinder

HIDDEN = ("torch", "torchvision", "torchaudio", "torchao", "executorch", "safetensors", "onnxscript")


class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""
# Commands in one process, which takes a fraction of starting one for each.
CHILD = """
import json, os, sys
import pytest
from made_timings import Machine
from quantbench.cli import main
from quantbench.experiment import costs, run
from quantbench.session import session

told = {}
out, err = os.open("out", os.O_RDWR | os.O_CREAT), os.open("err", os.O_RDWR | os.O_CREAT)
for file, standard in ((out, 1), (err, 2)):
    os.dup2(file, standard)
for name, (command, *arguments) in json.loads(sys.argv[1]).items():
    for file in (out, err):
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
    if name == "bad onnx":
        # The real instruments were tried; from now on a speed is accepted whatever else this machine does.
        made = Machine()
        run.time_forwards, session.moment, costs.peak_memory = made.time_forwards, made.moment, made.peak_memory
    if command == "pytest":
        status = int(pytest.main(arguments))
    else:
        sys.argv = [command, *arguments]
        try:
            main()
        except SystemExit as end:
            status = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    told[name] = [status or 0, *(open(each, encoding="utf-8").read() for each in ("out", "err"))]
told["imported"] = sorted(name for name in ("torch", "safetensors") if name in sys.modules)
json.dump(told, open("told.json", "w"))
"""
FILES = """
workload:
  reference: {path: ../fp32.onnx}
  data: {name: image_folder, root: ../images, size: 8, calibration_pool: 60}
  latency: {batch_size: 4, rounds: 12, runtimes: []}
experiments:
  ready_made:
    recipe: {name: ready_made, path: ../int8.onnx}
    gates: {accuracy_drop_pp: 10, size_ratio: 0.1, int8_share: 1, speedup: 0.001}
  made_here:
    recipe: {name: static_int8, calibration_n: 32}
    backend: onnxruntime
    gates: {accuracy_drop_pp: 10}
"""
OURS = """
workload:
  model: {name: cifar_cnn}
  data: {name: image_folder, root: ../images, size: 8, calibration_pool: 60}
  baseline: ours
  training: {epochs: 1}
experiments:
  eager: {recipe: {name: static_int8}, gates: {accuracy_drop_pp: 10}}
  lowered: {recipe: {name: static_int8}, backend: onnxruntime, gates: {accuracy_drop_pp: 10}}
"""
THEIRS = """
workload:
  model: {name: "tiny_model:tiny_cnn"}
  data: {name: image_folder, root: ../images, size: 8, calibration_pool: 60}
  baseline: theirs
experiments:
  lowered: {recipe: {name: static_int8}, backend: openvino, gates: {accuracy_drop_pp: 10}}
"""
COMPARE = ("quantbench", "compare", "--max-drop", "20")
PYTEST = ("pytest", "--pyargs", "quantbench.claims", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
UPDATE = ("--experiment", "files/*", "--update-golden", "--reason", "first")
COMMANDS = {
    "help": ("quantbench", "--help"),
    "good onnx": (*COMPARE, "fp32.onnx", "int8.onnx", "--data", "images", "--json", "compared.json"),
    "openvino": (*COMPARE, "fp32/model.xml", "int8/model.xml", "--data", "ir.npz"),
    "litert": (*COMPARE, "fp32.tflite", "int8.tflite", "--data", "lite.npz"),
    "bad onnx": (*COMPARE, "fp32.onnx", "wrong.onnx", "--data", "images"),
    "inspect": ("quantbench", "inspect", "fp32.onnx", "int8.onnx"),
    "accept": (*PYTEST, *UPDATE),
    "gate": (*PYTEST, "-rs", "--allow-import", "tiny_model"),
    "run": ("quantbench", "run", "*", "--json", "records.json", "--allow-import", "tiny_model"),
    "parity": ("quantbench", "parity", "files", "ready_made", "made_here", "--experiments", "--no-speed"),
    "export": ("quantbench", "export", "files/made_here", "--out", "handed/on"),
    "nothing runs": ("quantbench", "run", "ours/*"),
    "inspect torch": ("quantbench", "inspect", "model.pt"),
    "train": ("quantbench", "train", "ours"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory, trained_project):
    """Status, standard output and standard error of each command."""
    root = tmp_path_factory.mktemp("without_torch")
    (root / "images").symlink_to(trained_project.images)
    saved(colours(), root / "fp32.onnx")
    saved(quantized(), root / "int8.onnx")
    saved(quantized(COLOURS[[1, 0, 2]]), root / "wrong.onnx")
    x = np.random.default_rng(0).normal(0, 1, (120, 3, 4, 4)).astype(np.float32)
    np.savez(root / "ir.npz", image=x, targets=tiny_ir.expected(x).argmax(1))
    last = x.transpose(0, 2, 3, 1)
    np.savez(root / "lite.npz", image=last, targets=tiny_tflite.expected(last).argmax(1))
    for name, kind in (("fp32", "float32"), ("int8", "int8")):
        write_ir(tiny_ir.ir(kind), root / name)
        tiny_tflite.write_tflite(root / f"{name}.tflite", kind, batch=-1)
    (root / "configs").mkdir()
    for name, text in (("files", FILES), ("ours", OURS), ("theirs", THEIRS)):
        (root / "configs" / f"{name}.yaml").write_text(text)
    (root / "model.pt").touch()
    hidden = tmp_path_factory.mktemp("hiding")
    (hidden / "sitecustomize.py").write_text(HIDING)
    path = os.pathsep.join(map(str, (hidden, REPOSITORY, REPOSITORY / "tests")))
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    environment = {**kept, "PYTHONPATH": path, "QUANTBENCH_CACHE": str(root / "cache"), "COLUMNS": "250"}
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(COMMANDS)], cwd=root, env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr + "".join(each.read_text() for each in root.glob("err"))
    return {"root": root, **json.loads((root / "told.json").read_text())}


def needs(library, what):
    """The end of the line about a missing library."""
    cause = f"needs {library}, which cannot be imported (No module named '{library}')"
    return f"{what}: {cause}; pip install 'quantbench-suite[torch]'"


def test_nothing_imports_it(told):
    assert told["imported"] == []
    assert told["help"][0] == 0


@pytest.mark.parametrize("name", ["good onnx", "openvino", "litert"])
def test_two_files_are_compared(told, name):
    status, out, err = told[name]
    # A busy machine takes so long that progress is shown.
    assert (status, [line for line in err.splitlines() if " ETA " not in line]) == (0, [])
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("compare/candidate  ")] == ["PASS"]


def test_a_candidate_that_loses_accuracy_fails(told):
    status, _, err = told["bad onnx"]
    assert status == 1
    assert "compare/candidate: accuracy_drop_pp: FAIL" in err


def test_the_graph_of_two_files_is_explained(told):
    status, out, _ = told["inspect"]
    assert (status, "UNEXPLAINED" in out) == (0, False)
    assert "conv: weight quantized: float32" in out


def test_a_gate_is_accepted_and_holds(told):
    assert told["accept"][0] == 0, told["accept"]
    status, out, _ = told["gate"]
    assert status == 0, out
    assert "NO BASELINE" not in out
    run = told["run"]
    assert run[0] == 0, run
    rows = [line.split() for line in run[1].splitlines() if line.startswith("files/")]
    assert [(row[0], row[-1]) for row in rows] == [("files/ready_made", "PASS"), ("files/made_here", "PASS")]


def test_two_candidates_are_compared_and_one_is_handed_on(told):
    status, out, err = told["parity"]
    assert status == 0, err
    assert "ready_made → made_here: accuracy " in out
    assert "  conv: weights: scale " in out
    status, _, err = told["export"]
    assert status == 0, err
    assert sorted(path.name for path in (told["root"] / "handed" / "on").iterdir()) == [
        "README.md", "card.json", "model.onnx", "run.py",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["gate", "run"])
def test_experiments_of_torch_models_are_not_run(told, name):
    out = told[name][1]
    model = needs("torch", "configs/ours.yaml: workload.model: model 'cifar_cnn'")
    assert f"ours: 2 experiments not run: {model}" in out.splitlines()
    own = needs("torch", "configs/theirs.yaml: workload.model: 'tiny_model:tiny_cnn'")
    assert f"theirs/lowered: not run: {own}" in out.splitlines()


def test_a_run_of_nothing_is_no_success(told):
    status, _, err = told["nothing runs"]
    assert (status, err) == (2, "quantbench: nothing was measured: the data, or a library, is not on this machine\n")


@pytest.mark.parametrize("name", ["inspect torch", "train"])
def test_a_command_that_needs_it_says_so(told, name):
    status, _, err = told[name]
    assert (status, err) == (2, f"quantbench: {needs('torch', 'the command')}\n")


def test_the_record_notes_what_is_there(told):
    files = [json.loads((told["root"] / name).read_text()) for name in ("compared.json", "records.json")]
    records = [record for file in files for record in file["records"]]
    assert [each["experiment"] for each in records] == ["compare/candidate", "files/ready_made", "files/made_here"]
    for record in records:
        versions = record["environment"]["versions"]
        assert not {"torch", "torchvision", "torchaudio"} & versions.keys()
        assert {"numpy", "onnxruntime"} <= versions.keys()
        assert record["threads"] >= 1
        assert record["checkpoint"]["reload_identical"]
        assert record["memory"]["quantized_bytes"] > 0
        assert record["latency"]["rounds"] >= 12
