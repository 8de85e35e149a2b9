"""The precision of the kernels that an interpreter runs, by its operators and the types of their tensors.

LiteRT and XNNPACK choose a kernel by these types and by nothing else: int8 kernels for int8 values, floating point for
float32. What is in between both leave open: int8 weights of float32 values are multiplied as the one or the other, and
integers of 16 bits are no int8.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from quantbench.backends.coverage import Coverage
from quantbench.backends.products import are_pairs, of_matrix_product
from quantbench.errors import MeasurementError
from quantbench.files import printable

INT8, FLOATING = {"int8", "uint8"}, {"float32", "float16"}
# Of weights; the runtime unpacks them to int8.
NARROW = {"int4", "uint4", "int2"}
# Operators that multiply and sum → places of the values and of the weights among their inputs.
PRODUCTS = {
    "CONV_2D": (0, 1), "DEPTHWISE_CONV_2D": (0, 1), "FULLY_CONNECTED": (0, 1), "BATCH_MATMUL": (0, 1),
    "CONV_3D": (0, 1), "TRANSPOSE_CONV": (2, 1),
}  # fmt: skip
# Characters of an operator's name.
LONGEST_NAME = 60
SUMS = {"SUM", "MEAN"}
# A delegate stands for operators that are listed beside it.
DELEGATE = "DELEGATE"
# Operators that do no sums of products.
NO_PRODUCTS = {
    "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "ATAN2", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BITCAST",
    "BROADCAST_ARGS", "BROADCAST_TO", "BUCKETIZE", "CAST", "CEIL", "CONCATENATION", "COS", "CUMSUM", "DENSIFY",
    "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "DYNAMIC_UPDATE_SLICE", "ELU", "EMBEDDING_LOOKUP", "EQUAL", "EXP",
    "EXPAND_DIMS", "FAKE_QUANT", "FILL", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GATHER", "GATHER_ND", "GELU", "GREATER",
    "GREATER_EQUAL", "HARD_SWISH", "L2_NORMALIZATION", "L2_POOL_2D", "LEAKY_RELU", "LESS", "LESS_EQUAL",
    "LOCAL_RESPONSE_NORMALIZATION", "LOG", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX",
    "MATRIX_DIAG", "MATRIX_SET_DIAG", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG",
    "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "NOT_EQUAL", "ONE_HOT", "PACK", "PAD", "PADV2", "POW", "PRELU",
    "QUANTIZE", "RANGE", "RANK", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RELU", "RELU6",
    "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_SEQUENCE",
    "REVERSE_V2", "RIGHT_SHIFT", "ROUND", "RSQRT", "SCATTER_ND", "SEGMENT_SUM", "SELECT", "SELECT_V2", "SHAPE", "SIGN",
    "SIN", "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPARSE_TO_DENSE", "SPLIT", "SPLIT_V", "SQRT",
    "SQUARE", "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TOPK_V2", "TRANSPOSE",
    "UNIQUE", "UNPACK", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_SUM",
    "WHERE", "ZEROS_LIKE",
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """Type and sizes of a value; a constant is of the file."""

    dtype: str
    shape: tuple[int, ...]
    is_constant: bool


@dataclass(frozen=True)
class Operator:
    """One operator of an interpreter.

    Attributes:
        kind: of LiteRT, such as `CONV_2D`.
        name: of its first output.
        inputs: None for one that was left out.
        outputs: of it.
        reads: indices of the inputs.
        writes: of the outputs.
    """

    kind: str
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]


def operators_of(interpreter: Any) -> list[Operator]:
    """The operators of an interpreter, with the sizes of its last forward."""
    details = {int(each["index"]): each for each in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    made = {int(index) for op in operators for index in op["outputs"]}
    made |= {int(each["index"]) for each in interpreter.get_input_details()}
    tensors = {
        index: Tensor(_dtype(each), tuple(map(int, each["shape"])), index not in made)
        for index, each in details.items()
    }
    found: list[Operator] = []
    for op in operators:
        inputs, outputs = ([int(index) for index in op[side]] for side in ("inputs", "outputs"))
        told = str(details[outputs[0]]["name"]) if outputs and outputs[0] in details else ""
        # TensorFlow's converter joins the names of what it fused; that of torch models begins with every class around.
        name = _shortened(printable(told.partition(";")[0])) or f"{op['op_name']}_{op['index']}"
        taken, given = (tuple(tensors.get(index) for index in side) for side in (inputs, outputs))
        found.append(Operator(str(op["op_name"]), name, taken, given, tuple(inputs), tuple(outputs)))
    return found


def _shortened(name: str) -> str:
    """As many of the last parts of a path as are not too long.

    Example:
        >>> _shortened("convert.Wrapper/" + "models.resnet.Block_0/" * 3 + "relu")
        'models.resnet.Block_0/models.resnet.Block_0/relu'
    """
    while len(name) > LONGEST_NAME and "/" in name:
        name = name.partition("/")[2]
    return name[-LONGEST_NAME:]


def _dtype(details: dict[str, Any]) -> str:
    return str(getattr(details["dtype"], "__name__", details["dtype"]))


def coverage_of(runs: Sequence[Sequence[Operator]], file: str) -> Coverage:
    """Multiply-accumulates of forwards.

    Args:
        runs: operators after each.
        file: for messages.

    Raises:
        MeasurementError: if nothing was found that multiplies, or might.
    """
    done: dict[str, Counter[str]] = {"int8": Counter(), "float": Counter()}
    uncounted: dict[str, None] = {}
    for run in runs:
        seen: Counter[str] = Counter()
        for op in run:
            seen[op.name] += 1
            name = op.name if seen[op.name] == 1 else f"{op.name}#{seen[op.name]}"
            if op.kind in PRODUCTS:
                found = _work(op)
                if isinstance(found, str):
                    uncounted[f"{name} ({found})"] = None
                else:
                    done[found[0]][name] += found[1]
            elif op.kind == "MUL" and _is_summed(op, run):
                uncounted[f"{name} (a product written as MUL and sum)"] = None
            elif op.kind not in NO_PRODUCTS and op.kind != DELEGATE:
                uncounted[f"{name} ({op.kind})"] = None
    int8, floating = dict(done["int8"]), dict(done["float"])
    if not int8 and not floating and not uncounted:
        raise MeasurementError(f"{file}: no convolution or matrix product was seen among its operators")
    return Coverage(sum(int8.values()), sum(floating.values()), floating, int8, tuple(uncounted))


def _is_summed(op: Operator, others: Sequence[Operator]) -> bool:
    """True for a product of pairs of values, which another operator sums: a matrix product in other words."""
    operands = [(each.shape, each.is_constant) for each in op.inputs if each is not None]
    output = op.outputs[0] if op.outputs else None
    if output is None or not are_pairs(operands, output.shape):
        return False
    return any(each.kind in SUMS and set(op.writes) & set(each.reads) for each in others)


def _work(op: Operator) -> tuple[str, int] | str:
    """Precision and multiply-accumulates of an operator, or the words for one that does not tell."""
    value, weight = (op.inputs[at] if at < len(op.inputs) else None for at in PRODUCTS[op.kind])
    output = op.outputs[0] if op.outputs else None
    if value is None or weight is None or output is None:
        return f"{op.kind} of tensors without details"
    computes = _computes(value.dtype, weight.dtype, output.dtype)
    if computes is None:
        return f"{op.kind} of {value.dtype} with weights in {weight.dtype}"
    return computes, _macs(op.kind, value.shape, weight.shape, output.shape)


def _computes(value: str, weight: str, output: str) -> str | None:
    """`int8` or `float` where the types leave no choice."""
    if value in INT8 and weight in INT8 | NARROW and output in INT8:
        return "int8"
    return "float" if value in FLOATING and weight in FLOATING else None


def _macs(kind: str, value: Sequence[int], weight: Sequence[int], output: Sequence[int]) -> int:
    match kind:
        case "CONV_2D":
            return prod(output) * prod(weight[1:])
        case "DEPTHWISE_CONV_2D":
            return prod(output) * prod(weight[1:3])
        case "FULLY_CONNECTED":
            return prod(output) * weight[-1]
        case "CONV_3D":
            return prod(output) * prod(weight[:-1])
        case "TRANSPOSE_CONV":
            return prod(value) * prod(weight[:-1])
        case _:
            return of_matrix_product(value, output)
