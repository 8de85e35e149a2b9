"""torchao's X86 quantizer with the observers that a recipe describes, on a whole model or on some of its layers."""

from __future__ import annotations

from typing import Any

import torch
from torchao.quantization import pt2e
from torchao.quantization.pt2e.quantizer import QuantizationConfig, QuantizationSpec
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

from quantbench.backends.exported.layers import Groups, members_of
from quantbench.backends.exported.observers import OBSERVERS, FakeQuantize
from quantbench.backends.exported.recipes import quantizers
from quantbench.recipes.spec import DynamicInt8, QatInt8, Quantizer, StaticInt8

# Of uint8 activations where one bit is left free: without VNNI, sums of two products saturate in 16 bits. It is left
# free on every processor, so that a recipe means the same everywhere, as with backend `eager`.
REDUCED, UNSIGNED, SIGNED = (0, 127), (0, 255), (-128, 127)


def quantizer_of(recipe: DynamicInt8 | StaticInt8 | QatInt8, names: set[str], groups: Groups | None) -> Any:
    """An `X86InductorQuantizer`.

    Args:
        recipe: one that is not refused.
        names: of the layers of the model.
        groups: name of a group of layers → its layers; None where a layer is named by itself.

    Raises:
        QuantizationError: if a named layer is not there.
    """
    quantizer = x86.X86InductorQuantizer()
    if isinstance(recipe, DynamicInt8):
        return quantizer.set_module_type_qconfig(
            torch.nn.Linear, x86.get_default_x86_inductor_quantization_config(is_dynamic=True, reduce_range=True)
        )
    config = _config(recipe)
    if recipe.layers is None:
        return quantizer.set_global(config)
    for layer in recipe.layers:
        for member in members_of(layer, names, groups, "pt2e"):
            quantizer.set_module_name_qconfig(member, config)
    return quantizer


def _config(recipe: StaticInt8 | QatInt8) -> QuantizationConfig:
    made = _fake_quantizer if isinstance(recipe, QatInt8) else _observer
    activation, weight = (_spec(each, made(each)) for each in quantizers(recipe))
    # Not for QAT, which would be told of batch norms; they are hidden while torchao looks for layers.
    return QuantizationConfig(activation, activation, weight, None, False)


def _observer(wanted: Quantizer) -> Any:
    observer, power_of_two = OBSERVERS[wanted.range, wanted.granularity]
    return observer if wanted.max_shift is None else power_of_two.with_args(max_shift=wanted.max_shift)


def _fake_quantizer(wanted: Quantizer) -> Any:
    observer, power_of_two = OBSERVERS[wanted.range, wanted.granularity]
    if wanted.max_shift is not None:
        # The fused kernel computes scales of its own, whatever observer it is given.
        return pt2e.FakeQuantize.with_args(observer=power_of_two, max_shift=wanted.max_shift)
    fused = wanted.range == "moving_average"
    return (FakeQuantize if fused else pt2e.FakeQuantize).with_args(observer=observer)


def _spec(wanted: Quantizer, made: Any) -> QuantizationSpec:
    low, high = SIGNED
    if wanted.dtype == "uint8":
        low, high = UNSIGNED if wanted.reduce_range is False else REDUCED
    return QuantizationSpec(
        dtype=getattr(torch, wanted.dtype),
        quant_min=low,
        quant_max=high,
        qscheme=getattr(torch, f"{wanted.granularity}_{wanted.scheme}"),
        ch_axis=0 if wanted.granularity == "per_channel" else None,
        observer_or_fake_quant_ctr=made,
    )
