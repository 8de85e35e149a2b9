"""Fusing all of a model, or some groups of its layers, which then stand between stubs of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.states import FUSED_FOR
from quantbench.backends.torch_ao.steps import fuse
from quantbench.errors import QuantizationError
from quantbench.recipes.translation import OLD_ATTRIBUTES, warn_of_old_word
from quantbench.registry import unknown_name


def fused_with_qconfig(
    model: nn.Module, qconfig: ao.QConfig, layers: tuple[str, ...] | None, is_qat: bool
) -> nn.Module:
    """A model fused, with its qconfig: on all of it, or on the named layers, the others being left as they were.

    Args:
        model: fp32, a copy that the caller needs no more; in train mode for `is_qat`, else in eval mode.
        qconfig: observers or fake quantizers.
        layers: names of the model's groups of layers; None for all of it.
        is_qat: fuse for training.

    Raises:
        QuantizationError: if the model cannot be fused, or names no such layers.
    """
    fused = fuse(model, is_qat, in_place=layers is None)
    if layers is None:
        fused.qconfig = qconfig  # type: ignore[assignment]
        return fused
    groups, boundaries = _groups_of(model, layers)
    for layer in layers:
        for name in groups[layer]:
            module = getattr(fused, name)
            module.qconfig = qconfig
            setattr(model, name, module)
    # Where precision changes between neighbours, and at both ends, which are fp32.
    is_int8 = [False, *(group in layers for group in groups), False]
    for name, before, after in zip(boundaries, is_int8, is_int8[1:], strict=False):
        if before != after:
            setattr(model, name, ao.QuantStub(qconfig) if after else ao.DeQuantStub(qconfig))
        else:
            setattr(model, name, nn.Identity())
    setattr(model, FUSED_FOR, getattr(fused, FUSED_FOR))
    return model


def _groups_of(model: nn.Module, chosen: tuple[str, ...]) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """A model's groups of layers in the order of its forward, and the modules that stand between and around them."""
    name = type(model).__name__
    groups, boundaries = named_groups(model), getattr(model, "boundaries", None)
    if groups is None or not isinstance(boundaries, Sequence) or len(boundaries) != len(groups) + 1:
        raise QuantizationError(
            f"{name} names no layers to quantize one at a time: give it `layer_groups`, the submodules of each in the "
            "order of its forward, and `boundaries`, the modules around them, one more; M5 shows how"
        )
    for layer in chosen:
        if layer not in groups:
            raise QuantizationError(unknown_name(f"layer of {name}", layer, list(groups)))
    return groups, boundaries


def named_groups(model: nn.Module) -> Mapping[str, Sequence[str]] | None:
    """The model's `layer_groups`, under that name or, with a hint, under the old one."""
    if isinstance(groups := getattr(model, "layer_groups", None), Mapping):
        return groups
    for old, new in OLD_ATTRIBUTES.items():
        if isinstance(groups := getattr(model, old, None), Mapping):
            warn_of_old_word(type(model).__name__, old, new)
            return groups
    return None
