"""A QDQ file whose layers are in int8 or left in fp32: for each choice a graph of its own, which is run whole.

The graph is the reference's, with the quantizers and codes of the file around the layers that are in int8. Taking pairs
out of the file instead would not do: a product in floating point between two quantizers gets weights of 8 bits from the
runtime itself, where nobody asked for them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.file_predictor import Binding, FilePredictor
from quantbench.backends.onnx_runtime.file_runner import FileRunner
from quantbench.backends.onnx_runtime.put_back import counterparts, shape_of
from quantbench.backends.onnx_runtime.qdq_layers import DEQUANTIZE, PASSING, PRODUCTS, QUANTIZE, QdqGraph, QdqLayer
from quantbench.backends.onnx_runtime.session import SessionRunner, Settings, open_session
from quantbench.backends.onnx_runtime.writing import write
from quantbench.errors import QuantizationError
from quantbench.temporary import temporary_folder

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from quantbench.quant.switchable import WholeModel

REASON = "the quantizers of an .onnx file are left out of its graph, which the runtime then runs as a whole"


class Choices:
    """Graphs of the reference with some layers in int8.

    Args:
        candidate: QDQ, with all its values.
        reference: in fp32, prepared as the candidate was before it was quantized.
        file: of the candidate, for messages.

    Attributes:
        layers: name → the layer of the candidate, of those whose weights are quantized and that the reference has.

    Raises:
        QuantizationError: if there is none.
    """

    def __init__(self, candidate: ModelProto, reference: ModelProto, file: Path) -> None:
        self.graph, self._reference = QdqGraph(candidate), QdqGraph(reference)
        self._twins = counterparts(self.graph, self._reference)
        self.layers = {each.name: each for each in self.graph.layers if each.op in PRODUCTS and each.parameters}
        if not self.layers:
            raise QuantizationError(
                f"{file}: has no layer in int8 that could be left in fp32: no Conv, Gemm or MatMul reads the codes of "
                "a constant through DequantizeLinear; quantize in the QDQ format, by a static int8 recipe"
            )
        if strange := next((name for name in self.layers if name not in self._twins), None):
            raise QuantizationError(f"{file}: its layer '{strange}' is none of the reference; name the model it is of")

    def of(self, int8: frozenset[str]) -> ModelProto:
        """The graph with these layers in int8, and all others as in the reference."""
        proto = self._reference.proto
        made = type(proto)()
        made.CopyFrom(proto)
        before: dict[int, list[NodeProto]] = {}
        for name in sorted(int8):
            place = self._twins[name].node or 0
            before[place] = list(self._quantized(made, self.layers[name], made.graph.node[place]))
        nodes = [each for at, node in enumerate(made.graph.node) for each in (*before.get(at, ()), node)]
        del made.graph.node[:]
        made.graph.node.extend(nodes)
        return made

    def _quantized(self, made: ModelProto, layer: QdqLayer, node: NodeProto) -> Iterator[NodeProto]:
        """Makes a node read codes; gives the nodes that stand before it."""
        given = self._input_of(layer)
        if given is not None:
            codes = self._copy(made, given, QUANTIZE, f"{layer.name}:codes", node.input[0])
            rounded = self._copy(made, given, DEQUANTIZE, f"{layer.name}:rounded", codes.output[0])
            node.input[0] = rounded.output[0]
            yield from (codes, rounded)
        for each in layer.parameters:
            source = self.graph.nodes[each.node]
            value = self._copy(made, source, DEQUANTIZE, f"{layer.name}:{each.place}", "")
            node.input[each.place] = value.output[0]
            yield value

    def _input_of(self, layer: QdqLayer) -> NodeProto | None:
        """The node that dequantizes a layer's input, seen through operators that keep its range."""
        value = self.graph.nodes[layer.node or 0].input[0]
        while (at := self.graph.producer.get(value)) is not None:
            node = self.graph.nodes[at]
            if node.op_type == DEQUANTIZE:
                return node
            if node.op_type not in PASSING:
                return None
            value = node.input[0]
        return None

    def _copy(self, made: ModelProto, source: NodeProto, op: str, name: str, value: str) -> NodeProto:
        """A quantizer with constants of its own: of `value`, or of the source's own codes."""
        node = type(source)()
        node.CopyFrom(source)
        node.op_type, node.name = op, name
        del node.output[:]
        node.output.append(f"{name}:out")
        for place, constant in enumerate(source.input):
            if constant and (place or not value):
                tensor = made.graph.initializer.add()
                tensor.CopyFrom(self.graph.constants[constant])
                tensor.name = f"{name}:{place}"
                node.input[place] = tensor.name
        if value:
            node.input[0] = value
        return node


class Sessions:
    """The predictor of each choice; those of one pass over all layers are kept.

    Args:
        choices: see `Choices`.
        settings: of sessions.
        binding: how files are called.
        file: for messages.
    """

    def __init__(self, choices: Choices, settings: Settings, binding: Binding, file: Path) -> None:
        self._choices, self._settings, self._binding, self._file = choices, settings, binding, file
        self._kept: OrderedDict[frozenset[str], FilePredictor] = OrderedDict()

    def __call__(self, int8: frozenset[str]) -> Callable[[Inputs], Outputs]:
        """The predictor with these layers in int8."""
        found = self._kept.pop(int8, None) or self._opened(int8)
        self._kept[int8] = found
        if len(self._kept) > len(self._choices.layers) + 2:
            self._kept.popitem(last=False)
        return found

    def _opened(self, int8: frozenset[str]) -> FilePredictor:
        session = open_session(self._choices.of(int8).SerializeToString(), self._settings, self._file)
        return FilePredictor(SessionRunner(session, self._file, self._binding.output), self._file.name, self._binding)


def switches(
    choices: Choices, reference: ModelProto, settings: Settings, binding: Binding, sample: Inputs, file: Path
) -> WholeModel:
    """The file as a model whose layers are switched, all of them in fp32.

    Args:
        choices: see `Choices`.
        reference: in fp32, prepared.
        settings: of sessions.
        binding: how files are called.
        sample: one normalized input.
        file: for messages.

    Raises:
        MeasurementError: if the reference multiplies nothing.
    """
    from quantbench.quant.switchable import WholeLayer, WholeModel

    macs, inputs = _macs(reference, settings, binding, sample), _input_sizes(choices, settings, binding, sample)
    layers = {
        name: WholeLayer(macs.get(name, 0), math.prod(shape_of(choices.graph, each)), inputs[name])
        for name, each in choices.layers.items()
    }
    return WholeModel(layers, Sessions(choices, settings, binding, file), sum(macs.values()), REASON)


def _macs(reference: ModelProto, settings: Settings, binding: Binding, sample: Inputs) -> dict[str, int]:
    """Multiply-accumulates of each layer of the reference."""
    with temporary_folder() as folder:
        path = Path(folder) / "fp32.onnx"
        write(reference, path)
        coverage = FilePredictor(FileRunner(path, settings, binding.output), path.name, binding).kernels(sample)
    return {} if coverage is None else coverage.float_layers


def _input_sizes(choices: Choices, settings: Settings, binding: Binding, sample: Inputs) -> dict[str, int]:
    """Elements of the input of each layer, for one sample."""
    from onnx import TensorProto, helper

    graph, file = choices.graph, Path("watched.onnx")
    watched = type(graph.proto)()
    watched.CopyFrom(graph.proto)
    names = {name: graph.nodes[layer.node or 0].input[0] for name, layer in choices.layers.items()}
    asked = [name for name in dict.fromkeys(names.values()) if name not in graph.inputs]
    whole = sum(int(np.prod(array.shape)) for array in sample.values())
    if not asked:
        return dict.fromkeys(names, whole)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in asked)
    session = open_session(watched.SerializeToString(), settings, file)
    free = Binding(binding.layout, None, binding.constants)
    values = FilePredictor(SessionRunner(session, file), file.name, free)(sample)
    return {name: int(values[value].size) if value in values else whole for name, value in names.items()}
