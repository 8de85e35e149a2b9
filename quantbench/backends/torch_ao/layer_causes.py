"""Properties of a layer for which torch.ao cannot quantize it, each checked on the layer, with what to do."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.ao.nn.intrinsic.modules.fused import _FusedModule
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from quantbench.backends.copying import old_norm
from quantbench.upstream import silenced

PER_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric)
LEFT_IN_FP32 = "set its qconfig to None and put a DeQuantStub before and a QuantStub after it to leave it in fp32"
PADDED_IN_INT8 = ("zeros", "reflect")


def cause_in_layer(layer: nn.Module, qconfig: Any = None) -> str | None:
    """The property of a layer, or of the one in a fused group, that has no int8 form: a predicate, or None.

    Args:
        layer: of a model in preparation.
        qconfig: that it has, or will inherit.

    Example:
        >>> cause_in_layer(nn.Conv2d(3, 8, 5, padding="same"))
        "has padding='same', and int8 convolutions take numbers only: write padding=2"
    """
    inner: Any = layer[0] if isinstance(layer, _FusedModule) and not isinstance(layer, _ConvNd | nn.Linear) else layer
    if norm := old_norm(inner):
        return f"has {norm}"
    if isinstance(inner, _ConvTransposeNd):
        return _cause_in_transposed(qconfig)
    if not isinstance(inner, _ConvNd):
        return None
    if words := _padding_in_words(inner.padding):
        return f"has padding='{words}', and int8 convolutions take numbers only: {_as_numbers(inner, words)}"
    if inner.padding_mode not in PADDED_IN_INT8:
        return (
            f"has padding_mode='{inner.padding_mode}', and int8 convolutions pad with zeros or by reflection only: use "
            f"one of these, or {LEFT_IN_FP32}"
        )
    return None


def cause_in_group(names: list[str], layers: list[nn.Module]) -> str | None:
    """The reason why a group of layers cannot be fused, where one is known.

    Args:
        names: of the layers.
        layers: as they were when fusing failed.
    """
    for name, layer in zip(names, layers, strict=True):
        if isinstance(layer, nn.Identity):
            return f"'{name}' is an Identity: it was fused before, or is named in two groups"
        if parametrize.is_parametrized(layer):
            return (
                f"'{name}' computes its weight ({_parametrizations(layer)}), and no batch norm can be folded into it: "
                f"first call torch.nn.utils.parametrize.remove_parametrizations on '{name}'"
            )
    return None


def _cause_in_transposed(qconfig: Any) -> str | None:
    with silenced():
        is_per_channel = qconfig is not None and qconfig.weight().qscheme in PER_CHANNEL
    if not is_per_channel:
        return None
    return (
        "is a transposed convolution, whose int8 weights have one scale, and the qconfig asks for one per channel: "
        f"take a per-tensor recipe, or {LEFT_IN_FP32}"
    )


def _padding_in_words(padding: Any) -> str:
    """`same` or `valid`; torch's layers for training have it taken apart into letters."""
    letters = [padding] if isinstance(padding, str) else list(padding)
    return "".join(letters) if all(isinstance(letter, str) for letter in letters) else ""


def _as_numbers(layer: Any, words: str) -> str:
    if words == "valid":
        return "write padding=0"
    totals = [dilation * (size - 1) for size, dilation in zip(layer.kernel_size, layer.dilation, strict=True)]
    if any(total % 2 for total in totals):
        return "its even kernel needs one more on one side, so pad in fp32 or take an odd kernel"
    halves = tuple(total // 2 for total in totals)
    return f"write padding={halves[0] if len(set(halves)) == 1 else halves}"


def _parametrizations(layer: nn.Module) -> str:
    kinds: Any = layer.parametrizations
    return ", ".join(type(each).__name__.strip("_") for chain in kinds.values() for each in chain)
