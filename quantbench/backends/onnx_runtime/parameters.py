"""Weights, biases and grids of a QDQ model's layers, as `quantbench.backends.insides` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantbench.backends.insides import Array, Grid, InnerLayer, Parameter
from quantbench.backends.onnx_runtime.put_back import float_parameters
from quantbench.backends.onnx_runtime.qdq_layers import PRODUCTS, QdqGraph, QdqLayer

if TYPE_CHECKING:
    from onnx import NodeProto

# Bits of types that numpy knows under other names.
SIGNED = {"int2": 2, "int4": 4, "int8": 8, "int16": 16, "int32": 32}
# Operators whose channels are the last axis of what they give.
CHANNELS_LAST = ("Gemm", "MatMul")


def inner_layer(graph: QdqGraph, layer: QdqLayer, reference: QdqGraph, twin: QdqLayer) -> InnerLayer:
    """A layer with its parameters, beside those of the reference."""
    given = float_parameters(reference, twin)
    grids = (_grid(graph, graph.nodes[each.node]) for each in layer.results)
    return InnerLayer(
        name=layer.name,
        op=layer.op,
        weight=_parameter(graph, layer, 1, given.get(1)),
        bias=_parameter(graph, layer, 2, given.get(2)),
        results=tuple(each for each in grids if each is not None),
        channels_last=layer.op in CHANNELS_LAST,
    )


def _parameter(graph: QdqGraph, layer: QdqLayer, place: int, reference: Array | None) -> Parameter | None:
    # Another operator's constant, such as a factor or a shape, is no weight, even where it is quantized.
    if layer.node is None or place not in PRODUCTS.get(layer.op, ()) or place >= len(graph.nodes[layer.node].input):
        return None
    node = graph.nodes[layer.node]
    if graph.dequantizer(node.input[place]) is None and node.input[place] not in graph.constants:
        return None
    channel = 0 if place == 2 else _channel(node)
    own = next((each for each in layer.parameters if each.place == place), None)
    if own is None:
        return Parameter.of(reference, _constant(graph, node.input[place]), None, channel)
    codes = _constant(graph, own.codes)
    grid = _grid(graph, graph.nodes[own.node], codes.ndim)
    if grid is None:
        return None
    return Parameter.of(reference, grid.scale * (codes - grid.zero_point), grid, channel)


def _channel(node: NodeProto) -> int:
    """Axis of the output channels of a weight."""
    if node.op_type == "Conv" or (node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)):
        return 0
    return 1 if node.op_type == "ConvTranspose" else -1


def _grid(graph: QdqGraph, node: NodeProto, ndim: int = 0) -> Grid | None:
    """The grid of a node that quantizes or dequantizes; None where its scale is no constant.

    Of blocks it has a scale for each value, and zero points are left out.
    """
    blocks = next((each.i for each in node.attribute if each.name == "block_size"), 0)
    if node.input[1] not in graph.constants or (blocks and len(node.input) > 2):
        return None
    scale = _constant(graph, node.input[1])
    zero_name = node.input[2] if len(node.input) > 2 else ""
    kind, zero_point = _kind(graph, node, zero_name), np.zeros(())
    if zero_name in graph.constants:
        zero_point = _constant(graph, zero_name)
    axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
    bits = SIGNED.get(kind) or SIGNED.get(kind.removeprefix("u"), 8)
    first, last = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind in SIGNED else (0, (1 << bits) - 1)
    if blocks:
        n = graph.constants[node.input[0]].dims[axis]
        return Grid(np.repeat(scale, blocks, axis).take(np.arange(n), axis), np.zeros(()), first, last)
    return Grid.of(scale, zero_point, first, last, axis if scale.size > 1 and ndim else None, ndim)


def _kind(graph: QdqGraph, node: NodeProto, zero_name: str) -> str:
    """Type of the codes."""
    from onnx import helper

    for name in (zero_name, node.input[0]):
        if name in graph.constants:
            kind = graph.constants[name].data_type
            return helper.tensor_dtype_to_np_dtype(kind).name
    return "uint8"


def _constant(graph: QdqGraph, name: str) -> Array:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(graph.constants[name]), np.float64)
