"""A checkpoint key by key, packed parameters unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from quantbench.backends.checkpoint import describe_entry, read_checkpoint, read_safetensors, schema_of
from quantbench.backends.origin import PACKED
from quantbench.backends.quantized_tensors import PER_CHANNEL, is_quantized
from quantbench.backends.tensor_classes import is_composed
from quantbench.errors import BaselineError, CheckpointError

State = dict[str, Any]
COLUMNS = ("key", "what", "scale", "zero point")


def open_checkpoint(path: Path) -> State:
    """A state dict from safetensors or a `torch.save` file, without running code.

    Raises:
        CheckpointError: if the file is missing, damaged, unsafe or not a state dict.
    """
    if path.suffix != ".safetensors":
        state = read_checkpoint(path)
        if inner := [key for key, value in state.items() if isinstance(value, dict)]:
            raise CheckpointError(
                f"{path}: '{inner[0]}' is itself a mapping, as in a file that keeps a whole training; save the state "
                f"dict alone, with torch.save(model.state_dict(), …)"
            )
        return state
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        return dict(read_safetensors(path))
    except BaselineError as error:
        raise CheckpointError(str(error)) from None


def rows(state: State) -> list[tuple[str, str, str, str]]:
    """One row per key, in the file's order; the members of a packed tuple follow it, indented."""
    listed = []
    for key, entry in schema_of(state).items():
        value = state[key]
        if isinstance(value, tuple):
            listed.append((key, f"packed, {len(value)} members", "", ""))
            names = ("weight", "bias") if key.endswith(PACKED) else range(len(value))
            for name, member, described in zip(names, value, entry["members"], strict=False):
                listed.append((f"  {name}", describe_entry(described), *_scales(member)))
        else:
            listed.append((key, describe_entry(entry), *_own_scale(key, value)))
    return listed


def _own_scale(key: str, value: Any) -> tuple[str, str]:
    """Keys that are themselves a layer's scale or zero point show their value in its column."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and not is_quantized(value):
        if key.endswith(".scale"):
            return f"{value.item():.6g}", ""
        if key.endswith(".zero_point"):
            return "", f"{value.item()}"
    return _scales(value)


def _scales(value: Any) -> tuple[str, str]:
    """A quantized tensor's scale and zero point, or the range over its channels."""
    if not is_quantized(value):
        return "", ""
    if value.qscheme() in PER_CHANNEL:
        scales, zeros = value.q_per_channel_scales(), value.q_per_channel_zero_points()
        low, high = int(zeros.min()), int(zeros.max())
        return f"{scales.min():.3g} … {scales.max():.3g}", f"{low}" if low == high else f"{low} … {high}"
    return f"{value.q_scale():.6g}", f"{value.q_zero_point()}"


def value_difference(old: Any, new: Any) -> str | None:
    """Difference of the values of two entries of the same form, in words; None if they are equal."""
    if isinstance(old, tuple):
        parts = [value_difference(one, other) for one, other in zip(old, new, strict=True)]
        return "; ".join(part for part in parts if part) or None
    if not isinstance(old, torch.Tensor):
        return None if old == new else f"{old} → {new}"
    one, other = (_in_floating_point(value).detach() for value in (old, new))
    if torch.equal(one, other):
        return None
    if one.numel() == 1:
        return f"{one.item():.6g} → {other.item():.6g}"
    wide = torch.complex128 if one.is_complex() else torch.float64
    differences = (one.to(wide) - other.to(wide)).abs()
    # NaN in the same places of both is no difference.
    differences = differences[~(one.isnan() & other.isnan())]
    largest = float(differences.max()) if differences.numel() else 0.0
    return f"values differ by up to {largest:.3g}" if largest != 0.0 else None


def _in_floating_point(value: torch.Tensor) -> torch.Tensor:
    return value.dequantize() if is_quantized(value) or is_composed(value) else value
