"""The precision of the kernels that a `.pte` file runs: the runtime's own trace, and the file's shapes.

XNNPACK names in a trace (ETDump) each kernel that ran, with the types that it multiplies. The work follows from the
shapes in the file, whose operators must be those that the trace names, call by call.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from quantbench.backends.coverage import Coverage
from quantbench.backends.executorch_runtime.flatbuffer import DamagedError, FlatBuffer
from quantbench.backends.executorch_runtime.names import names_in
from quantbench.backends.executorch_runtime.pte_file import Call, Method, PteFile, Tensor
from quantbench.backends.executorch_runtime.xnnpack_graph import CONVOLUTIONS, Graph, Node, Value
from quantbench.backends.no_products import NO_PRODUCTS
from quantbench.backends.products import are_pairs, of_convolution, of_matrix_product
from quantbench.errors import MeasurementError
from quantbench.files import printable

UNKNOWN = "unknown"
# Kinds of nodes that multiply and sum → families of kernels as traces name them.
PRODUCTS = {
    "Conv2d": "Convolution", "DepthwiseConv2d": "Convolution", "ConvTranspose2d": "Deconvolution",
    "FullyConnected": "Fully Connected", "BatchMatrixMultiply": "Batch Matrix Multiply",
    "ScaledDotProductAttention": "Scaled Dot-Product Attention",
}  # fmt: skip
# As a trace names a kernel: its family, the layout and the types that it multiplies.
KERNEL = re.compile(r"(?:Dynamic )?(?P<family>[A-Z][A-Za-z -]+?) \((?P<types>[^)]*)\)")
FAMILIES = frozenset(PRODUCTS.values())
# Types of values whose products with 8- or 4-bit weights are those of integers, and those of floating point.
INTEGERS = {"QC8", "QS8", "QU8", "QD8", "QDU8", "QP8"}
FLOATS = {"F32", "F16", "BF16", "PF32", "PF16"}
INT8_DTYPES, NARROW = {"int8", "uint8"}, {"int8", "int4"}
FLOAT_DTYPES = {"float64", "float32", "float16", "bfloat16"}
# Kernels of ExecuTorch itself that multiply and sum, by the places of values and weights.
OUTSIDE = {"convolution": (0, 1), "addmm": (1, 2), "mm": (0, 1), "bmm": (0, 1), "linear": (0, 1)}
# Its own that move values and sizes, and the ends of names that say how results are given.
MOVES = (
    "executorch_prim::",
    "dim_order_ops::",
    "quantized_decomposed::quantize_per",
    "quantized_decomposed::dequantize_per",
)
ENDS = ("_copy", "_")
SIZES = ("sym_size", "sym_numel", "sym_stride")
MARK = "ED00"
# Bytes before a trace, which say how long it is.
PREFIX = 4

Ran = Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class Product:
    """An operator that multiplies.

    Attributes:
        layer: of the model, or its kind with a number.
        call: the instruction that it is part of.
        family: of its kernel; empty for a kernel of ExecuTorch's own.
        computes: `int8`, `float` or `unknown`, by its types.
        macs: of the largest batch; None where no shape tells.
        first: size of its result's first axis.
    """

    layer: str
    call: int
    family: str
    computes: str
    macs: int | None
    first: int


def ran_in(dump: bytes) -> Ran:
    """XNNPACK's kernels in a trace, by the instruction that called it.

    Raises:
        MeasurementError: if it is no trace.
    """
    found: dict[int, list[str]] = {}
    try:
        for run in FlatBuffer(dump[PREFIX:]).root(MARK).tables(1):
            for event in run.tables(3):
                profile = event.table(0)
                if profile is not None and (told := profile.text(4)):
                    found.setdefault(profile.integer(2, "i", -1), []).append(told)
    except DamagedError as error:
        raise MeasurementError(f"ExecuTorch's trace of a forward cannot be read ({printable(error)})") from None
    return found


def products_of(file: PteFile) -> tuple[list[Product], list[str]]:
    """The operators of a file that multiply, and those that might."""
    found: list[Product] = []
    unknown: dict[str, None] = {}
    for call in file.method.calls:
        if call.graph is not None:
            for node in call.graph.nodes:
                if node.kind in PRODUCTS:
                    found.append(_of_node(node, call, call.graph, len(found)))
                elif node.kind == "Multiply" and _is_of_pairs(node, call.graph):
                    unknown["Multiply of XNNPACK (which may be a product that is summed)"] = None
        elif (name := bare(call.operator)) in OUTSIDE:
            found.append(_of_kernel(name, call, file.method, len(found)))
        elif not _does_no_products(call.operator, name, call, file.method):
            unknown[f"{call.operator} (outside of XNNPACK)"] = None
    if file.method.jumps:
        unknown["the model (what it runs depends on values)"] = None
    layers = names_in(file).layers
    if len(layers) == len(found):
        found = [
            Product(layer or each.layer, each.call, each.family, each.computes, each.macs, each.first)
            for layer, each in zip(layers, found, strict=True)
        ]
    return found, list(unknown)


def coverage_of(file: PteFile, ran: Ran, batches: Sequence[int], most: int | None, name: str) -> Coverage:
    """Multiply-accumulates of batches.

    Args:
        file: as it was read.
        ran: kernels of one forward, by instruction.
        batches: samples of each.
        most: samples for which shapes in the file stand; None where they are those of every forward.
        name: for messages.

    Raises:
        MeasurementError: if nothing was found that multiplies, or might.
    """
    done: dict[str, Counter[str]] = {"int8": Counter(), "float": Counter()}
    products, unknown = products_of(file)
    uncounted = dict.fromkeys(unknown)
    for call in dict.fromkeys(each.call for each in products):
        own = [each for each in products if each.call == call]
        if told := _contradiction(own, ran.get(call, ())):
            uncounted |= dict.fromkeys(f"{each.layer} ({told})" for each in own)
            continue
        for each in own:
            if each.macs is None or each.computes == UNKNOWN:
                uncounted[
                    f"{each.layer} ({each.family or 'a kernel of ExecuTorch'} whose types or sizes leave it open)"
                ] = None
            else:
                done[each.computes][each.layer] += sum(_scaled(each, n, most) for n in batches)
    int8, floating = dict(done["int8"]), dict(done["float"])
    if not int8 and not floating and not uncounted:
        raise MeasurementError(f"{name}: no convolution or matrix product was seen among its operators")
    return Coverage(sum(int8.values()), sum(floating.values()), floating, int8, tuple(uncounted))


def _scaled(product: Product, n: int, most: int | None) -> int:
    """Work of a batch: shapes of the file are those of its largest one."""
    macs = product.macs or 0
    return macs * n // most if most and product.first % most == 0 else macs


def _contradiction(products: Sequence[Product], ran: Sequence[str]) -> str:
    """Words where the trace of a call names other kernels than the file has; empty where they agree."""
    if not products[0].family:
        return ""
    kernels = [found for each in ran if (found := KERNEL.match(each)) and found["family"] in FAMILIES]
    seen = Counter((each["family"], _precision(each["types"])) for each in kernels)
    if seen == Counter((each.family, each.computes) for each in products):
        return ""
    told = ", ".join(f"{each.group()} ×{n}" for each, n in Counter(kernels).items()) or "none"
    return f"the runtime's trace names other kernels than the file: {told}"


def _precision(types: str) -> str:
    """`int8` or `float` by the types in a kernel's name: layout, values, results, weights."""
    parts = {part.strip() for part in types.split(",")[1:2]}
    return "int8" if parts & INTEGERS else "float" if parts & FLOATS else UNKNOWN


def _of_node(node: Node, call: Call, graph: Graph, at: int) -> Product:
    values = [graph.values.get(place) for place in node.inputs]
    output = graph.values[node.output]
    macs = _macs(node, values, output)
    layer, first = f"{node.kind.lower()}_{at}", output.shape[0] if output.shape else 1
    return Product(layer, call.at, PRODUCTS[node.kind], _computes(values[0], values[1]), macs, first)


def _computes(value: Value | None, weight: Value | None) -> str:
    if value is None or weight is None:
        return UNKNOWN
    if value.dtype in INT8_DTYPES and weight.dtype in NARROW:
        return "int8"
    # Weights in integers of values in floating point are multiplied as such.
    return "float" if value.dtype in FLOAT_DTYPES else UNKNOWN


def _macs(node: Node, values: Sequence[Value | None], output: Value) -> int | None:
    value, weight = values[:2]
    if value is None or weight is None or node.kind == "ScaledDotProductAttention":
        return None
    if node.kind in CONVOLUTIONS:
        inputs, outputs = node.group
        side, channels = (value, outputs) if node.kind == "ConvTranspose2d" else (output, inputs)
        return prod(side.shape) * prod(node.kernel) * channels
    if node.kind == "FullyConnected":
        return prod(output.shape) * prod(weight.shape) // max(1, output.shape[-1] if output.shape else 1)
    return of_matrix_product(value.shape, output.shape) if value.shape else None


def _is_of_pairs(node: Node, graph: Graph) -> bool:
    """True for a multiplication that may be a matrix product in other words."""
    operands = [graph.values.get(place) for place in node.inputs]
    shapes = [(each.shape, each.values is not None) for each in operands if each is not None]
    return are_pairs(shapes, graph.values[node.output].shape)


def _of_kernel(name: str, call: Call, method: Method, at: int) -> Product:
    """One of ExecuTorch's own kernels, which compute in floating point."""
    tensors = method.tensors(call.args)
    places = OUTSIDE[name]
    value, weight = (tensors[place] if place < len(tensors) else None for place in places)
    output = tensors[-1]
    layer = f"{name}_{at}"
    if value is None or weight is None or output is None or not output.shape:
        return Product(layer, call.at, "", UNKNOWN, None, 1)
    floating = {value.dtype, weight.dtype} <= FLOAT_DTYPES
    macs = _macs_outside(name, value, weight, output, call, method)
    return Product(layer, call.at, "", "float" if floating else UNKNOWN, macs, output.shape[0])


def _macs_outside(name: str, value: Tensor, weight: Tensor, output: Tensor, call: Call, method: Method) -> int:
    if name == "convolution":
        is_transposed = bool(method.values[call.args[6]])
        return of_convolution(weight.shape, (value if is_transposed else output).shape)
    return prod(output.shape) * value.shape[-1]


def bare(operator: str) -> str:
    """Name of an operator without its namespace, its overload and the mark of one that copies."""
    name = operator.partition("::")[2].partition(".")[0]
    for end in ENDS:
        name = name.removesuffix(end)
    return name


def _does_no_products(operator: str, name: str, call: Call, method: Method) -> bool:
    import torch

    if operator.startswith(MOVES) or name in SIZES or name in NO_PRODUCTS:
        return True
    packet = getattr(torch.ops.aten, name, None)
    if not operator.startswith("aten::") or packet is None:
        return False
    if name == "mul":
        tensors = [each for each in method.tensors(call.args) if each is not None]
        return not are_pairs([(each.shape, each.values is not None) for each in tensors[:2]], tensors[-1].shape)
    overloads = [getattr(packet, each) for each in packet.overloads()]
    return any(torch.Tag.pointwise in each.tags or each.is_view for each in overloads)
