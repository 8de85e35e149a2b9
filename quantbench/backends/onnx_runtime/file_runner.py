"""A file run in a session, which can be asked which kernels ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_inputs import INTEGERS
from quantbench.backends.file_predictor import Array, TensorSpec
from quantbench.backends.onnx_file import ANY_SHAPE, Node, OnnxModel, read_onnx
from quantbench.backends.onnx_runtime.evidence import coverage_of
from quantbench.backends.onnx_runtime.session import SessionRunner, Settings, open_session

# The operators that tell the scale of integers which a file takes or gives.
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class FileRunner(SessionRunner):
    """A file's session, which can tell of its kernels.

    Args:
        path: of the file.
        settings: see `Settings`.
        output: the only one that is asked for; None for all of them.
    """

    def __init__(self, path: Path, settings: Settings, output: str | None = None) -> None:
        model = read_onnx(path)
        unranked = [name for name, words in model.inputs.items() if words.endswith(ANY_SHAPE)]
        super().__init__(open_session(path, settings, path), path, output, unranked)
        tell_scales(self, model)
        self._path, self._settings = path, settings

    def kernels(self, batches: Sequence[Sequence[Array]]) -> Coverage | None:
        """See `Runner.kernels`: a session's graph never changes, so that another one of the same file tells."""
        return coverage_of(self._path, self._settings, [dict(zip(self._names, each, strict=True)) for each in batches])


def tell_scales(runner: SessionRunner, model: OnnxModel) -> None:
    """Gives a session's integer inputs and outputs the scales that the operators beside them have."""
    takers = [(each, node) for node in model.nodes for each in node.inputs[:1]]
    makers = [(each, node) for node in model.nodes for each in node.outputs]
    runner.inputs = tuple(_scaled(spec, DEQUANTIZE, takers, model) for spec in runner.inputs)
    runner.outputs = tuple(_scaled(spec, QUANTIZE, makers, model) for spec in runner.outputs)


def _scaled(spec: TensorSpec, op: str, users: Sequence[tuple[str, Node]], model: OnnxModel) -> TensorSpec:
    """An input or output with its scale, where all that take it, or what makes it, are `op` with one constant scale.

    Args:
        spec: as the session has it.
        op: that tells the scale.
        users: names of values, each with a node that takes or makes it.
        model: of the file.
    """
    own = [node for name, node in users if name == spec.name]
    taken = sum(node.inputs.count(spec.name) for node in model.nodes) if op == DEQUANTIZE else 1
    found = {node.inputs[1:3] for node in own if node.op == op}
    if np.dtype(spec.dtype).kind not in INTEGERS or len(found) != 1 or any(node.op != op for node in own):
        return spec
    told = [model.constants.get(name) for name in found.pop() if name]
    if len(own) != taken or not all(each is not None and each.shape in ((), (1,)) for each in told):
        return spec
    scale, zero_point = [*(each.values().reshape(-1)[0] for each in told if each is not None), 0][:2]
    return replace(spec, scale=float(scale), zero_point=int(zero_point))
