"""A QDQ file whose layers are in int8 or left in fp32: for each choice its graph is edited, and run whole."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.file_predictor import Binding, FilePredictor
from quantbench.backends.onnx_runtime.file_runner import FileRunner
from quantbench.backends.onnx_runtime.put_back import put_back, shape_of
from quantbench.backends.onnx_runtime.qdq_layers import PRODUCTS, QdqGraph, QdqLayer
from quantbench.backends.onnx_runtime.session import SessionRunner, Settings, open_session
from quantbench.backends.onnx_runtime.writing import write
from quantbench.errors import QuantizationError
from quantbench.quant.switchable import WholeLayer, WholeModel
from quantbench.temporary import temporary_folder

if TYPE_CHECKING:
    from onnx import ModelProto

REASON = "the quantizers of an .onnx file are left out of its graph, which the runtime then runs as a whole"


class Edited:
    """The file with some layers in int8, and all others as in the reference.

    Args:
        candidate: QDQ, with all its values.
        reference: in fp32, prepared as the candidate was.
        file: for messages.
        settings: of sessions.
        binding: how files are called.

    Attributes:
        layers: products whose weights are quantized, by name.
    """

    def __init__(
        self, candidate: ModelProto, reference: ModelProto, file: Path, settings: Settings, binding: Binding
    ) -> None:
        self._candidate, self._reference, self._file = candidate, reference, file
        self._settings, self._binding = settings, binding
        self.graph = QdqGraph(candidate)
        quantized = {each.name: each for each in self.graph.layers if each.is_quantized}
        self.layers = {name: each for name, each in quantized.items() if each.op in PRODUCTS and each.parameters}
        if not self.layers:
            raise QuantizationError(
                f"{file}: has no layer in int8 that could be left in fp32: no Conv, Gemm or MatMul reads the codes of "
                "a constant through DequantizeLinear; quantize in the QDQ format, by a static int8 recipe"
            )
        # Sums, pools and inputs are rounded where a layer in int8 reads them, as by a recipe that names layers.
        self._others = [name for name in quantized if name not in self.layers]
        self._kept: OrderedDict[frozenset[str], FilePredictor] = OrderedDict()

    def __call__(self, int8: frozenset[str]) -> Callable[[Inputs], Outputs]:
        """The predictor of a choice; those of one pass over all layers are kept."""
        found = self._kept.pop(int8, None)
        if found is None:
            floating = [*self._others, *(name for name in self.layers if name not in int8)]
            proto = put_back(self._candidate, self._reference, floating, keep_shared=True)
            session = open_session(proto.SerializeToString(), self._settings, self._file)
            found = FilePredictor(
                SessionRunner(session, self._file, self._binding.output), self._file.name, self._binding
            )
        self._kept[int8] = found
        if len(self._kept) > len(self.layers) + 2:
            self._kept.popitem(last=False)
        return found


def switches(edited: Edited, reference: ModelProto, settings: Settings, binding: Binding, sample: Inputs) -> WholeModel:
    """The file as a model whose layers are switched, all of them in fp32.

    Args:
        edited: see `Edited`.
        reference: in fp32, prepared.
        settings: of sessions.
        binding: how files are called.
        sample: one normalized input.

    Raises:
        MeasurementError: if the reference multiplies nothing.
    """
    macs, inputs = _macs(reference, settings, binding, sample), _input_sizes(edited, settings, binding, sample)
    layers = {
        name: WholeLayer(macs.get(name, 0), math.prod(shape_of(edited.graph, each)), inputs[name])
        for name, each in edited.layers.items()
    }
    return WholeModel(layers, edited, sum(macs.values()), REASON)


def _macs(reference: ModelProto, settings: Settings, binding: Binding, sample: Inputs) -> dict[str, int]:
    """Multiply-accumulates of each layer of the reference."""
    with temporary_folder() as folder:
        path = Path(folder) / "fp32.onnx"
        write(reference, path)
        coverage = FilePredictor(FileRunner(path, settings, binding.output), path.name, binding).kernels(sample)
    return {} if coverage is None else coverage.float_layers


def _input_sizes(edited: Edited, settings: Settings, binding: Binding, sample: Inputs) -> dict[str, int]:
    """Elements of the input of each layer, for one sample."""
    from onnx import TensorProto, helper

    graph = edited.graph
    watched = type(graph.proto)()
    watched.CopyFrom(graph.proto)
    names = {name: _input_of(graph, layer) for name, layer in edited.layers.items()}
    asked = [name for name in dict.fromkeys(names.values()) if name not in graph.inputs]
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in asked)
    size = {name: int(np.prod(array.shape)) for name, array in sample.items()}
    whole = sum(size.values())
    if not asked:
        return dict.fromkeys(names, whole)
    session = open_session(watched.SerializeToString(), settings, Path("watched.onnx"))
    free = Binding(binding.layout, None, binding.constants)
    values = FilePredictor(SessionRunner(session, Path("watched.onnx")), "watched.onnx", free)(sample)
    return {name: int(values[value].size) if value in values else whole for name, value in names.items()}


def _input_of(graph: QdqGraph, layer: QdqLayer) -> str:
    return str(graph.nodes[layer.node or 0].input[0])
