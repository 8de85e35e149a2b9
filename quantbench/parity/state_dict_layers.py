"""Layers of an int8 state dict of torch, as eager mode and FX graph mode write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantbench.parity.layers import INPUT, Layer, Outputs, Scale, Weights, assembled, join_place

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact

PACKED, SCALE, ZERO_POINT = "._packed_params", ".scale", ".zero_point"


def layers_of(artifact: Artifact) -> list[Layer]:
    """See `quantbench.parity.layers.layers_of`."""
    from quantbench.backends.checkpoint import read_checkpoint
    from quantbench.backends.origin import is_dynamic

    state = read_checkpoint(artifact.path)
    weights = {name: found for key, value in state.items() for name, found in _weights(key, value)}
    # A layer that finds its scales batch by batch keeps a 1 in the place of one.
    scaled = [] if is_dynamic(state) else [key.removesuffix(SCALE) for key in state if key.endswith(SCALE)]
    scaled = [name for name in scaled if f"{name}{ZERO_POINT}" in state]
    stubs = [name for name in scaled if name not in weights and state[f"{name}{SCALE}"].dim() == 1]
    joins: dict[str, int] = {}
    outputs = []
    for name in scaled:
        place = name
        if name in stubs:
            # What several stubs quantize is told apart by their names alone.
            place = INPUT if len(stubs) == 1 else name
        elif name not in weights and f"{name}.weight" not in state:
            place = join_place(name.rpartition(".")[0], joins)
        scale = Scale.of(state[f"{name}{SCALE}"].numpy(), state[f"{name}{ZERO_POINT}"].numpy())
        outputs.append(Outputs(name, place, scale))
    return assembled(weights, outputs)


def _weights(key: str, value: Any) -> list[tuple[str, Weights]]:
    """The layer of a key with its quantized weights; none for what is no weight."""
    packed = isinstance(value, tuple) and key.endswith(PACKED)
    tensor = value[0] if packed else value
    if not getattr(tensor, "is_quantized", False):
        return []
    name = key.partition(PACKED)[0] if packed else key.removesuffix(".weight")
    per_channel = "channel" in str(tensor.qscheme())
    scale = (
        Scale.of(tensor.q_per_channel_scales().numpy(), tensor.q_per_channel_zero_points().numpy())
        if per_channel
        else Scale.of(tensor.q_scale(), tensor.q_zero_point())
    )
    return [(name, Weights(scale, tensor.dequantize().double().numpy()))]
