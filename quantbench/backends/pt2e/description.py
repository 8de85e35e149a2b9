"""An exported program's constants, quantizers, operators, inputs and outputs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from quantbench.backends.exported.graphs import layer_of
from quantbench.backends.interface import Description, Entry, Schema
from quantbench.backends.module import array_of
from quantbench.backends.pt2e.compiling import read_program

SYMMETRIC_ZERO = 0


def describe_program(path: Path) -> Description:
    """Keys are the constants by their names in the file, and the quantizer of each layer's activations.

    Raises:
        CheckpointError: if the file is missing, damaged or unsafe.
    """
    program = read_program(path)
    keys: Schema = {}
    digests: dict[str, str] = {}
    payload = 0
    for name, tensor in sorted({**program.state_dict, **program.constants}.items()):
        keys[name] = {"dtype": _dtype(tensor.dtype), "shape": list(tensor.shape)}
        content = array_of(tensor.detach().cpu().contiguous()).tobytes()
        digests[name] = hashlib.sha256(content).hexdigest()
        payload += tensor.nbytes
    _describe_quantizers(program, keys, digests)
    graph = {
        "operators": dict(sorted(_operators(program).items())),
        "inputs": [_tensor(program, name) for name in program.graph_signature.user_inputs],
        "outputs": [_tensor(program, name) for name in program.graph_signature.user_outputs],
    }
    return Description(keys, digests, payload, graph)


def _describe_quantizers(program: Any, keys: Schema, digests: dict[str, str]) -> None:
    """Adds scheme and axis of integer constants, and an entry for each quantizer of activations."""
    constants = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    for node in program.graph.nodes:
        target = str(node.target)
        if node.op != "call_function" or "quantized_decomposed" not in target:
            continue
        if "dequantize_per" in target:
            name = constants.get(getattr(node.args[0], "name", ""))
            if name is not None:
                keys[name] |= _scheme(node, target)
                if "per_tensor" in target:
                    digests[name] = _digest([digests[name], *map(str, node.args[1:5])])
        elif "quantize_per_tensor" in target:
            name = _free(f"{_layer_before(node)}.activation", keys)
            scale, zero_point, low, high, dtype = node.args[1:6]
            keys[name] = {"dtype": _dtype(dtype), "shape": [], "qscheme": "per_tensor_affine"}
            digests[name] = _digest([str(scale), str(zero_point), str(low), str(high)])


def _scheme(node: Any, target: str) -> Entry:
    """Weights are symmetric with this backend, and their zero points 0."""
    if "per_channel" in target:
        return {"qscheme": "per_channel_symmetric", "axis": node.args[3]}
    return {"qscheme": "per_tensor_symmetric" if node.args[2] == SYMMETRIC_ZERO else "per_tensor_affine"}


def _layer_before(node: Any) -> str:
    """The layer whose results a quantizer is for, or `input`."""
    source = node.args[0]
    return layer_of(source) or ("input" if source.op == "placeholder" else str(source.name))


def _free(name: str, taken: Schema) -> str:
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}#{n}"
    return found


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _operators(program: Any) -> Counter[str]:
    return Counter(
        str(node.target).removesuffix(".default") for node in program.graph.nodes if node.op == "call_function"
    )


def _tensor(program: Any, name: str) -> dict[str, Any]:
    value = next(node.meta["val"] for node in program.graph.nodes if node.name == name)
    shape = [size if isinstance(size, int) else size.node.maybe_as_int() for size in value.shape]
    return {"name": name, "dtype": _dtype(value.dtype), "shape": shape}


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
