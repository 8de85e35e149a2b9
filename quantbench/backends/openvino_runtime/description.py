"""An OpenVINO model's constants, operators, inputs and outputs."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from quantbench.backends.interface import Description, Entry
from quantbench.backends.openvino_runtime.reading import spec_of

INTEGERS = {"int8", "uint8", "int4", "uint4", "int2", "uint2"}
# Types that numpy does not have, in its way of naming.
LETTERS = {"i": "int", "u": "uint", "f": "float", "bf": "bfloat", "nf": "nfloat"}


def describe_model(model: Any, versions: dict[str, Any]) -> Description:
    """Keys are the constants by their names in the file; of integers with a scale also its axis.

    Args:
        model: an `openvino.Model`.
        versions: of the file's format.
    """
    keys: dict[str, Entry] = {}
    digests: dict[str, str] = {}
    payload, operators = 0, Counter[str]()
    opsets: set[str] = set()
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if kind != "Constant":
            operators[kind] += 1
            opsets.add(op.get_type_info().version_id)
            continue
        name = _free(op.friendly_name, keys)
        keys[name], values = _entry(op), _bytes(op)
        digests[name] = hashlib.sha256(values).hexdigest()
        payload += len(values)
    graph = {
        "versions": versions | {"opsets": sorted(opsets)},
        "operators": dict(sorted(operators.items())),
        "inputs": [_port(port) for port in model.inputs],
        "outputs": [_port(port) for port in model.outputs],
    }
    return Description(keys, digests, payload, graph)


def _free(name: str, taken: dict[str, Entry]) -> str:
    """The name, or the first free one with a number: names in a file may come twice."""
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}#{n}"
    return found


def _entry(op: Any) -> Entry:
    """Type and shape of a constant; of integers the shape of the scale that they are multiplied with."""
    entry: Entry = {"dtype": _dtype(op), "shape": list(op.output(0).shape)}
    if entry["dtype"] not in INTEGERS or (found := _scale_of(op)) is None:
        return entry
    scale, symmetry = found
    axes = [axis for axis, size in enumerate(scale) if size > 1]
    shape = entry["shape"]
    # Blocks `[outputs, blocks, values]` have an axis of their own; those of 8 bits are never compressed in blocks.
    if "8" not in entry["dtype"] and len(shape) == 3 and scale == [*shape[:2], 1]:
        return entry | {"qscheme": f"per_block_{symmetry}", "axis": 1, "block_size": shape[2]}
    entry["qscheme"] = f"per_channel_{symmetry}" if axes else f"per_tensor_{symmetry}"
    if axes:
        entry["axis"] = axes[0] if len(axes) == 1 else axes
    return entry


def _dtype(op: Any) -> str:
    """The type's name as numpy would give it: `i8` is int8."""
    name = str(op.get_element_type().type_name)
    letters = name.rstrip("0123456789")
    return LETTERS[letters] + name[len(letters) :] if letters in LETTERS else name


def _scale_of(op: Any) -> tuple[list[int], str] | None:
    """Shape of the constant that a quantized one is multiplied with, and `affine` or `symmetric`."""
    node, symmetry = op, "symmetric"
    # Convert, Subtract, Multiply.
    for _ in range(3):
        targets = [port.get_node() for port in node.output(0).get_target_inputs()]
        if len(targets) != 1:
            return None
        node = targets[0]
        if node.get_type_name() == "Multiply":
            operands = [port.get_source_output().get_node() for port in node.inputs()]
            constants = [each for each in operands if each.get_type_name() == "Constant"]
            return (list(constants[0].output(0).shape), symmetry) if constants else None
        if node.get_type_name() == "Subtract":
            # Of a zero point.
            symmetry = "affine"
        elif node.get_type_name() != "Convert":
            return None
    return None


def _bytes(op: Any) -> bytes:
    """The values as they lie in the file; those of less than a byte are packed."""
    if op.get_element_type().type_name == "string":
        return b"\0".join(str(text).encode() for text in op.get_data().ravel())
    return bytes(op.get_data().tobytes()) if op.get_byte_size() else b""


def _port(port: Any) -> dict[str, Any]:
    spec = spec_of(port)
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape or ())}
