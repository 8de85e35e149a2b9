"""Weights put into a model, and what is refused there; layers with weights where none was quantized."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import nn

from quantbench.errors import BaselineError


def load_state(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Loads a state dict, naming the first keys that do not fit.

    Raises:
        BaselineError: if keys or shapes differ.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        details = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise BaselineError(
            f"{path}: does not fit the model of this workload: {details}; correct workload.model, or train again"
        ) from None


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
