"""Description of an `.onnx` file: its constants with their quantization, operators, versions, inputs and outputs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.backends.interface import Description, Entry
from quantbench.backends.onnx_file import Node, OnnxModel, Tensor, read_onnx

DEQUANTIZE = "DequantizeLinear"
# Its weights `[outputs, blocks, bytes]` are codes of a few bits, packed along the inputs.
FEW_BITS = "com.microsoft.MatMulNBits"
Places = tuple[tuple[int, int, int, int], ...]
# Operators that take integers with their scale: operator → places of values, scale and zero point, axis of the scale.
SCALED: dict[str, Places] = {
    "QLinearConv": ((0, 1, 2, 1), (3, 4, 5, 0)),
    "QLinearMatMul": ((0, 1, 2, -2), (3, 4, 5, -1)),
    "com.microsoft.QGemm": ((0, 1, 2, 0), (3, 4, 5, 0)),
    "com.microsoft.MatMulIntegerToFloat": ((0, 2, 4, -1), (1, 3, 5, -1)),
    "com.microsoft.DynamicQuantizeMatMul": ((1, 2, 3, -1),),
}
# Operators that scale sums of integers afterwards: operator → places of the weight and of its zero point.
UNSCALED = {"ConvInteger": (1, 3), "MatMulInteger": (1, 3)}


@dataclass(frozen=True)
class Quantization:
    """The scale that makes real values of a constant.

    Attributes:
        scale: one number, one for each place along the axis, or one for each block along it; None where it is applied
            to sums.
        zero_point: in the same shape; None for zero.
        axis: see `scale`.
        block_size: values along the axis that share a scale; 0 without blocks.
        bits: of a code that is packed with others; 0 where the type tells it.
    """

    scale: Tensor | None
    zero_point: Tensor | None
    axis: int
    block_size: int
    bits: int = 0


def describe_onnx(path: Path) -> Description:
    """A file's constants with dtype, shape and quantization, and what else it tells of its structure.

    Raises:
        CheckpointError: as `read_onnx`, or if values are not what the file says.
    """
    model = read_onnx(path)
    return Description(
        keys=entries(model),
        digests={name: digest(tensor) for name, tensor in model.constants.items()},
        payload_bytes=sum(tensor.nbytes for tensor in model.constants.values()),
        graph=structure(model),
    )


def structure(model: OnnxModel) -> dict[str, Any]:
    """Operators with their counts, operator sets, inputs and outputs, as JSON."""
    counts = Counter(node.op for node in model.nodes)
    return {
        "opset": {domain or "ai.onnx": version for domain, version in sorted(model.opset.items())},
        "inputs": model.inputs,
        "outputs": model.outputs,
        "operators": {name: counts[name] for name in sorted(counts)},
        **({"sparse": sorted(model.sparse)} if model.sparse else {}),
    }


def entries(model: OnnxModel) -> dict[str, Entry]:
    """Dtype and shape of each constant; scheme and axis of those that stand for real values by a scale."""
    scaled = quantized_constants(model)
    return {
        name: {"dtype": tensor.dtype, "shape": list(tensor.shape)}
        | (_scheme(tensor, scaled[name]) if name in scaled else {})
        for name, tensor in model.constants.items()
    }


def quantized_constants(model: OnnxModel) -> dict[str, Quantization]:
    """The constants that stand for real values by a scale, with what nodes take beside them."""
    return {name: found for node in model.nodes for name, found in _taken(node, model)}


def digest(tensor: Tensor) -> str:
    """Sha256 of type, shape and values."""
    hashed = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)} ".encode())
    values = tensor.values()
    # Objects are references; texts themselves are what counts.
    hashed.update(repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes())
    return hashed.hexdigest()


def _taken(node: Node, model: OnnxModel) -> Iterator[tuple[str, Quantization]]:
    """Constants that a node takes with their scale, or with their zero point alone."""
    places: Places = SCALED.get(node.op, ())
    if node.op == DEQUANTIZE:
        places = ((0, 1, 2, node.attributes.get("axis", 1)),)
    for values, scale, zero_point, axis in places:
        scales = model.constants.get(_at(node, scale))
        if (name := _at(node, values)) in model.constants and scales is not None:
            zeros = model.constants.get(_at(node, zero_point))
            yield name, Quantization(scales, zeros, axis, node.attributes.get("block_size", 0))
    if node.op == FEW_BITS and (name := _at(node, 1)) in model.constants:
        scales, zeros = (model.constants.get(_at(node, place)) for place in (2, 3))
        size, bits = node.attributes.get("block_size", 0), node.attributes.get("bits", 0)
        yield name, Quantization(scales, zeros, 1, size, bits)
    if node.op in UNSCALED and (name := _at(node, UNSCALED[node.op][0])) in model.constants:
        yield name, Quantization(None, model.constants.get(_at(node, UNSCALED[node.op][1])), 0, 0)


def _scheme(values: Tensor, found: Quantization) -> Entry:
    if found.bits:
        # Without zero points codes are about the middle of their range.
        symmetry = "affine" if found.zero_point else "symmetric"
        packed = {"axis": found.axis, "block_size": found.block_size, "bits": found.bits}
        return {"qscheme": f"per_block_{symmetry}", **packed}
    symmetry, axis = _symmetry(values, found.zero_point), found.axis % max(1, len(values.shape))
    scales = found.scale or found.zero_point
    if scales is None or scales.shape in ((), (1,)):
        return {"qscheme": f"per_tensor_{symmetry}"}
    if len(scales.shape) > 1 and len(scales.shape) == len(values.shape):
        return {"qscheme": f"per_block_{symmetry}", "axis": axis, "block_size": found.block_size}
    # Without its scale nothing tells the axis.
    return {"qscheme": f"per_channel_{symmetry}"} | ({"axis": axis} if found.scale else {})


def _symmetry(values: Tensor, zeros: Tensor | None) -> str:
    """`symmetric` where the zero point is the middle of the type's range: 0, or half of the range of unsigned ones."""
    if zeros is None:
        return "affine" if values.dtype.startswith("uint") else "symmetric"
    middle = {"uint8": 128, "uint16": 32768, "uint4": 8, "uint2": 2}.get(values.dtype, 0)
    return "symmetric" if bool((zeros.values() == middle).all()) else "affine"


def _at(node: Node, place: int) -> str:
    """Name of an input; empty where there is none."""
    return node.inputs[place] if place < len(node.inputs) else ""
