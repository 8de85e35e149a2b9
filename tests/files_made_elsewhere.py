"""Two files of ONNX that tell the images of the project in miniature apart by their colour, as if made elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, helper
from onnx_models import constants, model

# The images of the label i are bright in the channel i.
COLOURS = np.eye(3, dtype=np.float32)
SIZE = 8


def colours(rows: np.ndarray = COLOURS, last: bool = False, batch: int | str = "n") -> ModelProto:
    """The mean of each colour as a logit.

    Args:
        rows: `[3 classes, 3 channels]`.
        last: it takes channels last.
        batch: a number is a fixed one.
    """
    moved = [helper.make_node("Transpose", ["x"], ["first"], "move", perm=[0, 3, 1, 2])] if last else []
    nodes = [
        *moved,
        helper.make_node("Conv", ["first" if last else "x", "weight"], ["a"], "conv"),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], "pool"),
        helper.make_node("Flatten", ["b"], ["logits"], "flatten"),
    ]
    shape = [batch, SIZE, SIZE, 3] if last else [batch, 3, SIZE, SIZE]
    held = constants(weight=rows[:, :, None, None])
    return model(nodes, {"x": shape}, {"logits": [batch, 3]}, held)


def quantized(rows: np.ndarray = COLOURS, levels: int = 127, relu: bool = False) -> ModelProto:
    """The same with input and weights in int8, each between a pair of QuantizeLinear and DequantizeLinear.

    Args:
        rows: as of `colours`.
        levels: of the weights, on either side of zero.
        relu: with one more operator, at the end.
    """
    scale = np.abs(rows).max() / levels
    codes = np.rint(rows / scale).astype(np.int8)[:, :, None, None]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "in_scale", "in_zero"], ["q"], "in_q"),
        helper.make_node("DequantizeLinear", ["q", "in_scale", "in_zero"], ["d"], "in_d"),
        helper.make_node("DequantizeLinear", ["codes", "w_scale", "w_zero"], ["w"], "w_d"),
        helper.make_node("Conv", ["d", "w"], ["a"], "conv"),
        helper.make_node("QuantizeLinear", ["a", "in_scale", "in_zero"], ["aq"], "out_q"),
        helper.make_node("DequantizeLinear", ["aq", "in_scale", "in_zero"], ["ad"], "out_d"),
        helper.make_node("GlobalAveragePool", ["ad"], ["b"], "pool"),
        helper.make_node("Flatten", ["b"], ["flat" if relu else "logits"], "flatten"),
    ]
    if relu:
        nodes.append(helper.make_node("LeakyRelu", ["flat"], ["logits"], "relu", alpha=0.5))
    held = constants(
        in_scale=np.float32(0.05), in_zero=np.int8(0), codes=codes, w_scale=np.float32(scale), w_zero=np.int8(0)
    )
    return model(nodes, {"x": ["n", 3, SIZE, SIZE]}, {"logits": ["n", 3]}, held)


def saved(proto: ModelProto, path: Path) -> Path:
    """The model's file."""
    path.write_bytes(proto.SerializeToString())
    return path
