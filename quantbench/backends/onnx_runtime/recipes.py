"""Neutral recipes that ONNX Runtime can run, and for the others the reason and what to use instead."""

from __future__ import annotations

from quantbench.backends.onnx_runtime.weight_only import OPERATORS
from quantbench.recipes.spec import (
    PER_CHANNEL_WEIGHT,
    PER_TENSOR_ACTIVATION,
    DynamicInt8,
    LowBit,
    QatInt8,
    Quantizer,
    Recipe,
    StaticInt8,
    WeightOnly,
)

# Type of a torch layer → the operators that it is written as and that have a dynamically quantized form.
DYNAMIC = {"Linear": ("MatMul", "Gemm"), "LSTM": ("LSTM",), "Conv1d": ("Conv",), "Conv2d": ("Conv",)}
# For `static_int8` without quantizers: upstream's own default, with weights per channel.
DEFAULT = PER_TENSOR_ACTIVATION, PER_CHANNEL_WEIGHT


def refusal(recipe: Recipe) -> str | None:
    """The reason why a recipe cannot be run, with what to use instead; None if it can."""
    match recipe:
        case QatInt8():
            return "onnxruntime has no quantization-aware training: use backend: eager, or a static_int8 recipe"
        case LowBit():
            return "onnxruntime has no kernels of a few bits for convolutions: use backend: low_bit"
        case DynamicInt8():
            unknown = next((each for each in recipe.layers if each not in DYNAMIC), None)
            known = ", ".join(DYNAMIC)
            return unknown and f"onnxruntime has no dynamic form of a layer '{unknown}'; it has them of {known}"
        case WeightOnly():
            return _weight_only_refusal(recipe)
        case StaticInt8():
            return _static_refusal(*quantizers(recipe))
    return None


def quantizers(recipe: StaticInt8) -> tuple[Quantizer, Quantizer]:
    """Those of activations and weights; upstream's where the recipe leaves them to the processor."""
    if recipe.activation is None or recipe.weight is None:
        return DEFAULT
    return recipe.activation, recipe.weight


def _static_refusal(activation: Quantizer, weight: Quantizer) -> str | None:
    if activation.granularity == "per_channel":
        return "onnxruntime has no scale per channel for activations: use granularity: per_tensor"
    if weight.range == "histogram":
        return "onnxruntime takes weights by their smallest and largest value: use range: minmax for them"
    if (activation.max_shift is None) != (weight.max_shift is None):
        return "onnxruntime: scales are powers of two in activations and weights or in neither: give both a max_shift"
    if weight.scheme == "affine" and weight.granularity == "per_channel":
        return (
            "onnxruntime's convolutions take no zero point per channel: use scheme: symmetric for weights, or "
            "granularity: per_tensor"
        )
    return None


def _weight_only_refusal(recipe: WeightOnly) -> str | None:
    if unknown := next((each for each in recipe.layers if each not in OPERATORS), None):
        return f"onnxruntime has no weight-only form of a layer '{unknown}'; it has them of {', '.join(OPERATORS)}"
    if recipe.block_size is None:
        few = recipe.bits < 8
        return f"onnxruntime has weights of {recipe.bits} bits in blocks only: give a block_size" if few else None
    if any(layer != "Linear" for layer in recipe.layers):
        return "onnxruntime has weights in blocks for linear layers only: use layers: [Linear], or weight_only_int8"
    return None


def describe_quantizer(quantizer: Quantizer) -> str:
    """On one line: `minmax uint8 per_tensor affine`."""
    shift = f" power of two ≥ 2^-{quantizer.max_shift}" if quantizer.max_shift is not None else ""
    return f"{quantizer.range} {quantizer.dtype} {quantizer.granularity} {quantizer.scheme}{shift}"
