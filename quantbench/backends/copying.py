"""Copies of models, and what cannot be copied."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from quantbench.errors import QuantizationError
from quantbench.foreign import first_line

# Hooks that compute a weight anew before each forward, by the name of the function that adds them.
OLD_NORMS = {WeightNorm: "weight_norm", SpectralNorm: "spectral_norm"}


def old_norm(layer: nn.Module) -> str | None:
    """The hook of an old-style norm of weights on a layer, with what to do; None if it has none."""
    for hook in layer._forward_pre_hooks.values():
        for kind, name in OLD_NORMS.items():
            if isinstance(hook, kind):
                return (
                    f"the hook of torch.nn.utils.{name}, whose computed weight can be neither copied nor quantized: "
                    f"use torch.nn.utils.parametrizations.{name}, or call torch.nn.utils.remove_{name} on it"
                )
    return None


def copied(model: nn.Module, step: str) -> nn.Module:
    """A deep copy.

    Raises:
        QuantizationError: if some part of the model cannot be copied, naming it where it is known.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        for name, layer in model.named_modules():
            if norm := old_norm(layer):
                line = f"'{name}' ({type(layer).__name__}) of {type(model).__name__} has {norm}"
                raise QuantizationError(f"{step}: {line}") from error
        raise QuantizationError(
            f"{step}: {type(model).__name__} cannot be copied ({first_line(error)}); quantization works on "
            "a copy: let copy.deepcopy(model) succeed"
        ) from error
