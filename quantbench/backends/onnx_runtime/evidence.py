"""The precision in which a file really ran: the runtime's own graph after all its rewriting, and its own profile.

What the file says is no evidence: a convolution between `DequantizeLinear` and `QuantizeLinear` is int8 where the
runtime fused the three into one kernel, and floating point otherwise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Array
from quantbench.backends.onnx_file import Node, OnnxModel, layer_name, read_onnx, read_proto
from quantbench.backends.onnx_messages import nodes_of
from quantbench.backends.onnx_runtime.operators import HARMLESS, INT8, SUMS, Shape, is_untold, macs_of
from quantbench.backends.onnx_runtime.session import Settings, open_session, options_of
from quantbench.backends.onnx_runtime.writing import whole
from quantbench.errors import MeasurementError, QuantizationError
from quantbench.temporary import temporary_folder

# A rewriting for speed alone: it pads channels of floating-point convolutions and takes their names away.
LEFT_OUT = ("NchwcTransformer",)
OPTIMIZED, VALUES = "optimized.onnx", "optimized.bin"
# What the profile adds to the name of a node.
TIMED = "_kernel_time"
# Where the profile ends without a word.
MOST_EVENTS = 1_000_000


@dataclass(frozen=True)
class Kernel:
    """One run of one operator.

    Attributes:
        name: of the node.
        op: without its domain.
        outputs: shapes of those that are tensors.
    """

    name: str
    op: str
    outputs: tuple[Shape, ...]


def coverage_of(path: Path, settings: Settings, batches: Sequence[Mapping[str, Array]]) -> Coverage:
    """Runs a file once more, in a session that is watched, and counts what its kernels multiplied.

    Args:
        path: of the file.
        settings: those that it is run with otherwise.
        batches: arrays by the names of its inputs.

    Raises:
        CheckpointError: if it cannot be loaded.
        MeasurementError: if nothing was seen that multiplies, or might.
    """
    with temporary_folder() as folder:
        kernels = _run(_named(path, Path(folder)), settings, batches, Path(folder))
        graph = read_onnx(Path(folder) / OPTIMIZED)
    found = counted(graph, kernels, {name: array.shape for name, array in batches[0].items()})
    if found.macs == 0 and not found.uncounted:
        raise MeasurementError(f"{path}: no convolution or matrix product was seen in its forward")
    return found


def _named(path: Path, folder: Path) -> Path:
    """The file, or a copy of it in which each node has a name, by which its runs are told from those of others."""
    proto = read_proto(path)
    if all(node.name for node in nodes_of(proto)):
        return path
    try:
        proto = whole(path)
    # Too large for one file; what has no name stays uncounted.
    except QuantizationError:
        return path
    for at, node in enumerate(nodes_of(proto)):
        node.name = node.name or f"{node.op_type}#{at}"
    copy = folder / path.name
    copy.write_bytes(proto.SerializeToString())
    return copy


def _run(path: Path, settings: Settings, batches: Sequence[Mapping[str, Array]], folder: Path) -> tuple[Kernel, ...]:
    """The kernels that ran, in their order."""
    options = options_of(settings)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(folder / OPTIMIZED)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", VALUES)
    session = open_session(path, settings, path, options, LEFT_OUT)
    for batch in batches:
        session.run(None, dict(batch))
    profile = Path(session.end_profiling())
    return tuple(_kernels(json.loads(profile.read_text(encoding="utf-8"))))


def _kernels(events: Iterable[Mapping[str, Any]]) -> Iterator[Kernel]:
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(TIMED):
            tensors = event["args"].get("output_type_shape", [])
            shapes = tuple(tuple(shape) for each in tensors for shape in each.values())
            yield Kernel(event["name"].removesuffix(TIMED), str(event["args"]["op_name"]), shapes)


def counted(graph: OnnxModel, kernels: Sequence[Kernel], given: Mapping[str, Shape]) -> Coverage:
    """Multiply-accumulates of kernels, by the precision of each.

    Args:
        graph: as the runtime ran it.
        kernels: that ran, in their order.
        given: shapes of the inputs.
    """
    nodes = _by_name(graph)
    shapes: dict[str, Shape] = {name: tensor.shape for name, tensor in graph.constants.items()} | dict(given)
    products: set[str] = set()
    int8, floating, unknown, uncounted = Counter[str](), Counter[str](), Counter[str](), dict[str, None]()
    for kernel in kernels:
        node = nodes.get(kernel.name)
        if node is None or node.op.rpartition(".")[2] != kernel.op:
            # Made while the session ran, or one of several of that name.
            if kernel.op not in HARMLESS:
                uncounted[f"{kernel.op} in {kernel.name or 'the graph'}"] = None
            continue
        made = [name for name in node.outputs if name]
        shapes |= dict(zip(made, kernel.outputs, strict=False))
        layer = layer_name(node)
        if node.op in HARMLESS:
            if node.op in SUMS and not products.isdisjoint(node.inputs):
                uncounted[f"products summed by {node.op} in {layer}"] = None
            # The square of a value is what norms sum up.
            if node.op == "Mul" and len(set(node.inputs)) > 1:
                products |= set(made)
            continue
        macs = macs_of(node, [shapes.get(name) for name in node.inputs], [shapes.get(name) for name in node.outputs])
        if macs is None:
            uncounted[f"{node.op} in {layer}"] = None
        else:
            by_precision = int8 if node.op in INT8 else floating
            (unknown if is_untold(node) else by_precision)[layer] += macs
    if len(kernels) >= MOST_EVENTS:
        uncounted[f"all after the first {MOST_EVENTS:,} operators"] = None
    return Coverage(int8.total(), floating.total(), dict(floating), dict(int8), tuple(uncounted), dict(unknown))


def _by_name(graph: OnnxModel) -> dict[str, Node]:
    """Nodes by name, without those whose name is not theirs alone."""
    counts = Counter(node.name for node in graph.nodes)
    return {node.name: node for node in graph.nodes if counts[node.name] == 1}
