"""The precision of the kernels that a compiled model runs, read off the graph that OpenVINO made of it.

A quantized file is a wish: the runtime merges, moves and drops quantizers, and computes in floating point whatever it
has no int8 kernel for. Its own graph tells the precision of each node; the work of a node follows from its shapes. What
the file multiplies, counted from the file, must come out again as the sum over these nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Array
from quantbench.backends.products import are_pairs, of_convolution, of_matrix_product
from quantbench.errors import MeasurementError

Shape = tuple[int, ...]
INT8, FLOATING = {"u8", "i8"}, {"f32", "f16", "bf16"}
# Nodes of the runtime that multiply and whose work follows from their shapes.
PRODUCTS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
# Nodes that do no sums of products. Subgraph is one that was compiled of others; attention can be among them, which the
# sum over all nodes shows.
NO_PRODUCTS = {
    "AdaptivePooling", "Broadcast", "Bucketize", "ColorConvert", "Concatenation", "Concat", "Const", "Convert",
    "CumSum", "DepthToSpace", "Eltwise", "EmbeddingBagOffsets", "EmbeddingBagOffsetsSum", "Eye", "FakeQuantize",
    "Gather", "GatherElements", "GatherND", "GatherTree", "GridSample", "Identity", "Input", "Interpolate",
    "LogSoftmax", "LRN", "Lrn", "Math", "MVN", "NonMaxSuppression", "NonZero", "NormalizeL2", "OneHot", "Output", "Pad",
    "Pooling", "PriorBox", "ROIAlign", "ROIPooling", "Range", "Reduce", "Reorder", "Reshape", "ReverseSequence", "RMS",
    "RMSNorm", "Roll", "RoPE", "ScatterElementsUpdate", "ScatterNDUpdate", "ScatterUpdate", "Select", "ShapeOf",
    "ShuffleChannels", "Softmax", "SpaceToDepth", "Split", "StridedSlice", "Subgraph", "Tile", "TopK", "Transpose",
    "Unique",
}  # fmt: skip
SUMS = {"ReduceSum", "ReduceMean"}
UNKNOWN = "unknown"
CONVOLUTIONS = {"Convolution", "GroupConvolution"}
TRANSPOSED = {"ConvolutionBackpropData", "GroupConvolutionBackpropData"}


@dataclass(frozen=True)
class _Node:
    """One node of the runtime's graph.

    Attributes:
        name: of the node.
        kind: of the runtime, such as `FullyConnected`.
        precision: that it computes in.
        primitive: the kernel.
        inputs: shapes.
        outputs: shapes.
    """

    name: str
    kind: str
    precision: str
    primitive: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    @property
    def computes(self) -> str:
        """`int8`, `float` or `unknown`."""
        # The primitive names the type of the values, the node's precision that of the weights where they are packed:
        # those are multiplied in floating point, or with values that are quantized while it runs.
        if self.precision in INT8 and self.primitive.endswith("_I8"):
            return "int8"
        return "float" if self.precision in FLOATING and not self.primitive.endswith("_I8") else UNKNOWN


def coverage_of(
    model: Any, compiled: Any, again: Callable[[Any], Any], batches: Sequence[Sequence[Array]], file: str
) -> Coverage:
    """Multiply-accumulates of batches.

    Args:
        model: an `openvino.Model`.
        compiled: the same, after it ran the batches: kernels for any size are chosen when one is seen.
        again: compiles a model in the same way.
        batches: in the order of the model's inputs.
        file: for messages.

    Raises:
        MeasurementError: if nothing was found that multiplies, or might.
    """
    shapes = Counter(tuple(array.shape for array in batch) for batch in batches)
    done: dict[str, Counter[str]] = {"int8": Counter(), "float": Counter(), UNKNOWN: Counter()}
    uncounted: list[str] = []
    ran = {node.name: node for node in _nodes(compiled)}
    for of_batch, times in shapes.items():
        # A model of any batch has no sizes in its graph: one of this batch tells them, of nodes of the same names.
        fixed = model.clone()
        fixed.reshape({port: list(shape) for port, shape in zip(fixed.inputs, of_batch, strict=True)})
        sized = {node.name: node for node in _nodes(again(fixed))} if model.is_dynamic() else ran
        uncounted += _add(fixed, ran, sized, times, done)
    int8, floating, unknown = dict(done["int8"]), dict(done["float"]), dict(done[UNKNOWN])
    if not int8 and not floating and not unknown and not uncounted:
        raise MeasurementError(f"{file}: no convolution or matrix product was seen in its graph")
    return Coverage(
        sum(int8.values()), sum(floating.values()), floating, int8, tuple(dict.fromkeys(uncounted)), unknown
    )


def _add(
    fixed: Any, ran: dict[str, _Node], sized: dict[str, _Node], times: int, done: dict[str, Counter[str]]
) -> list[str]:
    """Adds the work of one batch, so many times, and gives what could not be counted.

    Args:
        fixed: the model for this batch.
        ran: nodes by name, as they ran.
        sized: the same with their sizes for this batch.
        times: it ran.
        done: precision → node → multiply-accumulates.
    """
    expected, uncounted = _macs_of_file(fixed)
    total = 0
    for node in ran.values():
        same = sized.get(node.name)
        macs = _macs(same) if same is not None and same.kind == node.kind else None
        if node.kind in NO_PRODUCTS:
            continue
        if node.kind not in PRODUCTS:
            uncounted.append(f"{node.name} ({node.kind})")
        elif macs is None:
            uncounted.append(f"{node.name} ({node.kind}, {node.primitive} of {node.precision})")
        else:
            total += macs
            done[node.computes][node.name] += macs * times
    if total < expected and not uncounted:
        uncounted.append(f"{expected - total:,} of {expected:,} multiply-accumulates, within nodes that merge others")
    return uncounted


def _nodes(compiled: Any) -> Iterator[_Node]:
    """Nodes of a compiled model, in the order in which they run."""
    for op in compiled.get_runtime_model().get_ordered_ops():
        told = op.get_rt_info()
        kind, precision, primitive = (
            told[key].astype(str) if key in told else "unknown"
            for key in ("layerType", "runtimePrecision", "primitiveType")
        )
        inputs = tuple(port.get_partial_shape() for port in op.inputs())
        # What was in a node of the file before its scale was moved behind it.
        name = op.friendly_name.removesuffix("/DequantizationMultiply")
        outputs = tuple(port.partial_shape for port in op.outputs())
        yield _Node(name, kind, precision, primitive, inputs, outputs)


def _macs(node: _Node) -> int | None:
    """Multiply-accumulates of one node; None where its shapes do not tell."""
    shapes = [_fixed(shape) for shape in (*node.inputs[:2], *node.outputs[:1])]
    if len(shapes) != 3 or None in shapes:
        return None
    first, second, output = [shape for shape in shapes if shape is not None]
    match node.kind:
        case "Convolution":
            return of_convolution(second, output)
        case "Deconvolution":
            return of_convolution(second, first)
        case "FullyConnected":
            return prod(output) * first[-1]
        case _:
            return of_matrix_product(first, output)


def _fixed(shape: Any) -> Shape | None:
    return tuple(shape.to_shape()) if shape.is_static else None


def _macs_of_file(model: Any) -> tuple[int, list[str]]:
    """Multiply-accumulates of a model of fixed shapes, and its parts that hold models of their own."""
    total, uncounted = 0, []
    for op in model.get_ordered_ops():
        kind, name = op.get_type_name(), op.friendly_name
        if kind in CONVOLUTIONS | TRANSPOSED | {"MatMul"}:
            # A product of constants is computed when the model is compiled.
            if all(_is_constant(port.get_source_output().get_node()) for port in op.inputs()):
                continue
            first, second = (_fixed(port.get_partial_shape()) for port in op.inputs()[:2])
            output = _fixed(op.output(0).partial_shape)
            if first is None or second is None or output is None:
                uncounted.append(f"{name} ({kind} of a shape that depends on values)")
            elif kind == "MatMul":
                total += prod(output) * _length(op, first)
            else:
                total += of_convolution(second, output if kind in CONVOLUTIONS else first)
        elif kind in {"If", "Loop", "TensorIterator"}:
            uncounted.append(f"{name} ({kind})")
        elif kind == "Multiply" and _is_summed(op):
            uncounted.append(f"{name} (a product written as Multiply and sum)")
    return total, uncounted


def _is_summed(op: Any) -> bool:
    """True for a product of pairs of values, which the next operation sums: a matrix product in other words."""
    output = _fixed(op.output(0).partial_shape)
    operands = [(_fixed(port.get_partial_shape()), port.get_source_output().get_node()) for port in op.inputs()]
    if output is None or not are_pairs([(size, _is_constant(node)) for size, node in operands], output):
        return False
    return any(port.get_node().get_type_name() in SUMS for port in op.output(0).get_target_inputs())


def _is_constant(node: Any) -> bool:
    return bool(node.get_type_name() == "Constant")


def _length(op: Any, first: Shape) -> int:
    """Length of each sum of a MatMul."""
    transposed = bool(op.get_attributes().get("transpose_a"))
    return first[-2] if transposed and len(first) > 1 else first[-1]
