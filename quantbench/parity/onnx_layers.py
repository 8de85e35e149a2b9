"""Layers of an `.onnx` file: constants behind `DequantizeLinear`, operators on integers, pairs around activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.backends.onnx_file import Node, read_onnx
from quantbench.inspect.onnx_layers import DEQUANTIZE, GIVEN, QUANTIZE, Graph
from quantbench.inspect.onnx_layers import Layer as Product
from quantbench.parity.layers import Layer, Origin, Outputs, Scale, Weights, assembled, attributed

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact

# Operators whose results have the range of what they take, or are one with the layer before them.
PASSING = {
    "BatchNormalization", "Cast", "Clip", "Dropout", "Flatten", "Identity", "MaxPool", "Pad", "Relu", "Reshape",
    "Slice", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
JOINING = {"Add", "Sub", "Mul", "Div", "Concat"}


def layers_of(artifact: Artifact) -> list[Layer]:
    """See `quantbench.parity.layers.layers_of`."""
    graph = Graph(read_onnx(artifact.path))
    weights = {each.name: own for each in graph.layers if (own := _weights(each)) is not None}
    products = {each.at: each for each in graph.layers}
    joins: dict[str, int] = {}
    outputs = list[Outputs]()
    for at, node in enumerate(graph.nodes):
        found: Outputs | None = None
        if node.op.rpartition(".")[2] == QUANTIZE and (scale := _scale(graph, node, 1)) is not None:
            found = attributed(_origin(graph, node.inputs[0], products), scale, joins)
        elif node.op in GIVEN and at in products and (scale := _scale(graph, node, GIVEN[node.op] - 1)) is not None:
            found = Outputs(products[at].name, products[at].name, scale)
        if found is not None:
            outputs.append(found)
    return assembled(weights, outputs)


def _weights(product: Product) -> Weights | None:
    weight = product.weight
    if weight.codes is None or weight.scale is None:
        return None
    return Weights(Scale.of(weight.scale, 0 if weight.zero_point is None else weight.zero_point), weight.values)


def _scale(graph: Graph, node: Node, place: int) -> Scale | None:
    """Scale and zero point at two places of a node's inputs; None where they are no constants."""
    names = (*node.inputs, "", "")[place : place + 2]
    scale, zero_point = (graph.constant(name) for name in names)
    return None if scale is None else Scale.of(scale, 0 if zero_point is None else zero_point)


def _origin(graph: Graph, value: str, products: dict[int, Product]) -> Origin:
    """The maker of a value, seen through operators that pass it on."""
    while (at := graph.producer.get(value)) is not None:
        node = graph.nodes[at]
        op = node.op.rpartition(".")[2]
        if at in products:
            return Origin("layer", products[at].name)
        if op in (QUANTIZE, DEQUANTIZE):
            return Origin("quantizer", node.name or value, _scale(graph, node, 1))
        given = [name for name in node.inputs if name and graph.constant(name) is None]
        if op in JOINING and len(given) > 1:
            return Origin("join", node.name.rpartition("/")[0])
        if op not in PASSING | JOINING or not given:
            return Origin("other", node.name or value)
        value = given[0]
    return Origin("input", value)
