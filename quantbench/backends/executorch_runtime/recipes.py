"""Neutral recipes that XNNPACK can run, and for the others the reason and what to use instead."""

from __future__ import annotations

from dataclasses import replace

from quantbench.backends.exported.recipes import refused, refused_activation, refused_weight
from quantbench.recipes.spec import Quantizer, Recipe


def refusal(recipe: Recipe) -> str | None:
    """The reason why this backend does not run a recipe; None if it does."""
    few_bits = "XNNPACK has no kernels of so few bits of activations"
    return refused(recipe, "executorch", "XNNPACK", few_bits, _refused)


def signed(activation: Quantizer) -> Quantizer:
    """The same codes from −128 on: XNNPACK takes int8, and `uint8` of a recipe has the same steps."""
    return replace(activation, dtype="int8")


def _refused(activation: Quantizer, weight: Quantizer) -> str | None:
    return refused_activation("XNNPACK", activation) or refused_weight("XNNPACK takes", weight)
