"""Quantizers of a QDQ model of ONNX, each given to one layer: the one whose values, or whose results, it rounds.

So every quantizer belongs to exactly one layer. The quantizer of a model's input belongs to that input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantbench.backends.onnx_file import ADDED

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Places of weight and bias among the inputs of operators that multiply.
PRODUCTS = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (1,)}
# Operators whose results have the range of what they take, or are one with the layer before them.
PASSING = {
    "BatchNormalization", "Cast", "Clip", "Dropout", "Flatten", "Identity", "LeakyRelu", "MaxPool", "Pad", "Relu",
    "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """A constant of a layer that is quantized.

    Attributes:
        place: among the inputs of the layer's node.
        node: index of the node that dequantizes it.
        codes: name of the initializer.
    """

    place: int
    node: int
    codes: str


@dataclass(frozen=True)
class Results:
    """One quantizer of a layer's results.

    Attributes:
        node: index of the node that quantizes.
        value: that it takes.
        codes: that it gives.
        dequantized: index of each node that makes real values of these again.
    """

    node: int
    value: str
    codes: str
    dequantized: tuple[int, ...]


@dataclass
class QdqLayer:
    """An input, or an operator, with the quantizers that are its own.

    Attributes:
        name: without what tools add to it; of an input its own.
        op: operator, or `input`.
        node: index of its node; None for an input.
        output: the value that it gives.
        parameters: its constants that are quantized.
        results: quantizers of what it gives, in the order of the graph; none where its results stay as they are.
    """

    name: str
    op: str
    node: int | None
    output: str
    parameters: list[Parameter] = field(default_factory=list)
    results: list[Results] = field(default_factory=list)

    @property
    def is_quantized(self) -> bool:
        """It has a quantizer."""
        return bool(self.parameters or self.results)


class QdqGraph:
    """Nodes of a model by what they make and take, and its layers.

    Args:
        proto: with all its values.

    Attributes:
        layers: products with constant weights, and what else has a quantizer; in the order of the graph.
    """

    def __init__(self, proto: ModelProto) -> None:
        self.proto = proto
        self.nodes: list[NodeProto] = list(proto.graph.node)
        self.constants: dict[str, TensorProto] = {each.name: each for each in proto.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        self.inputs = [each.name for each in proto.graph.input if each.name not in self.constants]
        self.producer = {name: at for at, node in enumerate(self.nodes) for name in node.output if name}
        self.takers: dict[str, list[int]] = defaultdict(list)
        for at, node in enumerate(self.nodes):
            for name in node.input:
                self.takers[name].append(at)
        self.layers = list(self._found())

    def _found(self) -> Iterator[QdqLayer]:
        layers = {name: QdqLayer(name, "input", None, name) for name in self.inputs}
        for at, node in enumerate(self.nodes):
            if node.op_type in PRODUCTS and self._constant_at(node, PRODUCTS[node.op_type][0]):
                layers[node.output[0]] = QdqLayer(name_of(node), node.op_type, at, node.output[0])
                layers[node.output[0]].parameters += self._parameters(node)
            elif node.op_type == QUANTIZE and node.input[0] not in self.constants:
                source = self.origin(node.input[0])
                if source not in layers:
                    maker = self.nodes[self.producer[source]]
                    layers[source] = QdqLayer(name_of(maker), maker.op_type, self.producer[source], source)
                back = tuple(each for each in self.takers[node.output[0]] if self.nodes[each].op_type == DEQUANTIZE)
                layers[source].results.append(Results(at, node.input[0], node.output[0], back))
        order = dict.fromkeys(self.inputs, -1) | self.producer
        return iter(sorted(layers.values(), key=lambda each: order.get(each.output, -1)))

    def everything(self) -> list[QdqLayer]:
        """Inputs and every operator, whatever is quantized of them."""
        own = {each.output: each for each in self.layers}
        nodes = (QdqLayer(name_of(node), node.op_type, at, node.output[0]) for at, node in enumerate(self.nodes))
        return [own[name] for name in self.inputs] + [own.get(each.output, each) for each in nodes]

    def origin(self, value: str) -> str:
        """The value that another one is, seen through operators that pass it on and through quantizers."""
        while (at := self.producer.get(value)) is not None:
            node = self.nodes[at]
            if node.op_type not in (*PASSING, QUANTIZE, DEQUANTIZE) or not node.input:
                return value
            value = node.input[0]
        return value

    def _constant_at(self, node: NodeProto, place: int) -> bool:
        return place < len(node.input) and (
            node.input[place] in self.constants or self.dequantizer(node.input[place]) is not None
        )

    def dequantizer(self, value: str) -> int | None:
        """Index of the node that makes a value of a quantized constant; None for any other value."""
        at = self.producer.get(value)
        if at is None or self.nodes[at].op_type != DEQUANTIZE or self.nodes[at].input[0] not in self.constants:
            return None
        return at

    def _parameters(self, node: NodeProto) -> Iterator[Parameter]:
        for place in PRODUCTS[node.op_type]:
            if place < len(node.input) and (at := self.dequantizer(node.input[place])) is not None:
                yield Parameter(place, at, self.nodes[at].input[0])


def name_of(node: NodeProto) -> str:
    """Name of the layer that a node computes, without what tools add to it; of one without a name, what it makes."""
    return ADDED.sub("", node.name) or node.output[0]
