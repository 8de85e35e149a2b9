"""Faults of quantization planted into candidates of `eager` and `onnxruntime`, for `blame_faults.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.backends.checkpoint import write_checkpoint
from quantbench.backends.insides import Grid, InnerLayer
from quantbench.backends.interface import Artifact
from quantbench.backends.onnx_runtime.put_back import float_parameters
from quantbench.backends.onnx_runtime.qdq_layers import QdqGraph
from quantbench.backends.origin import note_origin
from quantbench.backends.torch_ao.base import TorchAoBackend

Floats = NDArray[np.float64]
# Kind → strengths, weak ones first.
OF_RESULTS = {"clipped": (2.0, 4.0, 8.0, 16.0), "unused_range": (8.0, 16.0, 32.0, 64.0), "zero_point": (30, 60, 90)}
OF_WEIGHTS = {
    "weight_clipped": (2.0, 4.0, 8.0, 16.0), "weight_unused_range": (8.0, 16.0, 32.0, 64.0), "wrong_axis": (1.0,),
    "weight_zero_point": (4, 8, 16, 32), "double_quantization": (16.0, 32.0, 64.0), "dead_channel": (0.1, 0.2, 0.4),
    "other_weights": (0.25, 0.5, 1.0, 2.0),
}  # fmt: skip
OF_BIAS = {"bias": (0.05, 0.1, 0.2, 0.4, 0.8)}
KINDS = {**OF_RESULTS, **OF_WEIGHTS, **OF_BIAS}
# Changes that do no harm.
BENIGN = {"clipped": 1.02, "unused_range": 1.05, "weight_unused_range": 1.1, "bias": 0.0005}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: as `quantbench.blame.causes` names it.
        layer: where.
        strength: of the kind.
        ends: of the range that its results are given; None where the kind tells it.
    """

    kind: str
    layer: str
    strength: float
    ends: tuple[float, float] | None = None


def fits(kind: str, layer: InnerLayer) -> bool:
    """True if a layer can have such a fault."""
    grid = layer.grid
    if kind in OF_RESULTS:
        has_sides = grid is not None and 40 <= float(grid.zero_point) - grid.first <= 215
        return grid is not None and (kind != "zero_point" or has_sides)
    weight = layer.weight
    if weight is None or weight.grid is None or weight.grid.axis != 0 or weight.reference is None:
        return False
    if kind == "bias":
        return layer.bias is not None and layer.bias.reference is not None and grid is not None
    if kind == "wrong_axis":
        scales = weight.grid.scale
        return float(scales.max() / np.median(scales)) > 2
    return True


def changed_grid(grid: Grid, fault: Fault) -> tuple[float, int]:
    """Scale and zero point of results with a fault."""
    scale, zero_point = float(grid.scale), int(grid.zero_point)
    if fault.ends is not None:
        scale = (fault.ends[1] - fault.ends[0]) / (grid.last - grid.first)
        return scale, round(grid.first - fault.ends[0] / scale)
    if fault.kind == "clipped":
        return scale / fault.strength, zero_point
    if fault.kind == "unused_range":
        return scale * fault.strength, zero_point
    middle = (grid.first + grid.last) / 2
    return scale, int(zero_point + (fault.strength if zero_point < middle else -fault.strength))


def changed_weights(reference: Floats, scale: Floats, fault: Fault) -> tuple[Floats, Floats]:
    """Codes `[outputs, …]` and scales `[outputs]` of weights with a fault."""
    shape = (-1, *[1] * (reference.ndim - 1))

    def codes(values: Floats, scales: Floats) -> Floats:
        return np.clip(np.round(values / scales.reshape(shape)), -128, 127)

    strength = fault.strength
    match fault.kind:
        case "weight_clipped":
            return codes(reference, scale / strength), scale / strength
        case "weight_unused_range":
            return codes(reference, scale * strength), scale * strength
        case "wrong_axis":
            order, moved = np.argsort(scale), scale.copy()
            moved[order] = scale[order[::-1]]
            return codes(reference, moved), moved
        case "weight_zero_point":
            return np.clip(codes(reference, scale) + strength, -128, 127), scale
        case "double_quantization":
            coarse = (scale * strength).reshape(shape)
            return codes(np.round(reference / coarse) * coarse, scale), scale
        case "dead_channel":
            found = codes(reference, scale)
            norms = np.square(reference).reshape(len(reference), -1).sum(axis=1)
            found[np.argsort(-norms)[: max(1, round(strength * len(norms)))]] = 0
            return found, scale
        case _:
            noise = np.random.RandomState(0).randn(*reference.shape) * reference.std() * strength
            return codes(reference + noise, scale), scale


def changed_bias(bias: Floats, layer: InnerLayer, fault: Fault) -> Floats:
    """A bias that is off in every eighth channel, by a part of the range of results."""
    grid, made = layer.grid, np.array(bias, np.float64)
    if grid is not None:
        made.reshape(-1)[:: min(8, made.size)] += fault.strength * float(grid.high - grid.low)
    return made


def planted(fault: Fault, layer: InnerLayer, artifact: Artifact, backend: Any, insides: Any, folder: Path) -> Artifact:
    """A candidate with a fault, in a folder."""
    if artifact.path.suffix == ".onnx":
        path = folder / artifact.path.name
        path.write_bytes(_in_onnx(fault, layer, insides))
        return Artifact.of_files(backend.spec, [path], artifact.recipe, artifact.model, artifact.observers)
    path = folder / artifact.path.name
    module = backend.module(artifact)
    _in_module(fault, layer, module.get_submodule(fault.layer), backend)
    state = module.state_dict()
    note_origin(state, artifact.recipe)
    write_checkpoint(path, state)
    return Artifact.of_files(backend.spec, [path], artifact.recipe, artifact.model, artifact.observers)


def _in_onnx(fault: Fault, layer: InnerLayer, insides: Any) -> bytes:
    from onnx import numpy_helper

    made = type(insides._candidate)()
    made.CopyFrom(insides._candidate)
    graph, reference = QdqGraph(made), QdqGraph(insides._reference)
    own = next(each for each in graph.layers if each.name == fault.layer)

    def put(name: str, change: Callable[[Floats], Floats]) -> None:
        tensor = graph.constants[name]
        before = numpy_helper.to_array(tensor)
        after = np.asarray(change(before.astype(np.float64))).reshape(before.shape).astype(before.dtype)
        tensor.CopyFrom(numpy_helper.from_array(after, name))

    if (fault.kind in OF_RESULTS or fault.ends) and layer.grid is not None:
        scale, zero_point = changed_grid(layer.grid, fault)
        node = graph.nodes[own.results[0].node]
        put(node.input[1], lambda old: np.full_like(old, scale))
        put(node.input[2], lambda old: np.full_like(old, zero_point))
        return bytes(made.SerializeToString())
    place = 2 if fault.kind == "bias" else 1
    held = next(each for each in own.parameters if each.place == place)
    names = graph.nodes[held.node].input
    if fault.kind == "bias" and layer.bias is not None and layer.bias.grid is not None:
        grid, bias = layer.bias.grid, changed_bias(layer.bias.candidate, layer, fault)
        put(held.codes, lambda _: np.round(bias / grid.scale + grid.zero_point))
        return bytes(made.SerializeToString())
    twin = insides._cut[fault.layer].twin
    weights = float_parameters(reference, twin)[1].astype(np.float64)
    channel = (
        next(at for at in range(weights.ndim) if weights.shape[at] == len(layer.weight.candidate))
        if (layer.weight is not None)
        else 0
    )
    scales = numpy_helper.to_array(graph.constants[names[1]]).astype(np.float64)
    codes, scales = changed_weights(np.moveaxis(weights, channel, 0), scales, fault)
    put(names[0], lambda _: np.moveaxis(codes, 0, channel))
    put(names[1], lambda _: scales)
    return bytes(made.SerializeToString())


def _in_module(fault: Fault, layer: InnerLayer, module: Any, backend: TorchAoBackend) -> None:
    if (fault.kind in OF_RESULTS or fault.ends) and layer.grid is not None:
        scale, zero_point = changed_grid(layer.grid, fault)
        if isinstance(module.scale, torch.Tensor):
            module.scale.fill_(scale)
            module.zero_point.fill_(zero_point)
        else:
            module.scale, module.zero_point = scale, zero_point
        return
    codes, bias = module.weight(), module.bias()
    if fault.kind == "bias" and layer.bias is not None:
        bias = torch.from_numpy(changed_bias(layer.bias.candidate, layer, fault)).float()
    elif layer.weight is not None and layer.weight.reference is not None:
        scales = codes.q_per_channel_scales().numpy()
        found, scales = changed_weights(np.asarray(layer.weight.reference, np.float64), scales, fault)
        values = torch.from_numpy(found * scales.reshape(-1, *[1] * (found.ndim - 1))).float()
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        codes = torch.quantize_per_channel(values, torch.from_numpy(scales), zeros, 0, torch.qint8)
    with backend._settings():
        module.set_weight_bias(codes, bias)
