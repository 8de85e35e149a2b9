"""Stage of a model between floating point and int8, read from its modules."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.nn import intrinsic as nni
from torch.ao.nn import quantized as nnq
from torch.ao.nn.intrinsic.modules.fused import _FusedModule
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

# Left by `fuse` on the model itself: where no ReLU follows, a folded convolution looks like any other.
FUSED_FOR = "quantbench_fused_for"
# Left by `calibrate`: the layers whose observers saw nothing.
NEVER_CALLED = "quantbench_never_called"
WEIGHTS = ".weight_fake_quant"

CONVERTED_MODULES = (nnq.Quantize, nnq.DeQuantize, nnq.QFunctional, WeightedQuantizedModule)
FUSED_WITH_BATCH_NORM = (
    nni.ConvBn1d, nni.ConvBn2d, nni.ConvBn3d, nni.ConvBnReLU1d, nni.ConvBnReLU2d, nni.ConvBnReLU3d, nni.LinearBn1d,
)  # fmt: skip
BEFORE_BATCH_NORM = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear,
)  # fmt: skip
# Layers that compute something else in train mode.
MODE_MATTERS = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class State(Enum):
    """Stage of a model, in words that end the sentence "the model is …"."""

    FLOAT = "in floating point"
    FUSED = "fused for inference"
    FUSED_FOR_TRAINING = "fused for quantization-aware training"
    OBSERVED = "prepared for calibration"
    FAKE_QUANTIZED = "prepared for quantization-aware training"
    INT8 = "converted to int8"


def state_of(model: nn.Module) -> State:
    """The furthest state that any of its modules shows; a model may be in floating point for the rest."""
    modules = list(model.modules())
    for state, kinds in (
        (State.INT8, CONVERTED_MODULES),
        (State.FAKE_QUANTIZED, (ao.FakeQuantizeBase,)),
        (State.OBSERVED, (ao.ObserverBase,)),
        (State.FUSED_FOR_TRAINING, FUSED_WITH_BATCH_NORM),
    ):
        if any(isinstance(module, kinds) for module in modules):
            return state
    marked = getattr(model, FUSED_FOR, None)
    if isinstance(marked, State):
        return marked
    return State.FUSED if any(isinstance(module, _FusedModule) for module in modules) else State.FLOAT


def unfused_pair(model: nn.Module) -> tuple[str, str] | None:
    """The first convolution or linear layer to be quantized whose batch norm, defined right after it, is not fused."""

    def search(module: nn.Module, prefix: str, inherited: Any) -> tuple[str, str] | None:
        qconfig = getattr(module, "qconfig", inherited)
        children = list(module.named_children())
        for (name, layer), (name_after, after) in pairwise(children):
            watched = getattr(layer, "qconfig", qconfig) is not None
            if watched and type(layer) in BEFORE_BATCH_NORM and _normalizes(after, layer):
                return prefix + name, prefix + name_after
        for name, child in children:
            if not isinstance(child, _FusedModule):
                found = search(child, f"{prefix}{name}.", qconfig)
                if found:
                    return found
        return None

    return search(model, "", None)


def _normalizes(norm: nn.Module, layer: nn.Module) -> bool:
    outputs = getattr(layer, "out_channels", None) or getattr(layer, "out_features", None)
    return isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.num_features == outputs


def blind_observer(prepared: nn.Module) -> str | None:
    """The first layer that saw no value and would be given one, by name.

    A layer without parameters that was never called in calibration, such as a functional for a branch that the model
    has not, computes nothing.
    """
    excused = getattr(prepared, NEVER_CALLED, ())
    is_trained = state_of(prepared) is State.FAKE_QUANTIZED
    for name in blind_observers(prepared):
        has_parameters = next(prepared.get_submodule(name).parameters(), None) is not None
        if has_parameters or not (is_trained or name in excused):
            return name
    return None


def blind_observers(prepared: nn.Module) -> list[str]:
    """Layers whose observers have seen no value, by name."""
    return [
        owner
        for owner, low, high in _ranges(prepared)
        if low.numel() == 0 or bool((low == torch.inf).all() & (high == -torch.inf).all())
    ]


def dead_observer(prepared: nn.Module) -> str | None:
    """The first layer whose results were zero whenever they were seen, by name."""
    for owner, low, high in _ranges(prepared, of_weights=False):
        if low.numel() and bool((low == 0).all() & (high == 0).all()):
            return owner
    return None


def _ranges(prepared: nn.Module, of_weights: bool = True) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name of each observed layer, and the lowest and highest values that its observer has seen."""
    for name, module in prepared.named_modules():
        low, high = getattr(module, "min_val", None), getattr(module, "max_val", None)
        if not isinstance(module, ao.ObserverBase) or (WEIGHTS in name and not of_weights):
            continue
        if isinstance(low, torch.Tensor) and isinstance(high, torch.Tensor):
            yield name.replace(".activation_post_process", "").replace(WEIGHTS, ""), low, high


def half_configured_group(prepared: nn.Module) -> str | None:
    """The first fused group that is observed and whose convolution or linear layer has qconfig None, by name."""
    for name, module in prepared.named_modules():
        watched = isinstance(module, _FusedModule) and hasattr(module, "activation_post_process")
        if watched and getattr(module[0], "qconfig", None) is None:
            return name
    return None


def in_the_other_mode(model: nn.Module, training: bool) -> str | None:
    """The first layer whose result depends on the mode and that is in the other one, by name; "" is the model."""
    for name, module in model.named_modules():
        if (not name or isinstance(module, MODE_MATTERS)) and module.training != training:
            return name
    return None


def places_of(model: nn.Module) -> dict[str, str]:
    """Device types that its parameters and buffers are on, each with the name of the first one there."""
    found: dict[str, str] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found.setdefault(tensor.device.type, name)
    return found
