"""Tensors of torchao: classes that hold tensors of other dtypes inside and look like floating point from outside."""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any

import torch

from quantbench.backends.interface import Entry
from quantbench.extras import require

LIBRARY = "torchao"
# Values that one byte of an inner tensor may stand for, at most: codes of one bit.
LARGEST_PACKING = 8
PLAIN = (str, int, float, bool, type(None), torch.dtype, torch.device, torch.Size)


def import_classes(needed_by: str) -> None:
    """Imports torchao, which names its classes to torch as safe to open.

    Raises:
        ExtraMissingError: if it cannot be imported.
    """
    logger = logging.getLogger("torch.utils._pytree")
    level = logger.level
    # Its notice about its own future with torch.
    logger.setLevel(logging.ERROR)
    try:
        require(needed_by, LIBRARY, f"{LIBRARY}.quantization")
    finally:
        logger.setLevel(level)


def is_of_library(value: object) -> bool:
    """True for an object of a class of torchao."""
    return type(value).__module__.partition(".")[0] == LIBRARY


def is_composed(value: object) -> bool:
    """True for a tensor of torchao that holds others inside."""
    return isinstance(value, torch.Tensor) and is_of_library(value) and hasattr(value, "__tensor_flatten__")


def parts_of(tensor: Any) -> dict[str, torch.Tensor]:
    """The tensors inside, by name; of a plain one none."""
    return {name: getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]} if is_composed(tensor) else {}


def codes_of(tensor: Any) -> torch.Tensor:
    """The part that holds the values: the one of the most bytes; a plain tensor is its own."""
    return max(parts_of(tensor).values(), key=_bytes, default=tensor)


def bytes_of(tensor: torch.Tensor) -> int:
    """Bytes of the values, of those inside where it is composed."""
    return sum(map(_bytes, parts_of(tensor).values())) if is_composed(tensor) else _bytes(tensor)


def describe_composed(tensor: Any) -> Entry:
    """A composed tensor: its class, the dtype of its codes, shape, the block of values that share a scale, its parts.

    Example:
        >>> describe_composed(torch.nn.Linear(2, 1).weight)
        Traceback (most recent call last):
        TypeError: a Parameter is no tensor of torchao
    """
    if not is_composed(tensor):
        raise TypeError(f"a {type(tensor).__name__} is no tensor of torchao")
    name = type(tensor).__name__
    codes = getattr(tensor, "target_dtype", None) or ("int4" if name.startswith("Int4") else codes_of(tensor).dtype)
    entry: Entry = {"class": name, "dtype": _name(codes), "shape": list(tensor.shape)}
    if block := getattr(tensor, "block_size", None):
        entry["block_size"] = list(block)
    if activation := _activation_of(tensor):
        entry["activation"] = activation
    entry["parts"] = {
        key: {"dtype": _name(part.dtype), "shape": list(part.shape)} for key, part in parts_of(tensor).items()
    }
    return entry


def _activation_of(tensor: Any) -> str:
    """The quantization of activations before a product with the tensor, in torchao's words; empty without one."""
    given = getattr(tensor, "act_quant_kwargs", None) or getattr(tensor, "activation_quantization", None)
    if given is None:
        return ""
    words = given.name if isinstance(given, Enum) else f"{type(given).__name__} {getattr(given, 'granularity', '')}"
    return words.strip()


def problem_of_composed(value: Any) -> str | None:
    """The reason why a composed tensor of a file is none that torchao made, in words; None without one."""
    name = type(value).__name__
    try:
        parts, attributes = parts_of(value), vars(value)
        for key, part in parts.items():
            if type(part) is not torch.Tensor or part.layout is not torch.strided or not part.is_contiguous():
                return f"is a damaged {name}: its '{key}' is no plain tensor"
        if odd := next((key for key, each in attributes.items() if key not in parts and not _is_plain(each)), None):
            return f"is a damaged {name}: its '{odd}' is a {type(attributes[odd]).__name__}"
        if value.numel() > LARGEST_PACKING * bytes_of(value):
            return f"is a damaged {name}: it claims {value.numel():,} values, and holds {bytes_of(value):,} bytes"
        describe_composed(value)
    # Attributes that the file does not give, or of any type.
    except Exception as error:
        return f"is a damaged {name} ({type(error).__name__})"
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return type(value) in PLAIN or (is_of_library(value) and not isinstance(value, torch.Tensor))


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
