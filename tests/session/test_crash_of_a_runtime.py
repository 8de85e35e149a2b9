"""A runtime that crashes in native code costs its own experiment, and no other."""

import pytest
from files_made_elsewhere import colours, quantized, saved

CONFIG = """\
workload:
  reference: {path: ../fp32.onnx}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 60}
  latency: {batch_size: 4, runtimes: [], rounds: 12}
experiments:
  crashing:
    recipe: {name: ready_made, path: ../int8.onnx}
    backend: {name: "crashing_backend:crashing", when: run}
    gates: {accuracy_drop_pp: 10.0}
  sound:
    recipe: {name: ready_made, path: ../int8.onnx}
    gates: {accuracy_drop_pp: 10.0}
"""


@pytest.mark.usefixtures("real_processes")
def test_its_experiment_is_an_error_and_the_others_are_measured(project, quantbench):
    saved(colours(), project.root / "fp32.onnx")
    saved(quantized(), project.root / "int8.onnx")
    (project.configs / "pair.yaml").write_text(CONFIG)
    status, out, err = quantbench("run", "pair/*")
    assert status == 2
    assert (
        "int8.onnx: backend 'crashing_backend:crashing' crashed in native code while it loaded the file or ran" in err
    )
    (row,) = [line for line in out.splitlines() if line.startswith("pair/sound")]
    assert row.split()[1] == "88.67"
    assert "pair/sound: accuracy_drop_pp: FAIL" not in err
