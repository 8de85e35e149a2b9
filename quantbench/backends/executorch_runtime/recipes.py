"""Neutral recipes that XNNPACK can run, and for the others the reason and what to use instead."""

from __future__ import annotations

from dataclasses import replace

from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import (
    HISTOGRAM_ACTIVATION,
    PER_CHANNEL_WEIGHT,
    DynamicInt8,
    Quantizer,
    Recipe,
    StaticInt8,
)

# Ranges that have an observer per channel.
PER_CHANNEL_RANGES = ("minmax", "moving_average")


def refusal(recipe: Recipe) -> str | None:
    """The reason why this backend does not run a recipe; None if it does."""
    match recipe:
        case DynamicInt8():
            others = [each for each in recipe.layers if each != "Linear"]
            if others:
                return (
                    f"backend 'executorch': XNNPACK quantizes activations batch by batch for Linear alone, not for "
                    f"{', '.join(others)}; set layers: [Linear], or backend: eager"
                )
            return None
        case StaticInt8():
            reason = _refused(*quantizers(recipe))
            return f"backend 'executorch': {reason}" if reason else None
        case _:
            told = unsupported("executorch", recipe)
            few = "XNNPACK has no kernels of so few bits of activations"
            return f"{told} ({few})" if told and recipe.kind == "low_bit" else told


def quantizers(recipe: StaticInt8) -> tuple[Quantizer, Quantizer]:
    """Of activations and weights; where a recipe leaves them open, histograms and a scale per output channel."""
    return recipe.activation or HISTOGRAM_ACTIVATION, recipe.weight or PER_CHANNEL_WEIGHT


def signed(activation: Quantizer) -> Quantizer:
    """The same codes from −128 on: XNNPACK takes int8, and `uint8` of a recipe has the same steps."""
    return replace(activation, dtype="int8")


def _refused(activation: Quantizer, weight: Quantizer) -> str | None:
    if activation.granularity == "per_channel":
        return "XNNPACK has no int8 kernel with a scale for each channel of activations; set granularity: per_tensor"
    if weight.dtype != "int8" or weight.scheme != "symmetric":
        return f"XNNPACK takes symmetric int8 weights, not {weight.scheme} {weight.dtype}; set backend: eager"
    if weight.granularity == "per_channel" and weight.range not in PER_CHANNEL_RANGES:
        return f"torchao finds no {weight.range} range per channel; set weight.range: {PER_CHANNEL_RANGES[0]}"
    return None
