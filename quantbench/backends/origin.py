"""Kind of a checkpoint, and the method that made it: post-training quantization or quantization-aware training.

Converted checkpoints have the same keys after post-training quantization and after quantization-aware training, so that
either loads through the other's path without a word. Checkpoints of ours therefore note their origin, beside the
versions that torch keeps of every module in a state dict's `_metadata`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import torch

from quantbench.backends.quantized_tensors import is_quantized
from quantbench.backends.tensor_classes import is_composed
from quantbench.recipes.spec import QatInt8, Recipe, StaticInt8

ORIGIN_KEY = "quantbench_origin"
# As files hold it: another word for a kind would be another file, byte by byte.
METHOD_NAMES = {StaticInt8.kind: "StaticInt8", QatInt8.kind: "QatInt8"}
METHODS = {"StaticInt8": "by post-training quantization", "QatInt8": "by quantization-aware training"}
# A packed linear layer: its (weight, bias), and their dtype.
PACKED, PACKED_DTYPE = "._packed_params._packed_params", "._packed_params.dtype"
FAKE_QUANTIZER, OBSERVER = ".weight_fake_quant.", ".activation_post_process."
# A low-bit layer: its quantizers in training, and its packed codes with their widths after conversion.
LOW_BIT_QUANTIZERS = (".input_quantizer.", ".weight_quantizer.")
PACKED_CODES, WIDTHS = ".packed_weight", ".widths"


def method_of(recipe: Recipe) -> str | None:
    """Method that a recipe's checkpoints note, or None for a kind whose keys nothing else has."""
    return METHOD_NAMES.get(recipe.kind)


def note_origin(state: dict[str, Any], recipe: Recipe) -> None:
    """Notes a recipe's method in what `state_dict()` gave."""
    method = method_of(recipe)
    if method is not None:
        state._metadata[""][ORIGIN_KEY] = method  # type: ignore[attr-defined]


def origin_of(state: dict[str, Any]) -> str | None:
    """Method noted in a checkpoint, or None in one that quantbench did not write."""
    noted = getattr(state, "_metadata", None)
    root = noted.get("") if isinstance(noted, dict) else None
    origin = root.get(ORIGIN_KEY) if isinstance(root, dict) else None
    return origin if isinstance(origin, str) and origin in METHODS else None


class Stage(IntEnum):
    """Stage of a state dict between floating point and int8."""

    FLOAT = 0
    PREPARED = 1
    # Or codes of fewer bits.
    INT8 = 2


def stage_of(state: dict[str, Any]) -> Stage:
    """From its keys and dtypes."""
    if any(part in key for key in state for part in (FAKE_QUANTIZER, OBSERVER, *LOW_BIT_QUANTIZERS)):
        return Stage.PREPARED
    packed = any(key.endswith((PACKED, PACKED_CODES)) for key in state)
    return Stage.INT8 if packed or any(_is_quantized(value) for value in state.values()) else Stage.FLOAT


def kind_of(state: dict[str, Any]) -> str:
    """Describes a state dict in words, from its keys, dtypes and noted origin."""
    stage = stage_of(state)
    if stage is Stage.FLOAT:
        return "floating point"
    if stage is Stage.PREPARED:
        if any(FAKE_QUANTIZER in key for key in state):
            return "prepared for quantization-aware training, not converted: fp32 weights with fake quantizers"
        if any(LOW_BIT_QUANTIZERS[1] in key for key in state):
            return "prepared for low-bit training, not converted: fp32 weights with learned ranges"
        return "prepared for post-training quantization, not converted: fp32 weights with observers"
    if any(key.endswith(PACKED_CODES) for key in state):
        return _low_bit_kind(state)
    if composed := [type(value).__name__ for value in state.values() if is_composed(value)]:
        return f"of torchao: {len(composed)} tensor{'s' * (len(composed) > 1)} of {', '.join(sorted(set(composed)))}"
    if is_dynamic(state):
        return "dynamic int8"
    origin = origin_of(state)
    return f"static int8, {METHODS[origin] if origin else 'of unknown origin (both ways end with the same keys)'}"


def _low_bit_kind(state: dict[str, Any]) -> str:
    found = [value for key, value in state.items() if key.endswith(WIDTHS)]
    widths = [each.tolist() for each in found if isinstance(each, torch.Tensor) and each.shape == (2,)]
    if not widths:
        return "low-bit: weights packed as codes of unknown width"
    weights, inputs = ("/".join(str(bits) for bits in sorted(set(each))) for each in zip(*widths, strict=True))
    return f"low-bit: weights packed as codes of {weights} bits, inputs as {inputs}, in {len(widths)} layers"


def is_dynamic(state: dict[str, Any]) -> bool:
    """True if only packed layers are int8 and no activation was given a scale: a converted stub's has shape [1]."""
    stubs = any(key.endswith(".scale") and getattr(value, "shape", None) == (1,) for key, value in state.items())
    others = any(_is_quantized(value) for key, value in state.items() if not key.endswith(PACKED))
    return any(key.endswith(PACKED) for key in state) and not stubs and not others


def _is_quantized(value: Any) -> bool:
    members = value if isinstance(value, tuple) else (value,)
    return any(is_quantized(each) or is_composed(each) for each in members)


def method_mismatch(state: dict[str, Any], recipe: Recipe) -> str | None:
    """Mismatch between the method that a checkpoint notes and the recipe that loads it, in words; None without one."""
    origin, method = origin_of(state), method_of(recipe)
    if origin is None or origin == method:
        return None
    path = METHODS[method] if method else f"by {recipe.kind}"
    return (
        f"was made {METHODS[origin]} and is loaded as if made {path}: the keys may match, the observers behind its "
        "scales do not"
    )
