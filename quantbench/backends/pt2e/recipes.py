"""Neutral recipes that torchao's X86 quantizer can run, and for the others the reason and what to use instead."""

from __future__ import annotations

from quantbench.backends.exported.recipes import refused, refused_activation, refused_weight
from quantbench.recipes.spec import Quantizer, Recipe


def refusal(recipe: Recipe) -> str | None:
    """The reason why this backend does not run a recipe; None if it does."""
    return refused(recipe, "pt2e", "inductor", "inductor has no kernels of so few bits", _refused)


def _refused(activation: Quantizer, weight: Quantizer) -> str | None:
    if (reason := refused_activation("inductor", activation)) is not None:
        return reason
    if activation.dtype != "uint8":
        return f"its int8 kernels take uint8 activations, not {activation.dtype}; set activation.dtype: uint8"
    return refused_weight("its int8 kernels take", weight)
