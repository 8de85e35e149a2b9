"""Static post-training quantization: one scale per tensor, one per output channel, or the processor's default."""

from __future__ import annotations

from dataclasses import replace

from quantbench.quant.limits import DEFAULT_MAX_SHIFT
from quantbench.recipes.spec import (
    DEFAULT_CALIBRATION_N,
    HISTOGRAM_ACTIVATION,
    PER_CHANNEL_WEIGHT,
    PER_TENSOR_ACTIVATION,
    PER_TENSOR_WEIGHT,
    CalibrationN,
    MaxShift,
    StaticInt8,
)

# Names of layers or of the model's `layer_groups`, the rest staying fp32; none for the whole model.
Layers = tuple[str, ...] | None


def static_int8_per_tensor(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N, layers: Layers = None) -> StaticInt8:
    """One scale per weight tensor; the smallest and largest values.

    Example:
        >>> static_int8_per_tensor(calibration_n=32).weight.granularity
        'per_tensor'
    """
    return StaticInt8(PER_TENSOR_ACTIVATION, PER_TENSOR_WEIGHT, calibration_n, _some(layers))


def static_int8_per_channel(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N, layers: Layers = None) -> StaticInt8:
    """One scale per output channel of each weight; activations stay per tensor; the smallest and largest values.

    Example:
        >>> static_int8_per_channel(calibration_n=32).weight.granularity
        'per_channel'
    """
    return StaticInt8(PER_TENSOR_ACTIVATION, PER_CHANNEL_WEIGHT, calibration_n, _some(layers))


def static_int8_histogram(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N, layers: Layers = None) -> StaticInt8:
    """The processor's default: histograms, which clip outliers of activations.

    Example:
        >>> static_int8_histogram(calibration_n=32).calibration_n
        32
    """
    return StaticInt8(None, None, calibration_n, _some(layers))


def static_int8_full_range(calibration_n: CalibrationN = DEFAULT_CALIBRATION_N, layers: Layers = None) -> StaticInt8:
    """As `static_int8_histogram`, with all 8 bits of activations: for processors with VNNI, others saturate.

    Example:
        >>> static_int8_full_range().activation.reduce_range
        False
    """
    activation = replace(HISTOGRAM_ACTIVATION, reduce_range=False)
    return StaticInt8(activation, PER_CHANNEL_WEIGHT, calibration_n, _some(layers))


def static_int8_pow2(
    calibration_n: CalibrationN = DEFAULT_CALIBRATION_N, max_shift: MaxShift = DEFAULT_MAX_SHIFT, layers: Layers = None
) -> StaticInt8:
    """Every scale a power of two, so that rescaling is a shift: histograms, weights per output channel.

    Args:
        calibration_n: samples that the observers see.
        max_shift: the finest scale is 2^-max_shift; weights that stay below 90 · 2^-max_shift lose bits to it.
        layers: see `StaticInt8`.

    Example:
        >>> static_int8_pow2(max_shift=6).weight.max_shift
        6
    """
    activation = replace(HISTOGRAM_ACTIVATION, max_shift=max_shift)
    return StaticInt8(activation, replace(PER_CHANNEL_WEIGHT, max_shift=max_shift), calibration_n, _some(layers))


def static_int8_layers(layers: tuple[str, ...], calibration_n: CalibrationN = DEFAULT_CALIBRATION_N) -> StaticInt8:
    """The processor's default, as `static_int8_histogram`, on the named layers only.

    Args:
        layers: by the names of the model's `layer_groups`.
        calibration_n: samples that the observers see.

    Example:
        >>> static_int8_layers(("block1", "block2")).layers
        ('block1', 'block2')
    """
    return StaticInt8(None, None, calibration_n, _some(layers))


def _some(layers: Layers) -> Layers:
    """Raises ValueError if there are names, and none is given."""
    if layers == ():
        raise ValueError("layers: none is named; nothing would be quantized")
    return layers
