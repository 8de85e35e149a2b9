"""Observers of a prepared model's layers, as text for records and goldens."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.interface import Observers
from quantbench.backends.torch_ao.power_of_two import PowerOfTwoScale
from quantbench.upstream import silenced


def observers_of(prepared: nn.Module) -> Observers:
    """Every layer's activation and weight observer: class, dtype, scheme and integer range."""
    found: Observers = {}
    module: Any
    for name, module in prepared.named_modules():
        post = getattr(module, "activation_post_process", None)
        # A functional that nothing watches, because it stays fp32, has an identity in the observer's place.
        if post is None or isinstance(module, ao.FakeQuantizeBase) or isinstance(post, nn.Identity):
            continue
        found[name] = {"activation": described(post)}
        watching_weight = weight_observer(module)
        if watching_weight is not None:
            found[name]["weight"] = described(watching_weight)
    return found


def weight_observer(module: Any) -> Any:
    """Observer of a layer's weight, made as conversion will make it, or None for a layer without one."""
    fake_quantizer = getattr(module, "weight_fake_quant", None)
    if fake_quantizer is not None:
        return fake_quantizer
    with silenced():
        if isinstance(getattr(module, "weight", None), nn.Parameter):
            return module.qconfig.weight()
        if isinstance(module, nn.Sequential):
            # A fused group: its first member is the layer, the group carries the activation's observer.
            layer: Any = module[0]
            return layer.qconfig.weight()
    return None


def described(observer: Any) -> str:
    inner = getattr(observer, "activation_post_process", None)
    inside = f"{type(inner).__name__}, " if inner is not None else ""
    scheme = str(observer.qscheme).removeprefix("torch.")
    dtype = str(observer.dtype).removeprefix("torch.")
    owner = inner if inner is not None else observer
    finest = f", scale ≥ 2^-{owner.max_shift}" if isinstance(owner, PowerOfTwoScale) else ""
    return f"{type(observer).__name__}({inside}{dtype}, {scheme}, {owner.quant_min}..{owner.quant_max}{finest})"
