"""Folded batch norms, checked by computing them: is a layer another one with a batch norm folded into it?

Folding a batch norm into the convolution before it (Jacob et al. 2018, arXiv:1712.05877, equation 14):
`w' = w γ / √(σ² + ε)`, `b' = (b − μ) γ / √(σ² + ε) + β`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from quantbench.backends.quantized_tensors import PER_CHANNEL

# The ε is not in a checkpoint: torch's own, and that of models ported from TensorFlow.
EPSILONS = (1e-5, 1e-3)
# Rounding moves a weight by half a step at most; a little more where the float arithmetic of the folding differs.
LARGEST_ROUNDING = 0.51
# Largest share of the largest weight by which a folding in float32 differs from ours in float64.
LARGEST_FLOAT_ERROR = 1e-4
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Layer:
    """A layer's parameters out of a state dict; the bias may be absent."""

    weight: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True)
class Folding:
    """A batch norm folded into a layer.

    Attributes:
        batch_norm: its prefix.
        layer: what the folding gives, in float64.
        is_exact: whether that is what was found.
        by_name: the batch norm that one would expect by its name.
    """

    batch_norm: str
    layer: Layer
    is_exact: bool
    by_name: str


def layer_of(state: dict[str, Any], prefix: str) -> Layer | None:
    """The layer of that prefix, or None if it has no weight that is a tensor with channels."""
    weight, bias = state.get(f"{prefix}.weight"), state.get(f"{prefix}.bias")
    if not isinstance(weight, torch.Tensor) or weight.dim() == 0:
        return None
    return Layer(weight, bias if isinstance(bias, torch.Tensor) else None)


def batch_norms(state: dict[str, Any]) -> list[str]:
    """Prefixes of everything that has a batch norm's four tensors."""
    prefixes = [key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")]
    return [prefix for prefix in prefixes if _is_batch_norm([state.get(f"{prefix}.{part}") for part in BATCH_NORM])]


def _is_batch_norm(parts: list[Any]) -> bool:
    return all(isinstance(part, torch.Tensor) and part.is_floating_point() and part.dim() == 1 for part in parts) and (
        len({len(part) for part in parts}) == 1
    )


def folded(layer: Layer, state: dict[str, Any], batch_norm: str, epsilon: float) -> Layer:
    """The layer with a batch norm of the same state dict folded into it."""
    gamma, beta, mean, variance = (state[f"{batch_norm}.{part}"].detach().double() for part in BATCH_NORM)
    factor = gamma / torch.sqrt(variance + epsilon)
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.detach().double()
    shape = (-1, *(1,) * (layer.weight.dim() - 1))
    return Layer(layer.weight.detach().double() * factor.view(shape), (bias - mean) * factor + beta)


def is_rounded(expected: Layer, found: torch.Tensor) -> bool:
    """True if a quantized weight is the expected one, rounded."""
    return steps_apart(expected, found) <= LARGEST_ROUNDING


def steps_apart(expected: Layer, found: torch.Tensor) -> float:
    """The largest distance of a quantized weight from the expected one, in steps of its scale; ≤ ½ for rounding alone.

    Infinite where the shapes differ. An expected value beyond the integers' range counts as the end of that range:
    observers that follow training slowly leave some there.
    """
    weight = expected.weight.detach().double()
    if weight.shape != found.shape:
        return float("inf")
    if found.qscheme() in PER_CHANNEL:
        shape = [1] * found.dim()
        shape[found.q_per_channel_axis()] = -1
        scale = found.q_per_channel_scales().double().view(shape)
        zero = found.q_per_channel_zero_points().double().view(shape)
    else:
        scale, zero = (
            torch.tensor(float(value), dtype=torch.float64) for value in (found.q_scale(), found.q_zero_point())
        )
    integers = found.int_repr()
    range_ = torch.iinfo(integers.dtype)
    return float((integers.double() - (weight / scale + zero).clamp(range_.min, range_.max)).abs().max())


def is_same(expected: Layer, found: torch.Tensor) -> bool:
    """True if a floating-point weight is the expected one within the rounding of float32."""
    weight = expected.weight.detach().double()
    if weight.shape != found.shape:
        return False
    return float((found.detach().double() - weight).abs().max()) <= LARGEST_FLOAT_ERROR * float(weight.abs().max())


def bias_difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Largest distance of a bias from the expected one; 0.0 within the rounding of float32."""
    expected, found = expected.detach().double(), found.detach().double()
    largest = float(expected.abs().max())
    difference = float((expected - found).abs().max())
    return 0.0 if difference <= LARGEST_FLOAT_ERROR * max(largest, 0.1) else difference


def find_folding(
    prefix: str, layer: Layer, state: dict[str, Any], free: Iterable[str], fits: Callable[[Layer], bool]
) -> Folding | None:
    """The batch norm that was folded into a layer: the one whose folding fits, else the likeliest by name.

    Args:
        prefix: of the layer.
        layer: its parameters before.
        state: the state dict before.
        free: prefixes of batch norms that are gone afterwards and not yet matched.
        fits: whether a folding is what was found.
    """
    candidates = [
        name
        for name in free
        if name.rpartition(".")[0] in (prefix.rpartition(".")[0], prefix)
        and len(state[f"{name}.weight"]) == layer.weight.shape[0]
    ]
    found: list[Folding] = []
    for name in sorted(candidates, key=lambda name: names_apart(prefix, name)):
        tried = [folded(layer, state, name, epsilon) for epsilon in EPSILONS]
        exact = [each for each in tried if fits(each)]
        found.append(Folding(name, (exact or tried)[0], bool(exact), found[0].by_name if found else name))
    return min(found, key=lambda folding: not folding.is_exact, default=None)


def names_apart(layer: str, batch_norm: str) -> int:
    """Distance of the numbers in two names: 0 of conv2 and bn2, 1 of the 0 and 1 of a Sequential, 2 of conv and bn2."""
    if batch_norm.rpartition(".")[0] == layer:
        return -1
    numbers = [re.findall(r"\d+", name.rpartition(".")[2]) for name in (layer, batch_norm)]
    first, second = (int(found[-1]) if found else 0 for found in numbers)
    return abs(first - second)


def natural(name: str) -> list[tuple[str, int]]:
    """Sorts conv10 after conv2."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name)]
