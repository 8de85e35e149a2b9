"""Files of backend `torchao`: safetensors of the codes and scales, and a schema of ours; opened without running code.

A tensor of torchao is written as `KEY:codes` and `KEY:scales`; codes of 4 bits as two in a byte, the first one in the
low half. The schema, JSON beside the tensors, gives the form of each, its shape and the weights that share a scale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch

from quantbench.backends.checkpoint import read_safetensors, schema_of
from quantbench.backends.interface import Description
from quantbench.backends.tensor_classes import is_composed, parts_of
from quantbench.backends.torchao_weights.forms import BITS, INT4, composed, form_of
from quantbench.errors import BaselineError, CheckpointError
from quantbench.files import open_file, printable, replacing
from quantbench.strict_json import JsonError, parse

SCHEMA_KEY, VERSION = "quantbench_torchao", 1
CODES, SCALES = "codes", "scales"
ADVICE = "quantize again with backend: torchao"


def write_file(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state dict whole or not at all.

    Raises:
        QuantizationError: if a tensor of torchao is of a form that such files do not hold.
    """
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    forms: dict[str, Any] = {}
    for key, value in state.items():
        if is_composed(value):
            forms[key] = {"form": form_of(value, key), "shape": list(value.shape), "block": list(value.block_size)}
            codes = parts_of(value)["qdata"]
            tensors[f"{key}:{CODES}"] = packed(codes) if forms[key]["form"] == INT4 else codes
            tensors[f"{key}:{SCALES}"] = parts_of(value)["scale"]
        else:
            tensors[key] = value
    schema = json.dumps({"version": VERSION, "tensors": forms}, sort_keys=True)
    whole = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(whole, metadata={SCHEMA_KEY: schema}))


def read_file(path: Path) -> dict[str, Any]:
    """The state dict of a file, its quantized weights as tensors of torchao.

    Raises:
        CheckpointError: if the file is missing, damaged, or of another schema.
    """
    tensors, schema = _read(path)
    state: dict[str, Any] = {}
    for key, value in tensors.items():
        name, _, part = key.rpartition(":")
        if name not in schema:
            state[key] = value
        elif part == CODES:
            state[name] = _composed(path, name, schema[name], value, tensors[f"{name}:{SCALES}"])
    return state


def describe_file(path: Path) -> Description:
    """A file, described: of each quantized weight its codes as they lie there.

    Raises:
        CheckpointError: as `read_file`.
    """
    tensors, schema = _read(path)
    digests: dict[str, str] = {}
    for key in schema_of(state := read_file(path)):
        parts = [f"{key}:{CODES}", f"{key}:{SCALES}"] if key in schema else [key]
        digests[key] = hashlib.sha256(b"".join(tensors[part].numpy().tobytes() for part in parts)).hexdigest()
    payload = sum(value.numel() * value.element_size() for value in tensors.values())
    return Description(schema_of(state), digests, payload)


def packed(codes: torch.Tensor) -> torch.Tensor:
    """Codes of 4 bits, two in a byte.

    Args:
        codes: `[…]` int8 within −8..7.

    Returns: uint8, flat; the last half is 0 where they are odd in number.

    Example:
        >>> packed(torch.tensor([1, -1, 2], dtype=torch.int8))
        tensor([241,   2], dtype=torch.uint8)
    """
    flat = codes.flatten().to(torch.uint8) & 15
    if flat.numel() % 2:
        flat = torch.cat([flat, flat.new_zeros(1)])
    return flat[::2] | flat[1::2] << 4


def unpacked(halves: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """The codes of `packed`, int8 of that shape.

    Example:
        >>> unpacked(torch.tensor([241, 2], dtype=torch.uint8), [3])
        tensor([ 1, -1,  2], dtype=torch.int8)
    """
    both = torch.stack([halves & 15, halves >> 4], dim=1).flatten()[: prod(shape)].to(torch.int8)
    return torch.where(both > 7, both - 16, both).reshape(shape)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of a file as they lie there, and the checked form of each that is of torchao."""
    try:
        tensors = read_safetensors(path)
        with open_file(path) as file:
            header = parse(file.read(int.from_bytes(file.read(8), "little")))
    except BaselineError as error:
        raise CheckpointError(str(error)) from None
    except (OSError, JsonError) as error:
        raise CheckpointError(f"{path}: cannot be read ({printable(error)}); {ADVICE}") from None
    noted = header.get("__metadata__", {}).get(SCHEMA_KEY) if isinstance(header, dict) else None
    try:
        schema = parse(noted.encode()) if noted else None
    except JsonError as error:
        raise CheckpointError(f"{path}: its schema is damaged ({printable(error)}); {ADVICE}") from None
    if not isinstance(schema, dict) or schema.get("version") != VERSION or not isinstance(schema.get("tensors"), dict):
        raise CheckpointError(f"{path}: has no schema of version {VERSION} of backend 'torchao'; {ADVICE}")
    forms: dict[str, Any] = schema["tensors"]
    for key, entry in forms.items():
        if problem := _problem(entry, tensors.get(f"{key}:{CODES}"), tensors.get(f"{key}:{SCALES}")):
            raise CheckpointError(f"{path}: '{printable(key)[:80]}' {problem}; {ADVICE}")
    return tensors, forms


def _problem(entry: Any, codes: torch.Tensor | None, scales: torch.Tensor | None) -> str | None:
    """The reason why a quantized weight is none that this backend wrote, in words; None without one."""
    if not isinstance(entry, dict) or entry.get("form") not in BITS:
        return f"is of no known form; there are {', '.join(BITS)}"
    shape: Any
    block: Any
    shape, block = entry.get("shape"), entry.get("block")
    for sizes in (shape, block):
        if not isinstance(sizes, list) or len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
            return "has no shape [outputs, inputs], or no block"
    if shape[0] % block[0] or shape[1] % block[1]:
        return f"has a block {block} that does not divide its shape {shape}"
    if codes is None or scales is None:
        return f"has no {CODES if codes is None else SCALES} in the file"
    is_small = entry["form"] == INT4
    lies = (torch.uint8, [(prod(shape) + 1) // 2]) if is_small else (torch.int8, shape)
    if (codes.dtype, list(codes.shape)) != lies:
        return f"has codes {codes.dtype} {list(codes.shape)} instead of {lies[0]} {lies[1]}".replace("torch.", "")
    expected = [shape[0] // block[0], shape[1] // block[1]]
    if scales.dtype is not torch.float32 or list(scales.shape) != expected:
        return f"has scales {scales.dtype} {list(scales.shape)} instead of float32 {expected}".replace("torch.", "")
    if not bool((torch.isfinite(scales) & (scales > 0)).all()):
        return "has a scale that is no positive number"
    return None


def _composed(path: Path, key: str, entry: dict[str, Any], codes: torch.Tensor, scales: torch.Tensor) -> Any:
    try:
        values = unpacked(codes, entry["shape"]) if entry["form"] == INT4 else codes
        return composed(entry["form"], values, scales, entry["block"])
    # torchao's own word on what its tensors may be.
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        reason = printable(" ".join(str(error).split())[:200])
        raise CheckpointError(f"{path}: '{printable(key)[:80]}' is refused by torchao ({reason}); {ADVICE}") from None
