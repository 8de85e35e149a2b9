"""What kind of checkpoint a state dict is, and by which way it was made.

Converted checkpoints have the same keys after post-training quantization and after quantization-aware training, so that
either loads through the other's path without a word. Checkpoints of ours therefore note their origin, beside the
versions that torch keeps of every module in a state dict's `_metadata`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import torch

from quantbench.recipes.spec import QatInt8, Recipe, StaticInt8

NOTE = "quantbench_origin"
WAYS = {StaticInt8.__name__: "by post-training quantization", QatInt8.__name__: "by quantization-aware training"}
# A packed linear layer: its (weight, bias), and their dtype.
PACKED, PACKED_DTYPE = "._packed_params._packed_params", "._packed_params.dtype"
FAKE_QUANTIZER, OBSERVER = ".weight_fake_quant.", ".activation_post_process."


def way_of(recipe: Recipe) -> str | None:
    """What a recipe's checkpoints note, or None for a kind whose keys nothing else has."""
    kind = type(recipe).__name__
    return kind if kind in WAYS else None


def note_origin(state: dict[str, Any], recipe: Recipe) -> None:
    """Notes a recipe's way in what `state_dict()` gave."""
    way = way_of(recipe)
    if way is not None:
        state._metadata[""][NOTE] = way  # type: ignore[attr-defined]


def origin_of(state: dict[str, Any]) -> str | None:
    """The way noted in a checkpoint, or None in one that quantbench did not write."""
    noted = getattr(state, "_metadata", None)
    root = noted.get("") if isinstance(noted, dict) else None
    origin = root.get(NOTE) if isinstance(root, dict) else None
    return origin if isinstance(origin, str) and origin in WAYS else None


class Stage(IntEnum):
    """How far a state dict is on the way from floating point to int8."""

    FLOAT = 0
    PREPARED = 1
    INT8 = 2


def stage_of(state: dict[str, Any]) -> Stage:
    """From its keys and dtypes."""
    if any(FAKE_QUANTIZER in key or OBSERVER in key for key in state):
        return Stage.PREPARED
    packed = any(key.endswith(PACKED) for key in state)
    return Stage.INT8 if packed or any(_is_quantized(value) for value in state.values()) else Stage.FLOAT


def kind_of(state: dict[str, Any]) -> str:
    """What a state dict is, in words, from its keys, dtypes and noted origin."""
    stage = stage_of(state)
    if stage is Stage.FLOAT:
        return "floating point"
    if stage is Stage.PREPARED:
        if any(FAKE_QUANTIZER in key for key in state):
            return "prepared for quantization-aware training, not converted: fp32 weights with fake quantizers"
        return "prepared for post-training quantization, not converted: fp32 weights with observers"
    if is_dynamic(state):
        return "dynamic int8"
    origin = origin_of(state)
    return f"static int8, {WAYS[origin] if origin else 'of unknown origin (both ways end with the same keys)'}"


def is_dynamic(state: dict[str, Any]) -> bool:
    """Whether only packed layers are int8 and no activation was given a scale: a converted stub's has shape [1]."""
    stubs = any(key.endswith(".scale") and getattr(value, "shape", None) == (1,) for key, value in state.items())
    others = any(_is_quantized(value) for key, value in state.items() if not key.endswith(PACKED))
    return any(key.endswith(PACKED) for key in state) and not stubs and not others


def _is_quantized(value: Any) -> bool:
    members = value if isinstance(value, tuple) else (value,)
    return any(isinstance(member, torch.Tensor) and member.is_quantized for member in members)


def wrong_way(state: dict[str, Any], recipe: Recipe) -> str | None:
    """What is wrong with loading a checkpoint through a recipe's path, where the origin that it notes tells."""
    origin, way = origin_of(state), way_of(recipe)
    if origin is None or origin == way:
        return None
    path = WAYS[way] if way else f"by {type(recipe).__name__}"
    return (
        f"was made {WAYS[origin]} and is loaded as if made {path}: the keys may match, the observers behind its scales "
        "do not"
    )
