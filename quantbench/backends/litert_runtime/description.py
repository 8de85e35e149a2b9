"""A `.tflite` file's constants, scales, operators, inputs and outputs, read from the file itself."""

from __future__ import annotations

import hashlib
import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.backends.interface import Description, Entry
from quantbench.backends.litert_runtime.tflite_file import open_tflite
from quantbench.errors import CheckpointError
from quantbench.files import read_bytes


def describe_tflite(path: Path) -> Description:
    """Keys are the tensors with values or with a scale, by their names; a digest is of both.

    Raises:
        CheckpointError: if the file is damaged.
    """
    # Its reader checks every offset of the file, which the one below does not.
    interpreter = open_tflite(path)
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    content = read_bytes(path)
    model = schema.Model.GetRootAs(content, 0)
    keys: dict[str, Entry] = {}
    digests: dict[str, str] = {}
    payload, operators = 0, Counter[str]()
    versions: dict[str, int] = {}
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    for at in range(model.SubgraphsLength()):
        graph = model.Subgraphs(at)
        for i in range(graph.TensorsLength()):
            tensor = graph.Tensors(i)
            entry, scales = _entry(tensor, types)
            values = _values(model.Buffers(tensor.Buffer()), content, path)
            if not values and not scales:
                continue
            name = _free((tensor.Name() or b"").decode("utf-8", "replace"), keys)
            keys[name], digests[name] = entry, hashlib.sha256(values + scales).hexdigest()
            payload += len(values) + (len(scales) if values else 0)
        for i in range(graph.OperatorsLength()):
            name, version = _operator(model.OperatorCodes(graph.Operators(i).OpcodeIndex()), names)
            operators[name] += 1
            versions[name] = max(version, versions.get(name, 0))
    described = {
        "versions": {"format": "TFLite", "schema": model.Version(), "operators": dict(sorted(versions.items()))},
        "operators": dict(sorted(operators.items())),
        "inputs": [_port(each) for each in interpreter.get_input_details()],
        "outputs": [_port(each) for each in interpreter.get_output_details()],
    }
    return Description(keys, digests, payload, described)


def _entry(tensor: Any, types: dict[int, str]) -> tuple[Entry, bytes]:
    """A tensor's description, and its scales with their zero points."""
    entry: Entry = {"dtype": types.get(tensor.Type(), "unknown"), "shape": _array(tensor.ShapeAsNumpy()).tolist()}
    quantization = tensor.Quantization()
    scales = _array(quantization.ScaleAsNumpy() if quantization else 0)
    if not len(scales):
        return entry, b""
    zeros = _array(quantization.ZeroPointAsNumpy())
    symmetry = "affine" if zeros.any() else "symmetric"
    entry["qscheme"] = f"per_channel_{symmetry}" if len(scales) > 1 else f"per_tensor_{symmetry}"
    if len(scales) > 1:
        entry["axis"] = quantization.QuantizedDimension()
    return entry, scales.tobytes() + zeros.tobytes()


def _values(buffer: Any, content: bytes, path: Path) -> bytes:
    """The bytes of a buffer, which lie within it or behind all of them, as the newer converters write them."""
    start, size = buffer.Offset(), buffer.Size()
    if start <= 1:
        return bytes(_array(buffer.DataAsNumpy()).tobytes())
    if start + size > len(content):
        raise CheckpointError(
            f"{path}: has {len(content):,} bytes, and values at {start:,} to {start + size:,}: it is cut short"
        )
    return content[start : start + size]


def _array(found: Any) -> Any:
    """A vector of the file; its reader gives 0 for one that is not there."""
    return found if isinstance(found, np.ndarray) else np.zeros(0, np.uint8)


def _operator(code: Any, names: dict[int, str]) -> tuple[str, int]:
    """Name and version of an operator; its number is in the older of two fields if it fits there."""
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = names.get(number, str(number))
    if name == "CUSTOM":
        name = f"CUSTOM {(code.CustomCode() or b'').decode('utf-8', 'replace')}"
    return name, code.Version()


def _free(name: str, taken: dict[str, Entry]) -> str:
    """The name, or the first free one with a number: names in a file may come twice."""
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}#{n}"
    return found


def _port(details: dict[str, Any]) -> dict[str, Any]:
    sizes = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    shape = [None if size < 0 else int(size) for size in sizes]
    return {"name": str(details["name"]), "dtype": str(np.dtype(details["dtype"])), "shape": shape}
