"""Values of two state dicts of one model, by layer."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quantbench.backends.checkpoint import read_checkpoint, schema_of, write_checkpoint
from quantbench.backends.entry import describe_entry
from quantbench.backends.exchange import Exchange, Value, unlike
from quantbench.backends.quantized_tensors import PER_CHANNEL, is_quantized
from quantbench.backends.tensor_classes import is_composed

# Of a key, what is no layer's name.
PACKED = "._packed_params"
PARTS = {"scale": "scale", "zero_point": "zero point", "weight": "weights", "bias": "bias"}
# Of a packed tuple.
MEMBERS = ("weights", "bias")


class StateExchange(Exchange):
    """Keys of both.

    Args:
        base: the earlier file.
        head: the later one.
    """

    def __init__(self, base: Path, head: Path) -> None:
        self._path, self._base, self._head = head, read_checkpoint(base), read_checkpoint(head)
        forms = [
            {key: describe_entry(entry) for key, entry in schema_of(each).items()} for each in (self._base, self._head)
        ]
        self.unlike = unlike(*forms)
        self.values = [
            value
            for key, form in forms[1].items()
            if forms[0].get(key) == form
            for value in _values(key, self._base[key], self._head[key])
        ]

    def with_base(self, entries: Collection[str], folder: Path) -> Path:
        """See `Exchange.with_base`."""
        path = folder / self._path.name
        # A copy, which keeps the versions of layers that a state dict holds beside its keys.
        made = copy.copy(self._head)
        made.update({key: self._base[key] for key in entries})
        write_checkpoint(path, made)
        return path


def _values(key: str, base: Any, head: Any) -> Iterator[Value]:
    layer, _, last = key.rpartition(".")
    layer, part = layer.removesuffix(PACKED) or key, PARTS.get(last, "values")
    pairs = [(part, base, head)]
    if isinstance(base, tuple):
        pairs = [(MEMBERS[min(at, 1)], one, other) for at, (one, other) in enumerate(zip(base, head, strict=True))]
    for name, one, other in pairs:
        if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
            continue
        for what, before, after in _parts(name, one, other):
            if before.shape == after.shape and not np.array_equal(before, after, equal_nan=True):
                yield Value(key, layer, what, before, after)


def _parts(name: str, base: torch.Tensor, head: torch.Tensor) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Scales and zero points of quantized tensors, and the real values of any."""
    if is_quantized(base) and is_quantized(head):
        yield from zip(("scale", "zero point"), _scales(base), _scales(head), strict=True)
    yield name, _real(base), _real(head)


def _scales(tensor: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    if tensor.qscheme() in PER_CHANNEL:
        found = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        return found[0].double().numpy(), found[1].double().numpy()
    return np.array([tensor.q_scale()], np.float64), np.array([tensor.q_zero_point()], np.float64)


def _real(tensor: torch.Tensor) -> np.ndarray:
    value = tensor.dequantize() if is_quantized(tensor) or is_composed(tensor) else tensor
    return np.atleast_1d(value.detach().to(torch.float64).numpy())
