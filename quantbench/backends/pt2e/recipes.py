"""Neutral recipes that torchao's X86 quantizer can run, and for the others the reason and what to use instead."""

from __future__ import annotations

from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import (
    HISTOGRAM_ACTIVATION,
    PER_CHANNEL_WEIGHT,
    DynamicInt8,
    QatInt8,
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
                    f"backend 'pt2e': inductor quantizes activations batch by batch for Linear alone, not for "
                    f"{', '.join(others)}; set layers: [Linear], or backend: eager"
                )
            return None
        case StaticInt8() | QatInt8():
            reason = _refused(*quantizers(recipe))
            return f"backend 'pt2e': {reason}" if reason else None
        case _:
            told = unsupported("pt2e", recipe)
            few = "inductor has no kernels of so few bits"
            return f"{told} ({few})" if told and recipe.kind == "low_bit" else told


def quantizers(recipe: StaticInt8 | QatInt8) -> tuple[Quantizer, Quantizer]:
    """Of activations and weights; where a recipe leaves them open, those of torchao's own default."""
    return recipe.activation or HISTOGRAM_ACTIVATION, recipe.weight or PER_CHANNEL_WEIGHT


def _refused(activation: Quantizer, weight: Quantizer) -> str | None:
    if activation.granularity == "per_channel":
        return "inductor has no int8 kernel with a scale for each channel of activations; set granularity: per_tensor"
    if activation.dtype != "uint8":
        return f"its int8 kernels take uint8 activations, not {activation.dtype}; set activation.dtype: uint8"
    if weight.dtype != "int8" or weight.scheme != "symmetric":
        return f"its int8 kernels take symmetric int8 weights, not {weight.scheme} {weight.dtype}; set backend: eager"
    if weight.granularity == "per_channel" and weight.range not in PER_CHANNEL_RANGES:
        return f"torchao finds no {weight.range} range per channel; set weight.range: {PER_CHANNEL_RANGES[0]}"
    return None
