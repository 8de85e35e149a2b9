"""An OpenVINO model with some of its layers put back to floating point, and its layers beside the reference's.

Each `FakeQuantize` of activations belongs to the operator whose results it rounds, as in
`quantbench.backends.onnx_runtime.qdq_layers`. Operators of both models are told by their names, which NNCF keeps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantbench.backends.insides import Array, Grid, InnerLayer, Parameter
from quantbench.backends.openvino_runtime.library import openvino

# Products → axis of the output channels of their weights.
PRODUCTS = {"Convolution": 0, "GroupConvolution": 0, "ConvolutionBackpropData": 1, "MatMul": -1}
JOINING = {"Add", "Subtract", "Multiply", "Concat"}
PASSING = {
    "Relu", "Clamp", "MaxPool", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Pad", "Convert", "Slice",
    "StridedSlice",
}  # fmt: skip
QUANTIZER = "FakeQuantize"


@dataclass
class OvLayer:
    """An operator with its quantizers.

    Attributes:
        op: of the model.
        quantizers: of its results, in the order of the graph.
        weight: the operator that gives its weights; None for one without constant weights.
        bias: the constant that is added to its results; None without one.
    """

    op: Any
    quantizers: list[Any] = field(default_factory=list)
    weight: Any = None
    bias: Any = None

    @property
    def name(self) -> str:
        """In both models."""
        return str(self.op.friendly_name)

    @property
    def end(self) -> Any:
        """The operator whose values are rounded; the layer's own last one where none are."""
        return sources(self.quantizers[0])[0] if self.quantizers else self.op


def layers_of(model: Any) -> dict[str, OvLayer]:
    """Products with constant weights, and what else has a quantizer, by name, in the order of the graph."""
    found: dict[str, OvLayer] = {}
    for op in model.get_ordered_ops():
        if op.get_type_name() in PRODUCTS and _is_constant(sources(op)[1]):
            found[op.friendly_name] = OvLayer(op, [], sources(op)[1], _bias_of(op))
        elif op.get_type_name() == QUANTIZER and not _is_constant(sources(op)[0]):
            origin = _origin(sources(op)[0])
            found.setdefault(origin.friendly_name, OvLayer(origin)).quantizers.append(op)
    order = {op.friendly_name: at for at, op in enumerate(model.get_ordered_ops())}
    return dict(sorted(found.items(), key=lambda each: order[each[0]]))


def put_back(candidate: Any, reference: Any, names: Collection[str]) -> Any:
    """A copy of the candidate in which the quantizers of some layers are gone, and their weights the reference's."""
    made, given = candidate.clone(), layers_of(reference)
    for name, layer in layers_of(made).items():
        if name in names:
            take_out(layer)
            _put_back_constants(layer, given.get(name))
    made.validate_nodes_and_infer_types()
    return made


def take_out(layer: OvLayer) -> None:
    """Takes the quantizers of a layer's results out of its model."""
    for each in layer.quantizers:
        source = each.input_value(0)
        for target in each.output(0).get_target_inputs():
            target.replace_source_output(source)


def _put_back_constants(layer: OvLayer, twin: OvLayer | None) -> None:
    ops = openvino().opset13
    for own, other in ((layer.weight, twin and twin.weight), (layer.bias, twin and twin.bias)):
        if own is None or other is None:
            continue
        values = value_of(other)
        if values is None or list(values.shape) != list(own.output(0).get_partial_shape().to_shape()):
            continue
        constant = ops.constant(values.astype(np.float32))
        for target in own.output(0).get_target_inputs():
            target.replace_source_output(constant.output(0))


def inner_layer(layer: OvLayer, twin: OvLayer) -> InnerLayer:
    """A layer with its parameters, beside those of the reference."""
    kind = layer.op.get_type_name()
    is_input = kind == "Parameter"
    grids = [grid for each in layer.quantizers if (grid := grid_of(each)) is not None]
    weight, channel = None, PRODUCTS.get(kind, 0)
    if layer.weight is not None and (values := value_of(layer.weight)) is not None:
        if kind == "MatMul" and layer.op.get_attributes().get("transpose_b"):
            channel = -2
        other = None if twin.weight is None else value_of(twin.weight)
        weight = Parameter.of(other, values, _grid_of_weights(layer.weight, values), channel)
    bias = None
    if layer.bias is not None and (values := value_of(layer.bias)) is not None:
        other = None if twin.bias is None else value_of(twin.bias)
        own = values.reshape(-1)
        bias = Parameter.of(None if other is None or other.size != own.size else other.reshape(-1), own, None, 0)
    return InnerLayer(layer.name, "input" if is_input else kind, weight, bias, tuple(grids), kind == "MatMul")


def sources(op: Any) -> list[Any]:
    """Operators that an operator reads."""
    return [each.get_source_output().get_node() for each in op.inputs()]


def value_of(op: Any) -> Array | None:
    """Real numbers of a constant, or of integers that are converted, moved and scaled; None for anything else."""
    kind = op.get_type_name()
    if kind == "Constant":
        return np.asarray(op.get_data(), np.float64)
    if kind == "Reshape":
        # Whose new shape may be known only when it runs.
        values, shape = value_of(sources(op)[0]), op.output(0).get_partial_shape()
        return values if values is None or shape.is_dynamic else values.reshape(shape.to_shape())
    parts = [value_of(each) for each in sources(op)] if kind in ("Convert", "Subtract", "Multiply") else []
    if not parts or any(each is None for each in parts):
        return None
    first = np.asarray(parts[0])
    return first if kind == "Convert" else first - parts[1] if kind == "Subtract" else first * parts[1]


def grid_of(op: Any) -> Grid | None:
    """The grid of a quantizer; None where its ends are no constants."""
    low, high = (value_of(each) for each in sources(op)[1:3])
    if low is None or high is None:
        return None
    last = int(op.get_attributes()["levels"]) - 1
    step = (high - low) / last
    zero = -low / step
    # Ends are 32-bit numbers: zero is on the grid as far as these can tell.
    zero = np.where(np.abs(zero - np.round(zero)) < 1e-3, np.round(zero), zero)
    return Grid.of(step, zero, 0, last) if step.size == 1 else None


def _grid_of_weights(op: Any, values: Array) -> Grid | None:
    """The grid of compressed weights: the scale that their integers are multiplied with."""
    while op.get_type_name() in ("Convert", "Reshape"):
        op = sources(op)[0]
    if op.get_type_name() != "Multiply" or (scale := value_of(sources(op)[1])) is None:
        return None
    long = [at for at, size in enumerate(scale.shape) if size > 1]
    if len(long) > 1 or (long and scale.ndim != values.ndim):
        return None
    return Grid.of(scale, 0, -128, 127, long[0] if long else None, values.ndim)


def _bias_of(op: Any) -> Any:
    """The constant that the only reader of a product adds to it; None without one."""
    readers = list(op.output(0).get_target_inputs())
    after = readers[0].get_node() if len(readers) == 1 else None
    if after is None or after.get_type_name() != "Add":
        return None
    found = next((each for each in sources(after) if _is_constant(each)), None)
    while found is not None and found.get_type_name() == "Reshape":
        found = sources(found)[0]
    return found


def _is_constant(op: Any) -> bool:
    return value_of(op) is not None


def _origin(op: Any) -> Any:
    """The operator that a value is of, seen through those that pass it on."""
    while True:
        given = [each for each in sources(op) if not _is_constant(each)]
        kind = op.get_type_name()
        is_join = kind in JOINING and len(given) > 1
        if kind in PRODUCTS or is_join or kind not in (*PASSING, *JOINING, QUANTIZER) or not given:
            return op
        op = given[0]
