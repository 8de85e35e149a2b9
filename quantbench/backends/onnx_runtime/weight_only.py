"""Weights of a message of ONNX in few bits, while its kernels compute in floating point.

8 bits are codes and `DequantizeLinear` with a scale per output channel, which any runtime reads; blocks are the
runtime's own `MatMulNBits`, made by its own tool, whose kernels unpack a block while they multiply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import QuantizationError
from quantbench.recipes.spec import WeightOnly

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Type of a torch layer → the operators that it is written as.
OPERATORS = {"Linear": ("MatMul", "Gemm"), "Conv1d": ("Conv",), "Conv2d": ("Conv",)}
# The first operator set whose DequantizeLinear has a scale per channel.
FIRST_OPSET = 13
LARGEST_CODE = 127
# Of a channel of zeros: so small that nothing is left of what kernels round.
NO_SCALE = np.float32(2.0**-64)
# In the place of an activation's quantizer.
FLOATING = "none, float32"


def compressed(model: ModelProto, recipe: WeightOnly) -> list[str]:
    """Quantizes weights in place; gives the names of their layers.

    Args:
        model: in floating point, with all its values.
        recipe: one that is supported.

    Raises:
        QuantizationError: if no layer has a constant weight, or the model's operators are too old.
    """
    operators = [each for layer in recipe.layers for each in OPERATORS[layer]]
    if recipe.block_size is None:
        return _per_channel(model, operators)
    split_gemms(model)
    return _in_blocks(model, recipe.bits, recipe.block_size)


def described(recipe: WeightOnly) -> dict[str, str]:
    """The quantizers of each layer: `minmax int4 per_block 32 symmetric`."""
    form = "per_channel" if recipe.block_size is None else f"per_block {recipe.block_size}"
    return {"activation": FLOATING, "weight": f"minmax int{recipe.bits} {form} symmetric"}


def _per_channel(model: ModelProto, operators: Collection[str]) -> list[str]:
    from onnx import helper

    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < FIRST_OPSET:
        raise QuantizationError(
            f"onnxruntime: this model's operators are of set {opset}, and scales per channel need set {FIRST_OPSET}; "
            "convert it by onnx.version_converter, or write it anew"
        )
    layers, made = list[str](), dict[tuple[str, int], str]()
    for node, values, axis in list(_weights(model, operators)):
        name = node.input[1]
        if (name, axis) not in made:
            # A weight that two layers take along different axes has codes for each.
            is_first = name not in {weight for weight, _ in made}
            made[name, axis] = codes = f"{name}_codes" if is_first else f"{name}_codes_{axis}"
            found, scales = _codes(values, axis)
            _add(model, {codes: found, f"{codes}_scale": scales})
            dequantized = helper.make_node(
                "DequantizeLinear", [codes, f"{codes}_scale"], [f"{codes}_values"], f"{codes}_dequantize", axis=axis
            )
            model.graph.node.insert(0, dequantized)
        node.input[1] = f"{made[name, axis]}_values"
        layers.append(node.name)
    _drop_unused(model, {name for name, _ in made})
    return layers


def _weights(model: ModelProto, operators: Collection[str]) -> Iterator[tuple[NodeProto, NDArray[np.float32], int]]:
    """Nodes with a constant weight in float32, its values and the axis of its output channels."""
    from onnx import TensorProto, numpy_helper

    constants = {each.name: each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT}
    for node in model.graph.node:
        if node.op_type in operators and len(node.input) > 1 and node.input[1] in constants:
            values = numpy_helper.to_array(constants[node.input[1]])
            if values.ndim > 1:
                yield node, values, _axis_of_outputs(node, values.ndim)


def _axis_of_outputs(node: NodeProto, n_axes: int) -> int:
    is_transposed = any(each.name == "transB" and each.i for each in node.attribute)
    return 0 if node.op_type == "Conv" or is_transposed else n_axes - 1


def _codes(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes −127..127 and a scale for each place along an axis."""
    others = tuple(each for each in range(values.ndim) if each != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / np.float32(LARGEST_CODE), NO_SCALE)
    return np.rint(values / scales).astype(np.int8), scales.reshape(-1).astype(np.float32)


def split_gemms(model: ModelProto) -> None:
    """Writes each `Gemm` of a constant weight as `MatMul` and `Add`, which mean the same: blocks are of `MatMul`."""
    from onnx import helper, numpy_helper

    nodes = list(model.graph.node)
    users = Counter(name for node in nodes for name in node.input)
    constants = {each.name: each for each in model.graph.initializer}
    found: list[NodeProto] = []
    for node in nodes:
        plain = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        factors = plain.get("alpha", 1.0), plain.get("beta", 1.0), plain.get("transA", 0)
        if node.op_type != "Gemm" or node.input[1] not in constants or factors != (1.0, 1.0, 0):
            found.append(node)
            continue
        weight = constants[node.input[1]]
        if plain.get("transB", 0):
            turned = np.ascontiguousarray(numpy_helper.to_array(weight).T)
            # Of a weight that others take as it is there is one in each order.
            if users[weight.name] == 1:
                weight.CopyFrom(numpy_helper.from_array(turned, weight.name))
            else:
                name = f"{weight.name}_turned"
                if name not in constants:
                    _add(model, {name: turned})
                    constants[name] = model.graph.initializer[-1]
                weight = constants[name]
        has_bias = len(node.input) > 2 and bool(node.input[2])
        product = f"{node.output[0]}_product" if has_bias else node.output[0]
        found.append(helper.make_node("MatMul", [node.input[0], weight.name], [product], node.name))
        if has_bias:
            found.append(helper.make_node("Add", [product, node.input[2]], list(node.output), f"{node.name}/bias"))
    del model.graph.node[:]
    model.graph.node.extend(found)


def _in_blocks(model: ModelProto, bits: int, block_size: int) -> list[str]:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
    from onnxruntime.quantization.quant_utils import QuantFormat

    layers = [node.name for node, values, _ in _weights(model, ("MatMul",)) if values.ndim == 2]
    if layers:
        config = DefaultWeightOnlyQuantConfig(
            block_size=block_size,
            is_symmetric=True,
            accuracy_level=0,
            quant_format=QuantFormat.QOperator,
            op_types_to_quantize=("MatMul",),
            bits=bits,
        )
        tool = MatMulNBitsQuantizer(model, algo_config=config)
        tool.process()
        if tool.model.model is not model:
            model.CopyFrom(tool.model.model)
    return layers


def _add(model: ModelProto, arrays: dict[str, NDArray[Any]]) -> None:
    from onnx import numpy_helper

    model.graph.initializer.extend([numpy_helper.from_array(array, name) for name, array in arrays.items()])


def _drop_unused(model: ModelProto, names: Collection[str]) -> None:
    """Removes floating-point weights that no node takes any more."""
    from quantbench.backends.onnx_messages import nodes_of

    used = {name for node in nodes_of(model) for name in node.input} | {each.name for each in model.graph.output}
    for tensor in [each for each in model.graph.initializer if each.name in names and each.name not in used]:
        model.graph.initializer.remove(tensor)
