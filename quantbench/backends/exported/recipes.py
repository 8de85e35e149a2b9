"""Neutral recipes for torchao's quantizers of exported programs: what each of them refuses, and what is left open."""

from __future__ import annotations

from collections.abc import Callable

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


def refused(
    recipe: Recipe, backend: str, runs: str, few_bits: str, check: Callable[[Quantizer, Quantizer], str | None]
) -> str | None:
    """The reason why a backend does not run a recipe; None if it does.

    Args:
        recipe: any.
        backend: its name.
        runs: name of what runs the programs.
        few_bits: the words for kernels of few bits that it lacks.
        check: the reason against quantizers of activations and weights, None where they are fine.
    """
    told = unsupported(backend, recipe)
    match recipe:
        case DynamicInt8():
            others = [each for each in recipe.layers if each != "Linear"]
            if others:
                return (
                    f"backend '{backend}': {runs} quantizes activations batch by batch for Linear alone, not for "
                    f"{', '.join(others)}; set layers: [Linear], or backend: eager"
                )
            return None
        case StaticInt8() | QatInt8() if told is None:
            reason = check(*quantizers(recipe))
            return f"backend '{backend}': {reason}" if reason else None
        case _:
            return f"{told} ({few_bits})" if told and recipe.kind == "low_bit" else told


def quantizers(recipe: StaticInt8 | QatInt8) -> tuple[Quantizer, Quantizer]:
    """Of activations and weights; where a recipe leaves them open, histograms and a scale per output channel."""
    return recipe.activation or HISTOGRAM_ACTIVATION, recipe.weight or PER_CHANNEL_WEIGHT


def refused_activation(runs: str, activation: Quantizer) -> str | None:
    """The reason against a quantizer of activations.

    Args:
        runs: name of what runs the programs.
        activation: the quantizer.
    """
    if activation.granularity == "per_channel":
        return f"{runs} has no int8 kernel with a scale for each channel of activations; set granularity: per_tensor"
    return None


def refused_weight(take: str, weight: Quantizer) -> str | None:
    """The reason against a quantizer of weights.

    Args:
        take: what takes them, with its verb.
        weight: the quantizer.
    """
    if weight.dtype != "int8" or weight.scheme != "symmetric":
        return f"{take} symmetric int8 weights, not {weight.scheme} {weight.dtype}; set backend: eager"
    if weight.granularity == "per_channel" and weight.range not in PER_CHANNEL_RANGES:
        return f"torchao finds no {weight.range} range per channel; set weight.range: {PER_CHANNEL_RANGES[0]}"
    return None
