"""Files of LiteRT that are not what they should be: one line each."""

import os
import subprocess
import sys

import pytest
from tiny_tflite import Builder, write_tflite

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.backends.litert_runtime import tflite_file
from quantbench.backends.litert_runtime.backend import files_of
from quantbench.errors import CheckpointError
from quantbench.recipes.spec import Fp32

SPEC = BackendSpec("litert", {}, "here")


@pytest.fixture
def model(tmp_path):
    return write_tflite(tmp_path / "a.tflite")


def refusal(path, step="load"):
    backend, artifact = SPEC.create(), Artifact.of_files(SPEC, [path], Fp32())
    with pytest.raises(CheckpointError) as error:
        backend.load(artifact, 1) if step == "load" else backend.describe(artifact)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_is_one_file(model):
    assert files_of(model) == (model,)


@pytest.mark.parametrize("step", ["load", "describe"])
@pytest.mark.parametrize("left", [9, 100, 1000, 3000])
def test_a_file_that_is_cut_short_says_so(model, left, step):
    model.write_bytes(model.read_bytes()[:left])
    assert refusal(model, step) == f"{model}: is cut short or damaged; copy or convert it again"


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" * 40, b"\0" * 200])
def test_another_format_is_refused(model, content):
    model.write_bytes(content)
    assert refusal(model) == f"{model}: is no .tflite file: it lacks the mark TFL3 of that format"


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.tflite: no such file"):
        files_of(tmp_path / "none.tflite")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tflite")
    with pytest.raises(CheckpointError, match=r"a\.tflite: cannot be read \(is a named pipe"):
        files_of(tmp_path / "a.tflite")


def test_a_file_larger_than_the_format_allows_is_not_read(model, monkeypatch):
    monkeypatch.setattr(tflite_file, "LARGEST", 1000)
    assert "a .tflite file of more than 1,000 is not read" in refusal(model)


def test_a_newer_format_asks_for_an_update(tmp_path):
    path = write_tflite(tmp_path / "a.tflite", schema_version=9)
    assert "is of a version of the format that ai-edge-litert" in refusal(path)


def test_a_newer_operator_asks_for_an_update(tmp_path):
    path = write_tflite(tmp_path / "a.tflite", operator_version=99)
    assert "needs a newer operator" in refusal(path)
    assert "'CONV_2D' version '99'" in refusal(path)


def test_a_custom_operator_is_named(tmp_path):
    b = Builder()
    x, y = b.tensor("x", [1, 3]), b.tensor("y", [1, 3])
    b.operator("CUSTOM", [x], [y], custom="Sparkle")
    told = refusal(b.written(tmp_path / "a.tflite", [x], [y]))
    assert "has an operator of its own" in told
    assert "custom op: Sparkle" in told


@pytest.mark.parametrize("step", ["load", "describe"])
def test_values_behind_all_else_that_are_cut_off_are_told(tmp_path, step):
    path = write_tflite(tmp_path / "a.tflite", outside=True)
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path, step)


def test_a_tensor_of_any_size_is_not_allocated(tmp_path):
    b = Builder()
    x, y = b.tensor("x", [1, 100000, 100000]), b.tensor("y", [1, 100000, 100000])
    b.operator("ABS", [x], [y])
    assert "of shape [1, 100000, 100000] has 10,000,000,000 values" in refusal(
        b.written(tmp_path / "a.tflite", [x], [y])
    )


def test_an_input_that_is_no_number_is_refused(tmp_path):
    b = Builder()
    x, y = b.tensor("words", [1], "STRING"), b.tensor("y", [1], "STRING")
    b.operator("RESHAPE", [x], [y], b.schema.ReshapeOptionsT(newShape=[1]))
    assert "'words' holds" in refusal(b.written(tmp_path / "a.tflite", [x], [y]))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_positive_number_is_refused(tmp_path, scale):
    b = Builder()
    x = b.tensor("x", [1, 3], "INT8", scale=[scale], zeroPoint=[0])
    y = b.tensor("y", [1, 3], "INT8", scale=[1.0], zeroPoint=[0])
    b.operator("RESHAPE", [x], [y], b.schema.ReshapeOptionsT(newShape=[1, 3]))
    assert refusal(b.written(tmp_path / "a.tflite", [x], [y]))


def test_the_runtime_writes_nothing_to_the_terminal_by_itself(model, capfd):
    code = "from quantbench.backends.litert_runtime.tflite_file import open_tflite; import sys, pathlib; "
    code += "open_tflite(pathlib.Path(sys.argv[1]), 1, 'xnnpack'); print('said', file=sys.stderr)"
    subprocess.run([sys.executable, "-c", code, str(model)], check=True)
    assert capfd.readouterr() == ("", "said\n")


FUZZ = """
import sys
from pathlib import Path
from random import Random
from quantbench.backends.litert_runtime.backend import litert
from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.errors import QuantbenchError
from quantbench.recipes.spec import Fp32

path = Path(sys.argv[1])
whole, random, refused = path.read_bytes(), Random(0), 0
spec = BackendSpec("litert", {"delegate": "none"}, "here")
for _ in range(150):
    damaged = bytearray(whole)
    for _ in range(random.randint(1, 4)):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    path.write_bytes(damaged)
    artifact = Artifact.of_files(spec, [path], Fp32())
    try:
        spec.create().load(artifact, 1)
        spec.create().describe(artifact)
    except QuantbenchError as error:
        assert "\\n" not in str(error)
        refused += 1
print("refused", refused)
"""


def test_damaged_bytes_end_in_a_line_or_in_a_model(model):
    """In a process of its own, which a crash in native code would end."""
    done = subprocess.run([sys.executable, "-c", FUZZ, str(model)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 30
