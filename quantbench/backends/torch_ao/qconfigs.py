"""QConfigs: which observer or fake quantizer stands for what a recipe describes, on each quantized engine."""

from __future__ import annotations

from typing import Any

import torch
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.power_of_two import OBSERVERS
from quantbench.quant.limits import DEFAULT_MAX_SHIFT
from quantbench.recipes.qat_int8 import qat_int8_pow2
from quantbench.recipes.spec import ObserverSpec, QatInt8, StaticInt8
from quantbench.recipes.static_int8 import static_int8_pow2
from quantbench.upstream import silenced

# Engines whose u8×s8 products saturate in 16 bits on processors without VNNI; they keep one bit of the activations
# free (pytorch/pytorch#103646), on every processor, so that a recipe means the same everywhere.
SATURATING_ENGINES = ("x86", "fbgemm", "onednn")
UNSIGNED, SIGNED = (0, 255), (-128, 127)


def static_qconfig(recipe: StaticInt8, engine: str) -> ao.QConfig:
    """Observers for post-training quantization."""
    if recipe.full_range:
        activation = ao.HistogramObserver.with_args(reduce_range=False)
        return ao.QConfig(activation=activation, weight=ao.default_per_channel_weight_observer)
    if recipe.activation is None or recipe.weight is None:
        with silenced():
            return ao.get_default_qconfig(engine)
    return ao.QConfig(activation=_observer(recipe.activation, engine), weight=_observer(recipe.weight, engine))


def training_qconfig(recipe: QatInt8, engine: str) -> ao.QConfig:
    """Fake quantizers for quantization-aware training."""
    return ao.QConfig(
        activation=_fake_quantizer(recipe.activation, engine), weight=_fake_quantizer(recipe.weight, engine)
    )


def power_of_two_qconfig(engine: str, max_shift: int = DEFAULT_MAX_SHIFT) -> ao.QConfig:
    """The observers of recipe `static_int8_pow2`, to be given to `prepare`.

    Raises:
        QuantizationError: if max_shift is out of range.
    """
    return _tried(static_qconfig(static_int8_pow2(max_shift=max_shift), engine))


def power_of_two_qat_qconfig(engine: str, max_shift: int = DEFAULT_MAX_SHIFT) -> ao.QConfig:
    """The fake quantizers of recipe `qat_int8_pow2`, to be given to `prepare_qat`.

    Raises:
        QuantizationError: if max_shift is out of range.
    """
    return _tried(training_qconfig(qat_int8_pow2(max_shift=max_shift), engine))


def _tried(qconfig: ao.QConfig) -> ao.QConfig:
    """The qconfig, whose parts have been made once: a wrong parameter is refused here and not layers later."""
    with silenced():
        qconfig.activation(), qconfig.weight()
    return qconfig


def _observer(spec: ObserverSpec, engine: str) -> Any:
    return _observer_class(spec).with_args(**_scheme(spec, engine))


def _fake_quantizer(spec: ObserverSpec, engine: str) -> Any:
    low, high = UNSIGNED if spec.dtype == "quint8" else SIGNED
    # The fused kernel computes scales of its own, whatever observer it is given.
    fake_quantize = ao.FusedMovingAvgObsFakeQuantize if spec.max_shift is None else ao.FakeQuantize
    return fake_quantize.with_args(
        observer=_observer_class(spec), quant_min=low, quant_max=high, **_scheme(spec, engine)
    )


def _observer_class(spec: ObserverSpec) -> Any:
    return getattr(ao.observer, spec.observer) if spec.max_shift is None else OBSERVERS[spec.observer]


def _scheme(spec: ObserverSpec, engine: str) -> dict[str, Any]:
    reduces = spec.dtype == "quint8" and engine in SATURATING_ENGINES
    scheme = {"dtype": getattr(torch, spec.dtype), "qscheme": getattr(torch, spec.qscheme), "reduce_range": reduces}
    return scheme if spec.max_shift is None else scheme | {"max_shift": spec.max_shift}
