"""A folder with a workload on numbers: an `.npz` file, and two ONNX files of one matrix, the second of them rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from files_made_elsewhere import saved
from numpy.typing import NDArray
from onnx import helper
from onnx_models import constants, model

FEATURES = 64


def linear(path: Path, weight: NDArray[np.float32], places: int | None = None, int8: bool = False) -> Path:
    """Writes the model `y = x · weight`.

    Args:
        path: of the file.
        weight: `[features, numbers]`.
        places: rows of a sample, if it has several.
        int8: the weight is kept in codes of one scale.
    """
    rows, out = weight.shape
    between = [] if places is None else [places]
    nodes, held = [], {"weight": weight}
    if int8:
        scale = np.abs(weight).max() / 127
        nodes = [helper.make_node("DequantizeLinear", ["codes", "scale"], ["weight"], "weight_d")]
        held = {"codes": np.rint(weight / scale).astype(np.int8), "scale": np.float32(scale)}
    nodes.append(helper.make_node("MatMul", ["x", "weight"], ["y"], "product"))
    inputs, outputs = {"x": ["n", *between, rows]}, {"y": ["n", *between, out]}
    return saved(model(nodes, inputs, outputs, constants(**held)), path)


def workload(
    root: Path, task: str, inputs: NDArray[np.float32], targets: NDArray[np.generic], gates: str, more: str = ""
) -> Path:
    """Writes `configs/numbers.yaml` with its data; the files of both models lie beside it as `fp32` and `int8`.

    Args:
        root: of the project.
        task: as YAML.
        inputs: `[n, …, features]`.
        targets: `[n, …]`.
        gates: as YAML.
        more: lines of the workload.
    """
    (root / "configs").mkdir(exist_ok=True)
    np.savez(root / "configs" / "samples.npz", x=inputs, targets=targets)
    path = root / "configs" / "numbers.yaml"
    path.write_text(
        f"""\
workload:
  reference: {{path: fp32.onnx}}
  data: {{name: npz, path: samples.npz}}
  task: {task}
  latency: {{batch_size: 4, runtimes: [], rounds: 12}}
{more}experiments:
  rounded:
    recipe: {{name: ready_made, path: int8.onnx}}
    gates: {gates}
""",
        encoding="utf-8",
    )
    return path
