"""Everything but backend `eager` works where torch.ao and torch's quantized tensors are gone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CONFIG, copied
from quantbench.report.documents import read_with_errors

REPOSITORY = Path(__file__).parents[1]
# Refused to all but torch and the libraries that are released against it: torchao 0.18 itself imports parts of
# torch.ao, and so do torchvision and torch's own compiler, which will move with it.
CHILD = """
import builtins, importlib, importlib.abc, json, os, sys

GONE = ("torch.ao.quantization", "torch.ao.nn", "torch.ao.ns", "torch.quantization", "torch.nn.quantized",
        "torch.nn.intrinsic", "torch.nn.qat")
OURS = ("quantbench", "bench", "tiny_model", "tiny_residual", "conftest", "__main__")


def is_gone(name):
    return any(name == each or name.startswith(each + ".") for each in GONE)


def refuse(name):
    raise ModuleNotFoundError(f"No module named '{name}'", name=name)


real_import, real_module = builtins.__import__, importlib.import_module


def refusing_import(name, globals=None, locals=None, fromlist=(), level=0):
    asker = str((globals or {}).get("__name__", "")).partition(".")[0]
    if asker in OURS and level == 0:
        for each in (name, *(f"{name}.{part}" for part in fromlist or ())):
            if is_gone(each):
                refuse(each)
    return real_import(name, globals, locals, fromlist, level)


def refusing_module(name, package=None):
    asker = str(sys._getframe(1).f_globals.get("__name__", "")).partition(".")[0]
    return refuse(name) if asker in OURS and is_gone(name) else real_module(name, package)


builtins.__import__, importlib.import_module = refusing_import, refusing_module

import torch
import torchao.quantization.pt2e.quantize_pt2e
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer


def hide(module, *names):
    # Torch itself and the libraries beside it still ask for them.
    hidden = {name: vars(module).pop(name) for name in names}

    class Hiding(type(module)):
        def __getattr__(self, name):
            asker = str(sys._getframe(1).f_globals.get("__name__", "")).partition(".")[0]
            if name in hidden and asker not in OURS:
                return hidden[name]
            raise AttributeError(f"module '{module.__name__}' has no attribute '{name}'")

    module.__class__ = Hiding


hide(torch, "qint8", "quint8", "qint32", "quint4x2", "quint2x4", "quantize_per_tensor", "quantize_per_channel",
     "quantize_per_tensor_dynamic", "dequantize", "per_channel_affine_float_qparams", "quantization")
hide(torch.backends, "quantized")

import pytest
from pathlib import Path
from quantbench.backends.module import ModulePredictor
from quantbench.backends.pt2e.backend import Pt2eBackend
from quantbench.backends.pt2e.compiling import read_program
from quantbench.cli import main

# Compiling is no part of this.
Pt2eBackend.load = lambda _, artifact, threads: ModulePredictor(read_program(Path(artifact.path)).module(), threads)

told = {}
out, err = os.open("out", os.O_RDWR | os.O_CREAT), os.open("err", os.O_RDWR | os.O_CREAT)
for file, standard in ((out, 1), (err, 2)):
    os.dup2(file, standard)
for name, (command, *arguments) in json.loads(sys.argv[1]).items():
    for file in (out, err):
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
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
json.dump(told, open("told.json", "w"))
"""
MORE = """\
  ort:
    recipe: {name: static_int8, calibration_n: 32}
    backend: onnxruntime
    gates: {accuracy_drop_pp: 10, size_ratio: 0.01}
  ov:
    recipe: {name: static_int8, calibration_n: 32}
    backend: openvino
    gates: {accuracy_drop_pp: 10, size_ratio: 0.01}
  exported:
    recipe: {name: static_int8, calibration_n: 32}
    backend: pt2e
    gates: {accuracy_drop_pp: 10, size_ratio: 0.01}
  low:
    recipe: {name: low_bit, epochs: 2}
    backend: low_bit
    gates: {accuracy_drop_pp: 30, size_ratio: 0.01}
"""
# No fresh process, and nothing is timed.
CLAIMS = "accuracy_drop or card or int8 or size"
OTHERS = ("ort", "ov", "exported", "low")
EAGER = ("dynamic_int8", "static_int8_per_channel")
PYTEST = ("pytest", "--pyargs", "quantbench.claims", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
ALLOW = ("--allow-import", "tiny_model")
COMMANDS = {
    "list": ("quantbench", "list", *ALLOW),
    "collect": (*PYTEST, "--co", *ALLOW),
    "baseline": ("quantbench", "train", "tiny", *ALLOW),
    "train": (*PYTEST, *ALLOW, "--experiment", "tiny/low", "--retrain", "-k", "accuracy_drop"),
    "run": (*PYTEST, *ALLOW, "--experiment", "*", "-k", CLAIMS, "--json", "records.json"),
    "search": ("quantbench", "sensitivity", "tiny/low", "--out", "searched", *ALLOW),
    "report": ("quantbench", "report", "records.json", "--out", "report"),
}


@pytest.fixture(scope="module")
def told(trained_project, tmp_path_factory):
    """Status, standard output and standard error of each command."""
    root = tmp_path_factory.mktemp("without_torch_ao") / "project"
    with pytest.MonkeyPatch.context() as patch:
        project = copied(trained_project, root, patch)
        config = CONFIG.partition("  qat_int8")[0] + MORE
        project.config.write_text(config.replace("calibration_pool: 60}", "calibration_pool: 60, search_pool: 40}"))
        path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests")))
        kept = {name: value for name, value in os.environ.items() if name != "CI"}
        child = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(COMMANDS)],
            cwd=root, env={**kept, "PYTHONPATH": path, "COLUMNS": "250"}, capture_output=True, text=True,
        )  # fmt: skip
    assert child.returncode == 0, child.stderr + "".join(each.read_text() for each in root.glob("err"))
    return {"root": root, **json.loads((root / "told.json").read_text())}


def measured(told):
    """Experiment → its verdicts by quantity; experiment → its error."""
    records, errors = read_with_errors([told["root"] / "records.json"])
    found = {each.experiment: {one.quantity: one.outcome for one in each.verdicts} for each in records}
    return found, {each.experiment: each.reason for each in errors}


def test_experiments_are_listed_and_collected(told):
    assert told["list"][0] == 0, told["list"]
    assert "tiny/exported" in told["list"][1]
    assert told["collect"][0] == 0, told["collect"]


def test_experiments_of_eager_end_as_an_error_with_what_to_use_instead(told):
    errors = measured(told)[1]
    assert told["run"][0] != 0
    assert errors.keys() == {f"tiny/ptq_{name}" for name in EAGER}
    for message in errors.values():
        assert message.startswith("backend 'eager' is torch.ao.quantization, which torch 2")
        assert "set backend: pt2e or onnxruntime, which run most of its recipes" in message


def test_the_others_go_on(told):
    assert told["baseline"][0] == told["train"][0] == 0, (told["baseline"], told["train"])
    found = measured(told)[0]
    assert found["tiny/fp32_baseline"]["card_drift_pp"] == "PASS"
    assert {name: found[f"tiny/{name}"]["accuracy_drop_pp"] for name in OTHERS} == dict.fromkeys(OTHERS, "PASS")


def test_layers_are_switched_and_what_was_recorded_is_reported(told):
    assert told["search"][0] == 0, told["search"]
    assert told["report"][0] == 0, told["report"]
