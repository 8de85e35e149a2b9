"""Weights put into a model, and what is refused there; layers with weights where none was quantized."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quantbench.backends.checkpoint import read_safetensors
from quantbench.backends.interface import Calibration
from quantbench.errors import BaselineError, QuantizationError
from quantbench.foreign import cause_of
from quantbench.recipes.spec import Trained

# Keys that do not fit and are named; the rest is counted.
SHOWN_KEYS = 3


def load_state(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Loads a state dict, naming the first keys that do not fit, those that the model does not have first.

    Raises:
        BaselineError: if keys or shapes differ, or a value is no tensor.
    """
    expected = {key: getattr(value, "shape", None) for key, value in model.state_dict().items()}
    try:
        model.load_state_dict(state)
    # Of damaged notes beside the tensors (`_metadata`), torch lets other errors through.
    except Exception as error:
        cause = (
            _misfits(expected, state, str(error))
            or "; ".join(line.strip() for line in str(error).splitlines()[1:4])
            or cause_of(error)
        )
        raise BaselineError(
            f"{path}: does not fit the model of this workload: {cause}; correct workload.model, or train again"
        ) from None


def _misfits(expected: dict[str, Any], state: dict[str, Any], told: str) -> str:
    """The first keys of each sort that do not fit, those that the model does not have first.

    Of shapes torch's own words decide, since modules of quantization take on those of some buffers.
    """
    groups = {
        "not in the model": [key for key in state if key not in expected],
        "not in the file": [key for key in expected if key not in state],
        "of another shape": [
            f"{key} ({list(getattr(state[key], 'shape', ()))} instead of {list(shape or ())})"
            for key, shape in expected.items()
            if key in state and f"size mismatch for {key}:" in told
        ],
    }
    return "; ".join(f"{what}: {_first(keys)}" for what, keys in groups.items() if keys)


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more


def check_weights(model: nn.Module, path: Path, command: str) -> None:
    """Refuses weights that are NaN or infinite: integers made from them can look sound.

    Args:
        model: with the weights of a file.
        path: of the file.
        command: makes it again.

    Raises:
        BaselineError: naming the first such weight.
    """
    damaged = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if damaged:
        raise BaselineError(
            f"{path}: '{damaged[0]}' holds NaN or infinity; restore it from version control, or train again: {command}"
        )


def fill_trained(prepared: nn.Module, recipe: Trained, calibration: Calibration) -> nn.Module:
    """A prepared model with the fine-tuned weights of its recipe, in place.

    Raises:
        QuantizationError: if no weights are given.
        BaselineError: if they do not fit or are not finite.
    """
    path = calibration.trained
    if path is None:
        raise QuantizationError(f"a recipe of kind {recipe.kind} is trained: give the file of its fine-tuned weights")
    load_state(prepared, read_safetensors(path), path)
    check_weights(prepared, path, calibration.command)
    return prepared


def nothing_quantized(model: nn.Module, wanted: str) -> str:
    """The line for a model of which a recipe quantized no layer.

    Args:
        model: as the recipe left it.
        wanted: the kind of layer that the recipe quantizes.

    Example:
        >>> nothing_quantized(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), "nn.Linear")
        'no layer of the kind nn.Linear was quantized; the layers with weights of Sequential: 1 Conv2d'
    """
    kinds = Counter(
        type(module).__name__ for module in model.modules() if next(module.parameters(recurse=False), None) is not None
    )
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    name = type(model).__name__
    return f"no layer of the kind {wanted} was quantized; the layers with weights of {name}: {found}"
