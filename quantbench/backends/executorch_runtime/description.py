"""A `.pte` file's constants, scales, operators, inputs and outputs, read from the file itself."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from quantbench.backends.executorch_runtime.kernels import OUTSIDE, PRODUCTS, bare, products_of
from quantbench.backends.executorch_runtime.names import names_in
from quantbench.backends.executorch_runtime.pte_file import PteFile, Tensor, read_pte
from quantbench.backends.executorch_runtime.xnnpack_graph import Graph, Value
from quantbench.backends.interface import Description, Entry

# Of the values of a node that multiplies, those that are constants.
PARTS = ("input", "weight", "bias")


def describe_pte(path: Path) -> Description:
    """Keys are the constants by their layers, and the quantizer of each quantized result.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    file = read_pte(path)
    keys: dict[str, Entry] = {}
    digests: dict[str, str] = {}
    payload = 0

    def add(name: str, entry: Entry, content: bytes) -> None:
        key, n = name, 1
        while key in keys:
            n += 1
            key = f"{name}#{n}"
        keys[key], digests[key] = entry, hashlib.sha256(content).hexdigest()

    seen: set[int] = set()
    for name, value in _values(file):
        if value.values is not None:
            # A constant that several operators share is stored once.
            payload += 0 if id(value.values) in seen else len(value.values) + len(value.scales)
            seen.add(id(value.values))
        add(name, _entry(value), (value.values or b"") + value.scales)
    for at, each in enumerate(file.method.values):
        if isinstance(each, Tensor) and each.values is not None:
            payload += len(each.values)
            add(each.name or f"constant_{at}", {"dtype": each.dtype, "shape": list(each.shape)}, each.values)
    return Description(keys, digests, payload, _structure(file))


def _values(file: PteFile) -> list[tuple[str, Value]]:
    """Name and value of each constant, and of each result with a scale of its own."""
    layers = iter([each.layer for each in products_of(file)[0]])
    found: list[tuple[str, Value]] = []
    counts = Counter[str]()
    for call in file.method.calls:
        if call.graph is None:
            if bare(call.operator) in OUTSIDE:
                next(layers, None)
            continue
        for node in call.graph.nodes:
            counts[node.kind] += 1
            layer = next(layers, "") if node.kind in PRODUCTS else f"{node.kind.lower()}_{counts[node.kind]}"
            names = PARTS if node.kind in PRODUCTS else tuple(f"constant_{at}" for at in range(len(node.inputs)))
            found += _constants(layer, names, node.inputs, call.graph)
            result = call.graph.values[node.output]
            given = call.graph.values.get(node.inputs[0])
            # What moves or chooses codes keeps their scale.
            if result.scales and (given is None or given.scales != result.scales):
                found.append((f"{layer}.activation", result))
    return found


def _constants(layer: str, names: tuple[str, ...], places: tuple[int, ...], graph: Graph) -> list[tuple[str, Value]]:
    values = [(name, graph.values.get(place)) for name, place in zip(names, places, strict=False)]
    return [(f"{layer}.{name}", each) for name, each in values if each is not None and each.values is not None]


def _entry(value: Value) -> Entry:
    entry: Entry = {"dtype": value.dtype, "shape": list(value.shape) if value.values is not None else []}
    if not value.scales:
        return entry
    if value.is_blockwise:
        return entry | {"qscheme": "per_block_symmetric", "axis": value.axis}
    if value.axis is not None:
        return entry | {"qscheme": "per_channel_symmetric", "axis": value.axis}
    is_weight = value.values is not None
    return entry | {"qscheme": "per_tensor_symmetric" if is_weight and not value.zero_point else "per_tensor_affine"}


def _structure(file: PteFile) -> dict[str, Any]:
    method, names = file.method, names_in(file)
    nodes = [node for call in method.calls if call.graph is not None for node in call.graph.nodes]
    inside = Counter(f"xnnpack::{node.kind}" for node in nodes)
    return {
        "versions": {"format": "ET12", "schema": file.version},
        "delegates": sum(call.graph is not None for call in method.calls),
        "operators": dict(sorted((inside + method.outside).items())),
        "inputs": list(map(_port, names.inputs, method.tensors(method.inputs))),
        "outputs": list(map(_port, names.outputs, method.tensors(method.outputs))),
    }


def _port(name: str, tensor: Tensor | None) -> dict[str, Any]:
    if tensor is None:
        return {"name": name, "dtype": "none", "shape": []}
    sizes: list[int | None] = list(tensor.shape)
    return {"name": name, "dtype": tensor.dtype, "shape": ([None, *sizes[1:]] if tensor.is_open else sizes)}
