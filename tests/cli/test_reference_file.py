"""Commands on a workload whose reference is a file: what needs weights says so in one line."""

import pytest
from files_made_elsewhere import colours, quantized, saved

WORKLOAD = """\
workload:
  reference: {path: ../fp32.onnx}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 60}
  latency: {runtimes: []}
experiments:
  candidate:
    recipe: {name: ready_made, path: ../int8.onnx}
    gates: {accuracy_drop_pp: 10}
  quantized:
    recipe: {name: static_int8, calibration_n: 32}
    gates: {accuracy_drop_pp: 10, int8_share: 1.0}
"""


@pytest.fixture
def workload(project):
    saved(colours(), project.root / "fp32.onnx")
    saved(quantized(), project.root / "int8.onnx")
    project.config.unlink()
    (project.configs / "file.yaml").write_text(WORKLOAD)
    return project


@pytest.mark.parametrize(
    "command", [("train", "file"), ("adopt", "file", "fp32.onnx"), ("curves", "file")], ids=lambda command: command[0]
)
def test_what_makes_or_shows_weights_needs_a_model(workload, quantbench, command):
    status, _, err = quantbench(*command)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "file.yaml: workload.reference: is a file made elsewhere, and this needs a model with its weights" in err


def test_a_reference_that_is_a_file_is_quantized_by_the_runtime_that_loads_it(workload, quantbench):
    status, out, err = quantbench("run", "file/quantized")
    assert "100.0 %" in out
    assert (status, "accuracy_drop_pp" in err, "int8_share" in err) == (1, False, False), "nothing is accepted yet"


def test_the_command_that_quantizes_writes_a_file_of_the_runtime(workload, quantbench):
    status, out, err = quantbench("quantize", "file", "--config", "static_int8_per_tensor", "--calibration-n", 32)
    assert (status, err) == (0, "")
    assert out.startswith("file-static_int8_per_tensor.onnx: ")


def test_two_experiments_share_one_reference_file(workload, quantbench):
    _, out, _ = quantbench("run", "file/*")
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["file/candidate", "file/quantized"]
