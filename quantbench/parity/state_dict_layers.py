"""Layers of an int8 state dict of torch, as eager mode and FX graph mode write it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quantbench.parity.layers import INPUT, Layer, Outputs, Scale, Weights, assembled, join_place

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact

PACKED, SCALE, ZERO_POINT = "._packed_params", ".scale", ".zero_point"
# FX graph mode keeps scales that are of no layer beside the module that they are used in, its dots replaced.
NUMBERED = re.compile(r"(?P<owner>.+)_scale_(?P<number>\d+)")
GIVEN = "_input"


def layers_of(artifact: Artifact) -> list[Layer]:
    """See `quantbench.parity.layers.layers_of`."""
    from quantbench.backends.checkpoint import read_checkpoint
    from quantbench.backends.origin import is_dynamic

    state = read_checkpoint(artifact.path)
    weights = {name: found for key, value in state.items() for name, found in _weights(key, value)}
    # A layer that finds its scales batch by batch keeps a 1 in the place of one.
    outputs = [] if is_dynamic(state) else [*_of_modules(state, weights), *_of_graph(state, weights)]
    return assembled(weights, outputs)


def _of_modules(state: Mapping[str, Any], weights: Mapping[str, Weights]) -> Iterator[Outputs]:
    """Scales of layers, stubs and `FloatFunctional`s."""
    scaled = [key.removesuffix(SCALE) for key in state if key.endswith(SCALE)]
    scaled = [name for name in scaled if f"{name}{ZERO_POINT}" in state]
    stubs = [name for name in scaled if name not in weights and state[f"{name}{SCALE}"].dim() == 1]
    joins: dict[str, int] = {}
    for name in scaled:
        place = name
        if name in stubs:
            # What several stubs quantize is told apart by their names alone.
            place = INPUT if len(stubs) == 1 else name
        elif name not in weights and f"{name}.weight" not in state:
            place = join_place(name.rpartition(".")[0], joins)
        yield Outputs(name, place, _scale(state, f"{name}{SCALE}", f"{name}{ZERO_POINT}"))


def _of_graph(state: Mapping[str, Any], weights: Mapping[str, Weights]) -> Iterator[Outputs]:
    """Scales of a graph: of its input, and of results that meet in a module."""
    found = [each for key in state if (each := NUMBERED.fullmatch(key)) is not None]
    given = [each["owner"] for each in found if each["owner"].endswith(GIVEN)]
    parents = {name.rpartition(".")[0] for name in weights}
    modules = {parent.replace(".", "_"): parent for parent in parents}
    joins: dict[str, int] = {}
    for each in found:
        owner, zero_point = each["owner"], f"{each['owner']}_zero_point_{each['number']}"
        if zero_point not in state:
            continue
        place = each[0]
        if owner in given:
            place = INPUT if len(given) == 1 else each[0]
        elif owner in modules:
            place = join_place(modules[owner], joins)
        yield Outputs(each[0], place, _scale(state, each[0], zero_point))


def _scale(state: Mapping[str, Any], scale: str, zero_point: str) -> Scale:
    return Scale.of(state[scale].numpy(), state[zero_point].numpy())


def _weights(key: str, value: Any) -> Iterator[tuple[str, Weights]]:
    """The layer of a key with its quantized weights; none for what is no weight."""
    packed = isinstance(value, tuple) and key.endswith(PACKED)
    tensor = value[0] if packed else value
    if not getattr(tensor, "is_quantized", False):
        return
    name = key.partition(PACKED)[0] if packed else key.removesuffix(".weight")
    if "channel" in str(tensor.qscheme()):
        scale = Scale.of(tensor.q_per_channel_scales().numpy(), tensor.q_per_channel_zero_points().numpy())
    else:
        scale = Scale.of(tensor.q_scale(), tensor.q_zero_point())
    yield name, Weights(scale, tensor.dequantize().double().numpy())
