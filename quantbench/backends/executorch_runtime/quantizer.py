"""ExecuTorch's XNNPACK quantizer with the observers that a recipe describes, on a model or on some of its layers."""

from __future__ import annotations

from typing import Any

import torch
from torchao.quantization.pt2e.quantizer import QuantizationConfig, QuantizationSpec

from quantbench.backends.executorch_runtime.library import compiler
from quantbench.backends.executorch_runtime.recipes import signed
from quantbench.backends.exported.graphs import layer_of
from quantbench.backends.exported.layers import Groups, members_of
from quantbench.backends.exported.observers import OBSERVERS
from quantbench.backends.exported.recipes import quantizers
from quantbench.recipes.spec import DynamicInt8, Quantizer, StaticInt8

# XNNPACK's weights leave −128 out, and scales smaller than this are not multiplied exactly.
WEIGHTS, ACTIVATIONS, REDUCED = (-127, 127), (-128, 127), (-64, 63)
SMALLEST_SCALE = 2**-12
# Operators that become a bound of the one before.
FUSED = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)


def quantizer_of(recipe: DynamicInt8 | StaticInt8, names: set[str], groups: Groups | None) -> Any:
    """An `XNNPACKQuantizer`.

    Args:
        recipe: one that is not refused.
        names: of the layers of the model.
        groups: name of a group of layers → its layers; None where a layer is named by itself.

    Raises:
        QuantizationError: if a named layer is not there.
    """
    library = compiler("backends.xnnpack.quantizer.xnnpack_quantizer")
    quantizer = library.XNNPACKQuantizer()
    if isinstance(recipe, DynamicInt8):
        config = library.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
        return quantizer.set_operator_type(torch.ops.aten.linear.default, config)
    quantizer.set_global(_config(recipe))
    if recipe.layers is not None:
        members = {each for layer in recipe.layers for each in members_of(layer, names, groups, "executorch")}
        quantizer.set_filter_function(lambda node: _is_of(node, members))
    return quantizer


def _is_of(node: Any, members: set[str]) -> bool:
    """True for an operator of the layers, for one that XNNPACK fuses with it, and for constants."""
    if node.op != "call_function":
        return True
    return layer_of(node) in members or (node.target in FUSED and layer_of(node.args[0]) in members)


def _config(recipe: StaticInt8) -> QuantizationConfig:
    activation, weight = quantizers(recipe)
    own = _spec(signed(activation), REDUCED if activation.reduce_range else ACTIVATIONS)
    return QuantizationConfig(own, own, _spec(weight, WEIGHTS), None, False)


def _spec(wanted: Quantizer, codes: tuple[int, int]) -> QuantizationSpec:
    observer, power_of_two = OBSERVERS[wanted.range, wanted.granularity]
    extra = {} if wanted.max_shift is None else {"max_shift": wanted.max_shift}
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=codes[0],
        quant_max=codes[1],
        qscheme=getattr(torch, f"{wanted.granularity}_{wanted.scheme}"),
        ch_axis=0 if wanted.granularity == "per_channel" else None,
        observer_or_fake_quant_ctr=(power_of_two if extra else observer).with_args(eps=SMALLEST_SCALE, **extra),
    )
