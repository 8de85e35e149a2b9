"""Weights as people save them: below a key of a training's state, and with the prefix of a wrapper."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quantbench.backends.checkpoint import read_weights
from quantbench.backends.weights import load_state

# Keys below which trainings keep the weights, in the order in which they are looked for.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
    "state_dict_ema", "ema_state_dict", "model_ema", "ema",
)  # fmt: skip


def unwrapped(state: dict[str, Any], expected: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Weights without what a training wrapped them in.

    Args:
        state: as the file holds it: weights, or weights below a key beside an optimizer's state and more.
        expected: keys of the model.

    Returns:
        The weights, and a line for each thing that was taken off or left out.

    Example:
        >>> import torch
        >>> saved = {"epoch": 3, "state_dict": {"module.fc.weight": torch.zeros(1)}}
        >>> weights, notes = unwrapped(saved, ["fc.weight"])
        >>> list(weights), notes
        (['fc.weight'], ["the weights below 'state_dict'; left out: 'epoch'", "without the prefix 'module.'"])
    """
    notes: list[str] = []
    while (key := _wrapper(state, expected)) is not None:
        beside = ", ".join(f"'{other}'" for other in state if other != key)
        notes.append(f"the weights below '{key}'" + (f"; left out: {beside}" if beside else ""))
        state = state[key]
    while (prefix := _prefix(state, expected)) is not None:
        notes.append(f"without the prefix '{prefix}'")
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state, notes


def fill_from(model: nn.Module, path: Path) -> None:
    """Puts the weights of a file, wrapped or not, into a model.

    Raises:
        CheckpointError: if the file is missing, damaged or would run code.
        BaselineError: if it does not fit the model.
    """
    state, _ = unwrapped(read_weights(path), model.state_dict().keys())
    load_state(model, state, path)


def _wrapper(state: dict[str, Any], expected: Collection[str]) -> str | None:
    """The key below which the weights are; None where the state itself has them."""
    if set(state) & set(expected):
        return None
    found = [key for key in WRAPPERS if _is_weights(state.get(key))]
    # Below any other key too, if it is the only one that holds tensors by name.
    others = [key for key, value in state.items() if _is_weights(value)]
    return found[0] if found else others[0] if len(others) == 1 else None


def _is_weights(value: Any) -> bool:
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        return False
    return all(isinstance(each, torch.Tensor) for each in value.values()) or any(_is_weights(v) for v in value.values())


def _prefix(state: dict[str, Any], expected: Collection[str]) -> str | None:
    """The first part that all keys share and none of the model's has."""
    first = {key.partition(".")[0] for key in state if "." in key}
    if len(first) != 1 or not all("." in key for key in state):
        return None
    prefix = f"{first.pop()}."
    fits = any(key.removeprefix(prefix) in expected for key in state)
    deeper = any("." in key.removeprefix(prefix) for key in state)
    return prefix if (fits or deeper) and not any(key.startswith(prefix) for key in expected) else None
