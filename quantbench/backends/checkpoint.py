"""A checkpoint as a file: written the same way for every model, described key by key, opened without running code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import torch

from quantbench.backends.entry import describe_entry as describe_entry
from quantbench.backends.interface import Entry, Schema
from quantbench.backends.quantized_tensors import PER_CHANNEL, is_quantized
from quantbench.backends.tensor_classes import bytes_of, describe_composed, is_composed
from quantbench.backends.torch_file import ADVICE, read_torch_file
from quantbench.errors import BaselineError, CheckpointError
from quantbench.files import open_file, printable, replacing
from quantbench.strict_json import MAX_BYTES, parse
from quantbench.upstream import silenced


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
        CheckpointError: as `read_torch_file`, or if it is not a state dict.
    """
    state = read_torch_file(path)
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, not names with their tensors; {ADVICE}")
    return state


def schema_of(state: dict[str, Any]) -> Schema:
    """Describes every key; a packed tuple has its `members` described."""
    return {key: _entry(value) for key, value in state.items()}


def payload_bytes(state: dict[str, Any]) -> int:
    """Bytes of the tensors alone, scales and zero points of channels included; the same with every version of torch."""
    total = 0
    for value in state.values():
        for tensor in value if isinstance(value, tuple) else (value,):
            if isinstance(tensor, torch.Tensor):
                total += bytes_of(tensor)
                if is_quantized(tensor) and tensor.qscheme() in PER_CHANNEL:
                    scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
                    total += scales.numel() * scales.element_size() + zeros.numel() * zeros.element_size()
    return total


def _entry(value: Any) -> Entry:
    if isinstance(value, tuple):
        return {"members": [_entry(member) for member in value]}
    if not isinstance(value, torch.Tensor):
        return {"type": type(value).__name__, "value": str(value)}
    if is_composed(value):
        return describe_composed(value)
    entry: Entry = {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
    if is_quantized(value):
        entry["qscheme"] = str(value.qscheme()).removeprefix("torch.")
        if value.qscheme() in PER_CHANNEL:
            entry["axis"] = value.q_per_channel_axis()
    return entry


def read_weights(path: Path) -> dict[str, Any]:
    """A state dict as people save it: `.safetensors`, or what `torch.save` wrote.

    Raises:
        CheckpointError: as `read_safetensors` and `read_checkpoint`.
    """
    return read_safetensors(path) if path.suffix.lower() == ".safetensors" else read_checkpoint(path)


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Reads tensors from a file that cannot hold anything else.

    Raises:
        BaselineError: if the file is missing or not whole safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # The library opens by name, and would wait for a named pipe.
        with open_file(path) as file:
            _check_header(file)
        state = load_file(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BaselineError(f"{path}: cannot be read ({reason}); save it again") from None
    except (SafetensorError, ValueError, MemoryError) as error:
        raise BaselineError(f"{path}: not a whole safetensors file ({printable(error)}); save it again") from None
    if odd := next((key for key in state if not key.isprintable()), None):
        raise BaselineError(f"{path}: has the key '{printable(odd)[:80]}', which cannot be printed; save it again")
    return state


def _check_header(file: BinaryIO) -> None:
    """Reads the keys of a safetensors file strictly: the library takes the last of two tensors of one name.

    Raises:
        JsonError: as `strict_json.parse`.
    """
    size = int.from_bytes(file.read(8), "little")
    # What is too short or too long is told by the library.
    if 0 < size <= MAX_BYTES and len(header := file.read(size)) == size:
        parse(header)
