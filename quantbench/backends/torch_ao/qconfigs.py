"""QConfigs: the observers and fake quantizers of torch.ao for what a recipe describes, on each quantized engine."""

from __future__ import annotations

from typing import Any

import torch
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.histogram import HistogramObserver
from quantbench.backends.torch_ao.power_of_two import OBSERVERS
from quantbench.errors import QuantizationError
from quantbench.quant.limits import DEFAULT_MAX_SHIFT
from quantbench.recipes.qat_int8 import qat_int8_pow2
from quantbench.recipes.spec import QatInt8, Quantizer, StaticInt8
from quantbench.recipes.static_int8 import static_int8_pow2
from quantbench.upstream import silenced

# Engines whose u8×s8 products saturate in 16 bits on processors without VNNI; they keep one bit of the activations
# free (pytorch/pytorch#103646), on every processor, so that a recipe means the same everywhere.
SATURATING_ENGINES = ("x86", "fbgemm", "onednn")
UNSIGNED, SIGNED = (0, 255), (-128, 127)
# By how the ends of the range are found, and for how much of a tensor.
OBSERVER_OF = {
    ("minmax", "per_tensor"): ao.MinMaxObserver,
    ("minmax", "per_channel"): ao.PerChannelMinMaxObserver,
    ("moving_average", "per_tensor"): ao.MovingAverageMinMaxObserver,
    ("moving_average", "per_channel"): ao.MovingAveragePerChannelMinMaxObserver,
    ("histogram", "per_tensor"): HistogramObserver,
}


def static_qconfig(recipe: StaticInt8, engine: str) -> ao.QConfig:
    """Observers for post-training quantization."""
    if recipe.activation is None or recipe.weight is None:
        return _default(engine)
    return ao.QConfig(activation=_observer(recipe.activation, engine), weight=_observer(recipe.weight, engine))


def _default(engine: str) -> ao.QConfig:
    """Upstream's observers for an engine, the histogram in its quicker form."""
    with silenced():
        default = ao.get_default_qconfig(engine)
    made = default.activation.p
    if made.func is not ao.HistogramObserver:
        return default
    return default._replace(activation=HistogramObserver.with_args(*made.args, **made.keywords))


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


def _observer(quantizer: Quantizer, engine: str) -> Any:
    return _observer_class(quantizer).with_args(**_scheme(quantizer, engine))


def _fake_quantizer(quantizer: Quantizer, engine: str) -> Any:
    low, high = UNSIGNED if quantizer.dtype == "uint8" else SIGNED
    # The fused kernel computes scales of its own, whatever observer it is given.
    fake_quantize = ao.FusedMovingAvgObsFakeQuantize if quantizer.max_shift is None else ao.FakeQuantize
    return fake_quantize.with_args(
        observer=_observer_class(quantizer), quant_min=low, quant_max=high, **_scheme(quantizer, engine)
    )


def _observer_class(quantizer: Quantizer) -> Any:
    observer = OBSERVER_OF.get((quantizer.range, quantizer.granularity))
    if observer is None:
        known = ", ".join(ends for ends, granularity in OBSERVER_OF if granularity == quantizer.granularity)
        raise QuantizationError(
            f"torch.ao finds no {quantizer.range} range {quantizer.granularity}; its ranges {quantizer.granularity}: "
            f"{known}"
        )
    return observer if quantizer.max_shift is None else OBSERVERS[observer.__name__]


def _scheme(quantizer: Quantizer, engine: str) -> dict[str, Any]:
    reduces = quantizer.reduce_range
    if reduces is None:
        reduces = quantizer.dtype == "uint8" and engine in SATURATING_ENGINES
    scheme = {
        "dtype": getattr(torch, f"q{quantizer.dtype}"),
        "qscheme": getattr(torch, f"{quantizer.granularity}_{quantizer.scheme}"),
        "reduce_range": reduces,
    }
    return scheme if quantizer.max_shift is None else scheme | {"max_shift": quantizer.max_shift}
