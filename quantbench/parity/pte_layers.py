"""Layers of a `.pte` file: constants of what XNNPACK multiplies, and the scales of what its operators give.

Its files name layers that multiply, where quantbench wrote them, and no modules; where results meet they go by the
number of their operator.
"""

from __future__ import annotations

import struct
from collections import Counter
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from quantbench.backends.executorch_runtime.kernels import OUTSIDE, PRODUCTS, bare, products_of
from quantbench.backends.executorch_runtime.pte_file import read_pte
from quantbench.backends.executorch_runtime.xnnpack_graph import Graph, Node, Value
from quantbench.parity.layers import Floats, Layer, Origin, Outputs, Scale, Weights, assembled, attributed

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact

PASSING = (
    "Convert", "MaxPooling2d", "ArgMaxPooling2d", "StaticTranspose", "StaticReshape", "StaticConstantPad",
    "StaticSlice", "Copy", "Clamp",
)  # fmt: skip
# The same of ExecuTorch's own kernels.
OWN_PASSING = {
    "permute", "view", "squeeze", "unsqueeze", "slice", "clone", "relu", "clamp", "hardtanh", "constant_pad_nd",
    "_to_dim_order", "_clone_dim_order", "expand", "flatten", "max_pool2d_with_indices", "quantize_per_tensor",
    "dequantize_per_tensor",
}  # fmt: skip
# Place of the weights among the values of an operator that multiplies.
WEIGHT = 1
CODES = {"int8": np.int8, "uint8": np.uint8}
# Axes of weights in the file → outputs, inputs of a group, places.
ORDER = {"Conv2d": (0, 3, 1, 2), "ConvTranspose2d": (0, 3, 1, 2), "DepthwiseConv2d": (3, 0, 1, 2)}
PER_TENSOR, FLOAT_BYTES = struct.Struct("<fi"), 4


def layers_of(artifact: Artifact) -> list[Layer]:
    """See `quantbench.parity.layers.layers_of`."""
    file = read_pte(artifact.path)
    layers = iter([each.layer for each in products_of(file)[0]])
    counts = Counter[str]()
    weights: dict[str, Weights] = {}
    outputs: list[Outputs] = []
    # Of values of the method, which are handed from part to part.
    made = dict.fromkeys(file.method.inputs, Origin("input", "input"))
    for call in file.method.calls:
        if call.graph is None:
            name = bare(call.operator)
            label = next(layers, name) if name in OUTSIDE else f"{name}_{call.at}"
            is_passing = name in OWN_PASSING and call.args and call.args[0] in made
            made |= dict.fromkeys(call.args[-1:], made[call.args[0]] if is_passing else Origin("other", label))
            continue
        given = zip(call.graph.inputs, call.args, strict=False)
        origins = {place: made.get(at, Origin("other", f"value_{at}")) for place, at in given}
        for node in call.graph.nodes:
            counts[node.kind] += 1
            label = f"{node.kind.lower()}_{counts[node.kind]}"
            label = next(layers, label) if node.kind in PRODUCTS else label
            if node.kind in PRODUCTS and (found := _weights(node, call.graph)) is not None:
                weights[label] = found
            origins[node.output] = _noted(outputs, _origin(node, label, call.graph, origins), call.graph, node)
        results = call.args[len(call.graph.inputs) :]
        made |= {at: origins[place] for place, at in zip(call.graph.outputs, results, strict=False) if place in origins}
    return assembled(weights, outputs)


def _noted(outputs: list[Outputs], origin: Origin, graph: Graph, node: Node) -> Origin:
    """Notes the scale of a result, where it has one of its own; gives the result's origin."""
    scale = _scale(graph.values[node.output])
    if scale is None:
        return origin
    if (found := attributed(origin, scale, {})) is not None:
        outputs.append(found)
    return Origin("quantizer", origin.name, scale)


def _origin(node: Node, label: str, graph: Graph, origins: dict[int, Origin]) -> Origin:
    """The maker of an operator's result, seen through operators that pass values on."""
    if node.kind in PRODUCTS:
        return Origin("layer", label)
    given = [each for each in node.inputs if (value := graph.values.get(each)) is not None and value.values is None]
    if node.kind in PASSING and given and given[0] in origins:
        return origins[given[0]]
    return Origin("other", label)


def _scale(value: Value) -> Scale | None:
    """The scale of a value that is no constant; None where it is not quantized."""
    if value.values is not None or value.axis is not None or len(value.scales) != PER_TENSOR.size:
        return None
    return Scale.of(*PER_TENSOR.unpack(value.scales))


def _weights(node: Node, graph: Graph) -> Weights | None:
    """The weights of an operator; None where they are not 8-bit codes with a scale each, or for each output."""
    value = graph.values.get(node.inputs[WEIGHT]) if len(node.inputs) > WEIGHT else None
    if value is None or value.values is None or value.dtype not in CODES or value.is_blockwise or not value.scales:
        return None
    shape, axis = value.shape, value.axis
    codes = np.frombuffer(value.values, CODES[value.dtype])
    order = ORDER.get(node.kind, tuple(range(len(shape))))
    if codes.size != prod(shape) or len(order) != len(shape):
        return None
    if axis is None:
        found = Scale.of(*PER_TENSOR.unpack(value.scales))
    elif not 0 <= axis < len(shape) or len(value.scales) != FLOAT_BYTES * shape[axis]:
        return None
    else:
        found = Scale.of(np.frombuffer(value.scales, "<f4"), value.zero_point)
    along = [size if at == axis else 1 for at, size in enumerate(shape)]
    real = codes.reshape(shape).astype(np.float64) - found.zero_point.reshape(along)
    values: Floats = real * found.scale.reshape(along)
    return Weights(found, values.transpose(order))
