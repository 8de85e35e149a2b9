"""Layers of an exported program in int8, each with its quantizers: of its weights, and of its results.

Every quantizer of activations belongs to the operator whose results it rounds, as in
`quantbench.backends.onnx_runtime.qdq_layers`; one whose scale is found batch by batch to the layer that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.backends.exported.graphs import layer_of
from quantbench.backends.insides import INPUT, Array, Grid, InnerLayer, Parameter
from quantbench.backends.pt2e.constants import get_constant

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule, Node

# Operators with a constant weight as their second input → axis of its output channels.
PRODUCTS = {"conv1d": 0, "conv2d": 0, "conv3d": 0, "conv_transpose2d": 1, "linear": 0}
# Operators whose results have the range of what they take, or are one with the layer before them.
PASSING = {
    "alias", "chunk", "clamp", "clone", "contiguous", "detach", "dropout", "dropout_", "expand", "flatten", "hardtanh",
    "hardtanh_", "max_pool1d", "max_pool2d", "pad", "permute", "relu", "relu6", "relu_", "reshape", "select", "slice",
    "squeeze", "to", "transpose", "unsqueeze", "view",
}  # fmt: skip
QUANTIZE, DEQUANTIZE = "quantize_per", "dequantize_per"


@dataclass
class GraphLayer:
    """An operator, or an input, with its quantizers.

    Attributes:
        name: of the layer of the model that it comes from; of one that is none, its own.
        node: of the graph.
        weight: the node that gives its weight; None for one without a constant one.
        bias: the same.
        quantizers: of its results, in the order of the graph.
        own: quantizers of its inputs, whose scale is found batch by batch.
    """

    name: str
    node: Node
    weight: Node | None = None
    bias: Node | None = None
    quantizers: list[Node] = field(default_factory=list)
    own: list[Node] = field(default_factory=list)

    @property
    def end(self) -> Node:
        """The node whose values are rounded; the layer's own where none are."""
        return self.quantizers[0].all_input_nodes[0] if self.quantizers else self.node


def layers_of(graph: GraphModule) -> dict[str, GraphLayer]:
    """Products with constant weights, and what else has a quantizer, by name, in the order of the graph."""
    names = set[str]()
    products = [node for node in graph.graph.nodes if kind_of(node) in PRODUCTS and is_constant(node.args[1])]
    found = {node: _product(node, names) for node in products}
    for node in graph.graph.nodes:
        if is_quantizer(node):
            has_scale = isinstance(node.args[1], float | int)
            source = _origin(node.args[0])
            if not has_scale:
                source = next((each for each in found if _reads(each, node)), source)
            if source not in found:
                found[source] = GraphLayer(_free(str(source.name), names), source)
            (found[source].quantizers if has_scale else found[source].own).append(node)
    order = {node: at for at, node in enumerate(graph.graph.nodes)}
    layers = sorted(found.values(), key=lambda each: order[each.node])
    return {each.name: each for each in layers}


def inner_layer(graph: GraphModule, layer: GraphLayer, twin: tuple[Array | None, Array | None]) -> InnerLayer:
    """A layer with its parameters.

    Args:
        graph: of the candidate.
        layer: of it.
        twin: weight and bias of the reference; None where they are not known.
    """
    kind = kind_of(layer.node)
    weight = bias = None
    if layer.weight is not None:
        values = values_of(graph, layer.weight)
        weight = Parameter.of(twin[0], values, _weight_grid(graph, layer.weight, values.ndim), PRODUCTS[kind])
    if layer.bias is not None:
        bias = Parameter.of(twin[1], values_of(graph, layer.bias), None, 0)
    op = INPUT if layer.node.op == "placeholder" else kind
    return InnerLayer(layer.name, op, weight, bias, tuple(_grids(layer.quantizers)), kind == "linear")


def values_of(graph: GraphModule, node: Node) -> Array:
    """Real numbers of a constant, or of one that is dequantized."""
    found: Array = tensor_of(graph, node).float().numpy().astype(np.float64)
    return found


def tensor_of(graph: GraphModule, node: Any) -> torch.Tensor:
    """The same as a tensor."""
    import torch

    if node.op == "get_attr":
        held: torch.Tensor = get_constant(graph, str(node.target)).detach()
        return held
    args = [tensor_of(graph, each) if hasattr(each, "op") else each for each in node.args]
    compute: Any = node.target
    with torch.no_grad():
        found: torch.Tensor = compute(*args, **node.kwargs)
    return found


def kind_of(node: Any) -> str:
    """Name of an operator of torch; that of the node for anything else."""
    return str(getattr(node.target, "_opname", node.name))


def is_quantizer(node: Any) -> bool:
    """A node that makes codes of values that are no constants."""
    return kind_of(node).startswith(QUANTIZE) and not is_constant(node.args[0])


def is_dequantizer(node: Any) -> bool:
    """A node that makes real numbers of codes."""
    return kind_of(node).startswith(DEQUANTIZE)


def is_constant(node: Any) -> bool:
    """A constant, or one that is dequantized."""
    if not hasattr(node, "op"):
        return False
    return node.op == "get_attr" or (is_dequantizer(node) and node.args[0].op == "get_attr")


def _product(node: Node, names: set[str]) -> GraphLayer:
    layer = GraphLayer(_free(layer_of(node) or str(node.name), names), node)
    layer.weight = node.args[1]  # type: ignore[assignment]
    if len(node.args) > 2 and is_constant(node.args[2]):
        layer.bias = node.args[2]  # type: ignore[assignment]
    return layer


def _free(name: str, taken: set[str]) -> str:
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}_{n}"
    taken.add(found)
    return found


def _reads(product: Node, quantizer: Node) -> bool:
    """A product computes on what a quantizer gives."""
    given: Any = product.args[0]
    while given.op == "call_function" and (is_dequantizer(given) or kind_of(given) in PASSING):
        given = given.args[0]
    return given is quantizer


def _origin(node: Any) -> Any:
    """The operator that a value is of, seen through those that pass it on."""
    while node.op == "call_function":
        kind = kind_of(node)
        if kind not in PASSING and not kind.startswith((QUANTIZE, DEQUANTIZE)):
            break
        node = node.args[0]
    return node


def _grids(quantizers: list[Node]) -> list[Grid]:
    """Of quantizers behind each other; of several that read one value, the first."""
    grids: list[Grid] = []
    for at, node in enumerate(quantizers):
        if at == 0 or not _reads_same(node, quantizers[0]):
            scale, zero_point, first, last = node.args[1:5]
            grids.append(Grid.of(scale, zero_point, first, last))  # type: ignore[arg-type]
    return grids


def _reads_same(node: Any, first: Any) -> bool:
    """Nothing was rounded between the value that one quantizer reads and that of another."""
    given = node.args[0]
    while given.op == "call_function" and kind_of(given) in PASSING:
        given = given.args[0]
    return given is first.args[0] or not is_dequantizer(given)


def _weight_grid(graph: GraphModule, node: Node, ndim: int) -> Grid | None:
    """The grid of dequantized codes; None for a constant of real numbers."""
    if not is_dequantizer(node):
        return None
    if "per_channel" in kind_of(node):
        scales, zeros = (tensor_of(graph, each).numpy() for each in node.args[1:3])
        axis, first, last = node.args[3:6]
        return Grid.of(scales, zeros, first, last, axis, ndim)  # type: ignore[arg-type]
    scale, zero_point, first, last = node.args[1:5]
    return Grid.of(scale, zero_point, first, last)  # type: ignore[arg-type]
