"""Layers of a file of ONNX: its products with constant weights, float or quantized, in one form to be compared."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.onnx_description import SCALED
from quantbench.backends.onnx_file import Node, OnnxModel, layer_name

Floats = NDArray[np.float64]
# Operators in floating point: operator → places of weight and bias.
FLOAT = {
    "Conv": (1, 2),
    "com.microsoft.FusedConv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1, None),
}
# Operators on integers: operator → places of weight, scale, zero point and bias.
INTEGER = {
    "QLinearConv": (3, 4, 5, 8),
    "com.microsoft.QGemm": (3, 4, 5, 6),
    "QLinearMatMul": (3, 4, 5, None),
    "com.microsoft.DynamicQuantizeMatMul": (1, 2, 3, 4),
    "com.microsoft.MatMulIntegerToFloat": (1, 3, 5, 6),
    "ConvInteger": (1, None, 3, None),
    "MatMulInteger": (1, None, 3, None),
}
# Place of the zero point of what they give.
GIVEN = {"QLinearConv": 7, "QLinearMatMul": 7, "com.microsoft.QGemm": 8}
# Products whose weight is `[inputs, outputs]`, unless it is transposed.
INPUTS_FIRST = {name for name in (*FLOAT, *INTEGER) if "MatMul" in name or "Gemm" in name}
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@dataclass
class Weight:
    """Constant values of a layer.

    Attributes:
        key: of the constant.
        values: real values; output channels first.
        codes: the integers, if it is quantized.
        scale: of the codes, in a shape that meets them.
        zero_point: the same.
    """

    key: str
    values: Floats
    codes: Floats | None = None
    scale: Floats | None = None
    zero_point: Floats | None = None


@dataclass
class Layer:
    """A product with a constant weight.

    Attributes:
        name: of its node, without what tools add to it.
        op: of its node.
        at: place of its node.
        weight: see `Weight`.
        bias: of each output channel; None without one.
        nodes: places of all nodes that belong to it.
        keys: names of all constants that belong to it.
    """

    name: str
    op: str
    at: int
    weight: Weight
    bias: Weight | None = None
    nodes: set[int] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


class Graph:
    """A model's nodes with their neighbours, by their places."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.nodes = model.nodes
        self.producer = {name: at for at, node in enumerate(model.nodes) for name in node.outputs if name}
        self.consumers: dict[str, list[int]] = {}
        for at, node in enumerate(model.nodes):
            for name in node.inputs:
                self.consumers.setdefault(name, []).append(at)
        self.layers = [layer for at in range(len(model.nodes)) if (layer := self._layer(at)) is not None]

    def next_of(self, at: int, op: str | None = None) -> int | None:
        """The only node that takes the first output of a node; None if there are others, or it is another operator."""
        found = self.consumers.get(self.nodes[at].outputs[0], [])
        return found[0] if len(found) == 1 and op in (None, self.nodes[found[0]].op) else None

    def constant(self, name: str) -> Floats | None:
        """Values of a constant; None for what is none."""
        tensor = self.model.constants.get(name)
        if tensor is None or tensor.dtype == "string":
            return None
        return tensor.values().astype(np.float64)

    def _layer(self, at: int) -> Layer | None:
        node = self.nodes[at]
        if node.op not in FLOAT and node.op not in INTEGER:
            return None
        used: set[int] = {at}
        keys: set[str] = set()
        weight = self._weight(node, used, keys)
        if weight is None or weight.values.ndim < 2:
            return None
        self._orient(node, weight)
        if node.op in INTEGER:
            # Scales of what it takes and gives, too.
            keys |= {name for name in node.inputs if name in self.model.constants}
        layer = Layer(layer_name(node), node.op, at, weight, None, used, keys)
        layer.bias = self._bias(node, layer)
        if node.op in ("ConvInteger", "MatMulInteger"):
            self._rescaled(layer)
        return layer

    def _weight(self, node: Node, used: set[int], keys: set[str]) -> Weight | None:
        if node.op in FLOAT:
            return self._value(_input(node, FLOAT[node.op][0]), used, keys)
        place, scale, zero_point, _ = INTEGER[node.op]
        codes = self.constant(_input(node, place))
        if codes is None:
            return None
        axis = SCALED[node.op][-1][3] if node.op in SCALED else (0 if node.op == "ConvInteger" else -1)
        return self._scaled(_input(node, place), codes, _input(node, scale), _input(node, zero_point), axis, keys)

    def _value(self, name: str, used: set[int], keys: set[str]) -> Weight | None:
        """A constant as it is, or behind the node that dequantizes it."""
        if (values := self.constant(name)) is not None:
            keys.add(name)
            return Weight(name, values)
        at = self.producer.get(name)
        if at is None or self.nodes[at].op.rpartition(".")[2] != DEQUANTIZE:
            return None
        node = self.nodes[at]
        codes = self.constant(node.inputs[0])
        if codes is None or node.attributes.get("block_size"):
            return None
        used.add(at)
        axis = node.attributes.get("axis", 1)
        return self._scaled(node.inputs[0], codes, _input(node, 1), _input(node, 2), axis, keys)

    def _scaled(self, key: str, codes: Floats, scale: str, zero_point: str, axis: int, keys: set[str]) -> Weight:
        keys |= {name for name in (key, scale, zero_point) if name}
        scales, zeros = self.constant(scale), self.constant(zero_point)
        scales = np.ones(()) if scales is None else _meeting(scales, codes, axis)
        zeros = np.zeros(()) if zeros is None else _meeting(zeros, codes, axis)
        return Weight(key, (codes - zeros) * scales, codes, scales, zeros)

    def _orient(self, node: Node, weight: Weight) -> None:
        """Puts output channels first."""
        is_transposed = bool(node.attributes.get("transB"))
        if node.op == "ConvTranspose" or (node.op in INPUTS_FIRST and not is_transposed):
            for name in ("values", "codes", "scale", "zero_point"):
                held = getattr(weight, name)
                if held is not None and held.ndim >= 2:
                    setattr(weight, name, held.swapaxes(0, 1) if node.op == "ConvTranspose" else held.swapaxes(-1, -2))

    def _bias(self, node: Node, layer: Layer) -> Weight | None:
        place = FLOAT[node.op][1] if node.op in FLOAT else INTEGER[node.op][3]
        if place is None:
            return self._added(layer) if node.op == "MatMul" else None
        found = self._value(_input(node, place), layer.nodes, layer.keys)
        if found is not None and node.op in ("QLinearConv", "com.microsoft.QGemm") and layer.weight.scale is not None:
            scale = self.constant(_input(node, 1))
            step = layer.weight.scale.reshape(-1) * (np.ones(()) if scale is None else scale)
            return Weight(found.key, found.values * step, found.values, step, np.zeros(()))
        return found

    def _added(self, layer: Layer) -> Weight | None:
        """A bias that is added to a product by a node of its own."""
        after = self.next_of(layer.at, "Add")
        if after is None:
            return None
        for name in self.nodes[after].inputs:
            keys: set[str] = set()
            nodes: set[int] = {after}
            found = self._value(name, nodes, keys)
            if found is not None and found.values.shape == (layer.weight.values.shape[0],):
                layer.nodes |= nodes
                layer.keys |= keys
                return found
        return None

    def _rescaled(self, layer: Layer) -> None:
        """Sums of integers are cast, multiplied by the product of both scales, and shifted by the bias."""
        cast = self.next_of(layer.at, "Cast")
        scaled = None if cast is None else self.next_of(cast, "Mul")
        if cast is None or scaled is None:
            return
        layer.nodes |= {cast, scaled}
        for name in self.nodes[scaled].inputs:
            at = self.producer.get(name)
            if at is None or self.nodes[at].op != "Mul" or at in layer.nodes:
                continue
            layer.nodes.add(at)
            for factor in self.nodes[at].inputs:
                if (scale := self.constant(factor)) is not None:
                    layer.keys.add(factor)
                    scale = scale.reshape(-1, *[1] * (layer.weight.values.ndim - 1)) if scale.ndim else scale
                    layer.weight.scale, layer.weight.values = scale, layer.weight.values * scale
        quantized = self.producer.get(self.nodes[layer.at].inputs[0])
        if quantized is not None and self.nodes[quantized].op == "DynamicQuantizeLinear":
            layer.nodes.add(quantized)
        layer.bias = self._added(Layer(layer.name, layer.op, scaled, layer.weight, None, layer.nodes, layer.keys))


def _meeting(scale: Floats, codes: Floats, axis: int) -> Floats:
    """Scales or zero points along an axis, in a shape that meets the codes."""
    if scale.ndim == 0 or scale.size == 1:
        return scale.reshape(())
    if scale.ndim == codes.ndim:
        return scale
    shape = [1] * codes.ndim
    shape[axis] = -1
    return scale.reshape(shape)


def _input(node: Node, place: int | None) -> str:
    return node.inputs[place] if place is not None and place < len(node.inputs) else ""
