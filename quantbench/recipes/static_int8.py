"""Static post-training quantization: one scale per tensor, one per output channel, or the processor's default."""

from __future__ import annotations

from quantbench.recipes.spec import (
    DEFAULT_CALIBRATION_N,
    PER_CHANNEL_WEIGHT,
    PER_TENSOR_ACTIVATION,
    PER_TENSOR_WEIGHT,
    CalibrationN,
    StaticInt8,
)
from quantbench.registry import RECIPES


@RECIPES.register("static_int8_per_tensor")
def static_int8_per_tensor(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N) -> StaticInt8:
    """One scale per weight tensor; min/max observers."""
    return StaticInt8(PER_TENSOR_ACTIVATION, PER_TENSOR_WEIGHT, calibration_n)


@RECIPES.register("static_int8_per_channel")
def static_int8_per_channel(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N) -> StaticInt8:
    """One scale per output channel of each weight; activations stay per tensor; min/max observers."""
    return StaticInt8(PER_TENSOR_ACTIVATION, PER_CHANNEL_WEIGHT, calibration_n)


@RECIPES.register("static_int8_histogram")
def static_int8_histogram(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N) -> StaticInt8:
    """The processor's default qconfig: histogram observers that clip outliers of activations."""
    return StaticInt8(None, None, calibration_n)


@RECIPES.register("static_int8_full_range")
def static_int8_full_range(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N) -> StaticInt8:
    """As `static_int8_histogram`, with all 8 bits of activations: for processors with VNNI, others saturate."""
    return StaticInt8(None, None, calibration_n, full_range=True)
