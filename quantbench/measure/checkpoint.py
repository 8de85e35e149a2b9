"""A checkpoint as a file: written the same way for every model, described key by key, opened without running code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from quantbench.errors import CheckpointError
from quantbench.files import replacing
from quantbench.upstream import silenced

# What one key of a checkpoint is: dtype and shape, and for quantized tensors qscheme and axis.
Entry = dict[str, Any]
Schema = dict[str, Entry]


def serialize(state: dict[str, Any]) -> bytes:
    """A state dict as the bytes of a `torch.save` file; equal content gives equal bytes.

    `torch.save` writes a file's own name into it; going through a buffer keeps names out.
    """
    buffer = io.BytesIO()
    with silenced():
        torch.save(state, buffer)
    return buffer.getvalue()


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Saves a state dict whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(serialize(state))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Opens a checkpoint that may come from anywhere: only tensors and plain values are accepted.

    Raises:
        CheckpointError: if it is missing, cut short, not a state dict, or would run code when opened.
    """
    try:
        with silenced():
            state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except pickle.UnpicklingError as error:
        reason = str(error).split("Please file an issue")[0].splitlines()
        detail = next((line.strip() for line in reason if "GLOBAL" in line or "Unsupported" in line), reason[0])
        raise CheckpointError(
            f"{path}: refused: opening it would run code or build objects that are not tensors ({detail[:200]}); "
            "save a state dict with torch.save(model.state_dict(), …)"
        ) from None
    except (RuntimeError, EOFError, ValueError, zipfile.BadZipFile, OSError, KeyError) as error:
        raise CheckpointError(
            f"{path}: not a whole checkpoint ({str(error).splitlines()[0][:200]}); save it again"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, not a state dict")
    return state


def schema_of(state: dict[str, Any]) -> Schema:
    """Describes every key; a packed tuple's members get their own entries, `key[0]`, `key[1]`, …"""
    schema: Schema = {}
    for key, value in state.items():
        if isinstance(value, tuple):
            schema.update({f"{key}[{i}]": _entry(member) for i, member in enumerate(value)})
        else:
            schema[key] = _entry(value)
    return schema


def payload_bytes(state: dict[str, Any]) -> int:
    """Bytes of the tensors alone, scales and zero points of channels included; the same with every version of torch."""
    total = 0
    for value in state.values():
        for tensor in value if isinstance(value, tuple) else (value,):
            if isinstance(tensor, torch.Tensor):
                total += tensor.numel() * tensor.element_size()
                if tensor.is_quantized and tensor.qscheme() in _PER_CHANNEL:
                    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
                    total += scales.numel() * scales.element_size() + zeros.numel() * zeros.element_size()
    return total


_PER_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric, torch.per_channel_affine_float_qparams)


def _entry(value: Any) -> Entry:
    if not isinstance(value, torch.Tensor):
        return {"type": type(value).__name__, "value": str(value)}
    entry: Entry = {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
    if value.is_quantized:
        entry["qscheme"] = str(value.qscheme()).removeprefix("torch.")
        if value.qscheme() in _PER_CHANNEL:
            entry["axis"] = value.q_per_channel_axis()
    return entry
