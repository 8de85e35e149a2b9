"""Values of two ONNX files of one model: scales, zero points, weights and biases, by layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantbench.backends.exchange import Exchange, Value, unlike
from quantbench.backends.onnx_runtime.qdq_layers import PRODUCTS, QdqGraph
from quantbench.backends.onnx_runtime.writing import whole, write

if TYPE_CHECKING:
    from onnx import TensorProto

# Of the inputs of QuantizeLinear and DequantizeLinear.
PARTS = {1: "scale", 2: "zero point"}


class OnnxExchange(Exchange):
    """Initializers of both, matched by name.

    Args:
        base: the earlier file.
        head: the later one.
    """

    def __init__(self, base: Path, head: Path) -> None:
        from onnx import numpy_helper

        self._head_path, self._head = head, whole(head)
        graph, before = QdqGraph(self._head), QdqGraph(whole(base))
        self._base = before.constants
        self.unlike = unlike(_forms(before), _forms(graph))
        places = dict(_places(graph))
        self.values = []
        for name, tensor in graph.constants.items():
            old = self._base.get(name)
            if old is None or _form(old) != _form(tensor):
                continue
            one, other = (numpy_helper.to_array(each) for each in (old, tensor))
            if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
                layer, part = places.get(name, (name, "values"))
                self.values.append(Value(name, layer, part, one.astype(np.float64), other.astype(np.float64)))

    def with_base(self, entries: Collection[str], folder: Path) -> Path:
        """See `Exchange.with_base`."""
        made = type(self._head)()
        made.CopyFrom(self._head)
        for name, tensor in QdqGraph(made).constants.items():
            if name in entries:
                kept = tensor.name
                tensor.CopyFrom(self._base[name])
                tensor.name = kept
        path = folder / self._head_path.name
        write(made, path)
        return path


def _forms(graph: QdqGraph) -> dict[str, str]:
    nodes = {f"operator {each.name or each.output[0]}": each.op_type for each in graph.nodes}
    return nodes | {name: _form(tensor) for name, tensor in graph.constants.items()}


def _form(tensor: TensorProto) -> str:
    from onnx import TensorProto as Proto

    return f"{Proto.DataType.Name(tensor.data_type).lower()} {list(tensor.dims)}"


def _places(graph: QdqGraph) -> Iterator[tuple[str, tuple[str, str]]]:
    """Initializer → the layer and the part that it is of."""
    for layer in graph.layers:
        quantizers = [(each.node, layer.name) for each in layer.parameters]
        for result in layer.results:
            quantizers += [(at, layer.name) for at in (result.node, *result.dequantized)]
        for at, name in quantizers:
            for place, part in PARTS.items():
                if place < len(graph.nodes[at].input):
                    yield graph.nodes[at].input[place], (name, part)
        for each in layer.parameters:
            yield each.codes, (layer.name, "weights" if each.place == PRODUCTS[layer.op][0] else "bias")
        if layer.node is not None and layer.op in PRODUCTS:
            for place in PRODUCTS[layer.op]:
                inputs = graph.nodes[layer.node].input
                if place < len(inputs) and inputs[place] in graph.constants:
                    yield inputs[place], (layer.name, "weights" if place == PRODUCTS[layer.op][0] else "bias")
