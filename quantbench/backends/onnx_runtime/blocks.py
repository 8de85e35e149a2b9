"""Weights in blocks (`MatMulNBits`) as `DequantizeLinear` and `MatMul`, which mean the same and can be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.onnx_runtime.weight_only import split_gemms

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PACKED = "MatMulNBits"
# The first operator set whose DequantizeLinear has blocks, and codes of 4 bits.
FIRST_OPSET = 21
WIDTHS = (4, 8)


def has_blocks(model: ModelProto) -> bool:
    """True if some weights are in blocks that can be written otherwise."""
    return any(_is_known(node) for node in model.graph.node)


def without_gemms(model: ModelProto) -> ModelProto:
    """A copy with `MatMul` and `Add` in the place of each `Gemm`, as models with blocks are made of."""
    made = type(model)()
    made.CopyFrom(model)
    split_gemms(made)
    return made


def unpacked(model: ModelProto) -> ModelProto:
    """A copy in which weights in blocks are codes with a scale for each block.

    Codes are signed: of unsigned ones the zero point is subtracted where it is the same for all.
    """
    from onnx import helper

    made = type(model)()
    made.CopyFrom(model)
    for opset in made.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, FIRST_OPSET)
    nodes = list[Any]()
    for node in made.graph.node:
        if not _is_known(node):
            nodes.append(node)
            continue
        how = _attributes(node)
        weight, scale = f"{node.input[1]}_codes", f"{node.input[1]}_block_scales"
        made.graph.initializer.extend(_constants(made, node, how, weight, scale))
        values = f"{node.input[1]}_values"
        nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [weight, scale],
                [values],
                f"{weight}_dequantize",
                axis=0,
                block_size=how["block_size"],
            )
        )
        name = node.name.removesuffix(f"_Q{how['bits']}")
        has_bias = len(node.input) > 5 and bool(node.input[5])
        product = f"{node.output[0]}_product" if has_bias else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], values], [product], name))
        if has_bias:
            nodes.append(helper.make_node("Add", [product, node.input[5]], list(node.output), f"{name}/bias"))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def _is_known(node: NodeProto) -> bool:
    """Symmetric blocks, as this suite writes them."""
    how = _attributes(node) if node.op_type == PACKED else {}
    return how.get("bits") in WIDTHS and not any(node.input[3:5])


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _constants(made: ModelProto, node: NodeProto, how: dict[str, Any], weight: str, scale: str) -> list[Any]:
    """Codes `[inputs, outputs]` and scales `[blocks, outputs]`."""
    from onnx import TensorProto, helper, numpy_helper

    tensors = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer if each.name in node.input}
    bits, inputs, outputs = how["bits"], how["K"], how["N"]
    packed = np.asarray(tensors[node.input[1]], np.uint8).reshape(outputs, -1)
    unsigned = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=-1).reshape(outputs, -1)
    codes: NDArray[np.int16] = unsigned.astype(np.int16)[:, :inputs].T - (1 << bits - 1)
    scales = np.asarray(tensors[node.input[2]], np.float32).reshape(outputs, -1).T
    kind = TensorProto.INT8 if bits == 8 else TensorProto.INT4
    return [
        helper.make_tensor(weight, kind, codes.shape, codes.reshape(-1).tolist()),
        numpy_helper.from_array(np.ascontiguousarray(scales), scale),
    ]
