"""A QDQ model with some of its layers put back to floating point: their quantizers are taken out of the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.onnx_runtime.qdq_layers import PRODUCTS, QdqGraph, QdqLayer, Results
from quantbench.errors import QuantizationError
from quantbench.registry import unknown_name

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Array = NDArray[np.float32]
# Operators that a quantizer whose lowest code is zero makes needless, so that tools drop them before it.
ACTIVATIONS = {"Relu", "Clip"}


def put_back(
    candidate: ModelProto, reference: ModelProto, layers: Collection[str], keep_shared: bool = False
) -> ModelProto:
    """A copy in which the quantizers of some layers are gone, and their weights are the reference's.

    Args:
        candidate: QDQ, with all its values.
        reference: in floating point, prepared as the candidate was before it was quantized: batch norms folded.
        layers: by the names that `QdqGraph` gives them; of inputs too.
        keep_shared: leave a quantizer of results where some layer that reads them is not put back, as a recipe does
            that leaves out layers: such a layer needs integers. False takes out what is a layer's own.

    Raises:
        QuantizationError: if there is no such layer, or nothing of the model is a pair of QDQ operators.
    """
    edited = Edited(candidate, reference)
    edited.check(layers)
    names = set(layers)
    for layer in edited.graph.layers:
        if layer.name in names:
            edited.put_back_weights(layer)
            for each in layer.results:
                if not keep_shared or _readers(edited.graph, each.dequantized) <= names:
                    edited.put_back_results(layer, each)
    return edited.model()


class Edited:
    """A copy of a QDQ model that is being edited.

    Args:
        candidate: see `put_back`.
        reference: the same.

    Attributes:
        graph: of the copy; nodes that are added stand at its end.
        reference: graph of the reference.
        twins: see `counterparts`.
    """

    def __init__(self, candidate: ModelProto, reference: ModelProto) -> None:
        self._made = type(candidate)()
        self._made.CopyFrom(candidate)
        self.graph, self.reference = QdqGraph(self._made), QdqGraph(reference)
        self.twins = counterparts(self.graph, self.reference)
        self._gone: set[int] = set()

    def check(self, layers: Iterable[str]) -> None:
        """Raises QuantizationError unless all of these are quantized layers of the model."""
        quantized = [each.name for each in self.graph.layers if each.is_quantized]
        if not quantized:
            raise QuantizationError(
                "the model has no QuantizeLinear and DequantizeLinear that could be taken out; only models in the QDQ "
                "form can be edited (onnxruntime: quant_format=QuantFormat.QDQ)"
            )
        if unknown := next((each for each in layers if each not in quantized), None):
            raise QuantizationError(unknown_name("quantized layer of the model", unknown, quantized))

    def put_back_weights(self, layer: QdqLayer) -> None:
        """Replaces a layer's integers by the reference's numbers.

        Where the reference has none of that shape its own integers stay, as real numbers.
        """
        from onnx import numpy_helper

        graph, given = self.graph, float_parameters(self.reference, self.twins.get(layer.name))
        for each in layer.parameters:
            dequantized, values = graph.nodes[each.node].output[0], given.get(each.place)
            if values is None or list(values.shape) != list(graph.constants[each.codes].dims):
                continue
            name = f"{dequantized}_put_back"
            self._made.graph.initializer.append(numpy_helper.from_array(values, name))
            graph.nodes[layer.node or 0].input[each.place] = name
            if graph.takers[dequantized] == [layer.node]:
                self._gone.add(each.node)

    def put_back_results(self, layer: QdqLayer, each: Results) -> str:
        """Takes a quantizer of results out; gives the value that is read in its place."""
        graph = self.graph
        activation = dropped_activation(graph, layer, self.reference, self.twins.get(layer.name), each.value)
        source = _with_activation(graph, self.reference, activation, each.value)
        for at in each.dequantized:
            _read_instead(graph, graph.nodes[at].output[0], source)
        if len(each.dequantized) == len(graph.takers[each.codes]):
            self._gone |= {each.node, *each.dequantized}
        return source

    def model(self) -> ModelProto:
        """The copy as it is now."""
        kept = [node for at, node in enumerate(self.graph.nodes) if at not in self._gone]
        del self._made.graph.node[:]
        self._made.graph.node.extend(_in_order(kept, self._made))
        _drop_unused(self._made)
        return self._made


def counterparts(graph: QdqGraph, reference: QdqGraph) -> dict[str, QdqLayer]:
    """Layer of a candidate → the same layer of the reference: by name, by the value's name, or by place and shape.

    A layer that has none is left out.
    """
    everything = reference.everything()
    free, values = {each.name: each for each in everything}, {each.output: each for each in everything}
    found: dict[str, QdqLayer] = {}
    for layer in graph.layers:
        for twin in (free.get(layer.name), values.get(layer.output)):
            if twin is not None and twin.op == layer.op and shape_of(graph, layer) == shape_of(reference, twin):
                found[layer.name] = twin
                break
    rest = [each for each in graph.layers if each.op in PRODUCTS and each.name not in found]
    taken = {id(each) for each in found.values()}
    others = [each for each in reference.layers if each.op in PRODUCTS and id(each) not in taken]
    shapes = [shape_of(graph, each) for each in rest], [shape_of(reference, each) for each in others]
    if shapes[0] == shapes[1]:
        found |= {each.name: other for each, other in zip(rest, others, strict=True)}
    return found


def shape_of(graph: QdqGraph, layer: QdqLayer) -> tuple[int, ...]:
    """Shape of a product's weight; empty for other layers."""
    if layer.op not in PRODUCTS or layer.node is None:
        return ()
    name = graph.nodes[layer.node].input[1]
    at = graph.dequantizer(name)
    return tuple(graph.constants[name if at is None else graph.nodes[at].input[0]].dims)


def float_parameters(reference: QdqGraph, twin: QdqLayer | None) -> dict[int, Array]:
    """Weight and bias of a layer of the reference, by their places among the inputs of its node."""
    from onnx import numpy_helper

    if twin is None or twin.node is None or twin.op not in PRODUCTS:
        return {}
    names = reference.nodes[twin.node].input
    return {
        place: numpy_helper.to_array(reference.constants[names[place]]).astype(np.float32)
        for place in PRODUCTS[twin.op]
        if place < len(names) and names[place] in reference.constants
    }


def dropped_activation(
    graph: QdqGraph, layer: QdqLayer, reference: QdqGraph, twin: QdqLayer | None, value: str
) -> NodeProto | None:
    """The activation that the reference has before a value and the candidate leaves to its quantizer."""
    own = graph.producer.get(value)
    if own is None or own != layer.node or twin is None:
        return None
    takers = reference.takers[twin.output]
    after = reference.nodes[takers[0]] if len(takers) == 1 else None
    return after if after is not None and after.op_type in ACTIVATIONS else None


def _with_activation(graph: QdqGraph, reference: QdqGraph, activation: NodeProto | None, value: str) -> str:
    """The value after an activation that is put back too."""
    if activation is None:
        return value
    node = type(activation)()
    node.CopyFrom(activation)
    node.name = f"{value}_put_back"
    node.input[0], node.output[0] = value, f"{value}_activated"
    for place, name in enumerate(node.input[1:], 1):
        if name:
            limit = graph.proto.graph.initializer.add()
            limit.CopyFrom(reference.constants[name])
            limit.name = node.input[place] = f"{node.name}_{place}"
    graph.nodes.append(node)
    return node.output[0]


def _read_instead(graph: QdqGraph, value: str, source: str) -> None:
    """Makes every taker of a value read another one; an output of the model keeps its name."""
    for at in graph.takers[value]:
        node = graph.nodes[at]
        for place, name in enumerate(node.input):
            if name == value:
                node.input[place] = source
    if any(each.name == value for each in graph.proto.graph.output):
        from onnx import helper

        graph.nodes.append(helper.make_node("Identity", [source], [value], f"{value}_put_back_output"))


def _readers(graph: QdqGraph, dequantized: Iterable[int]) -> set[str]:
    """Names of the layers that read real values, through what passes them on."""
    layers = {each.node: each.name for each in graph.layers}
    found, stack = set[str](), [graph.nodes[at].output[0] for at in dequantized]
    while stack:
        for at in graph.takers[stack.pop()]:
            if at in layers:
                found.add(layers[at])
            else:
                stack += graph.nodes[at].output
    return found


def _in_order(nodes: Sequence[NodeProto], proto: ModelProto) -> list[NodeProto]:
    """Nodes so that each stands after those it reads."""
    made = {each.name for each in (*proto.graph.input, *proto.graph.initializer)} | {""}
    waiting, ordered = list(nodes), list[Any]()
    while waiting:
        left = []
        for node in waiting:
            if made.issuperset(node.input):
                made |= set(node.output)
                ordered.append(node)
            else:
                left.append(node)
        if len(left) == len(waiting):
            raise QuantizationError(f"'{waiting[0].name}' reads a value that nothing makes")
        waiting = left
    return ordered


def _drop_unused(proto: ModelProto) -> None:
    """Takes out constants that nothing reads any more, so that the file holds each weight once."""
    used = {name for node in proto.graph.node for name in node.input} | {each.name for each in proto.graph.output}
    for each in [each for each in proto.graph.initializer if each.name not in used]:
        proto.graph.initializer.remove(each)
