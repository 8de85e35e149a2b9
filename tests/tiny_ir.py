"""A small OpenVINO model made by hand: Conv-ReLU and a linear head on `[n, 3, 4, 4]`, in several types."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from quantbench.backends.openvino_runtime.library import openvino

# `weights` has int8 weights and no scale for what they are multiplied with; `half` has a linear head in float32.
Kind = Literal["float32", "int8", "weights", "half"]
SIZE, CHANNELS, CLASSES = 4, 8, 3
CONV_MACS, FC_MACS = SIZE**2 * CHANNELS * 3 * 3 * 3, SIZE**2 * CHANNELS * CLASSES
RANGE = 4.0


def weights() -> tuple[Any, Any]:
    """Of the convolution `[out, in, 3, 3]` and of the head `[out, in]`."""
    random = np.random.default_rng(0)
    conv = random.normal(0, 0.2, (CHANNELS, 3, 3, 3)).astype(np.float32)
    return conv, random.normal(0, 0.1, (CLASSES, CHANNELS * SIZE**2)).astype(np.float32)


def expected(x: Any) -> Any:
    """The outputs of the float32 net for `[n, 3, 4, 4]`, by numpy."""
    conv, fc = weights()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    hidden = np.maximum(np.einsum("ncyxij,ocij->noyx", windows, conv), 0)
    return hidden.reshape(len(x), -1) @ fc.T


def _weight(values: Any, name: str, is_quantized: bool) -> Any:
    """A constant, or int8 codes of it with a scale for each output channel."""
    from openvino import opset13 as ops

    if not is_quantized:
        return ops.constant(values, name=name)
    scales = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / 127
    codes = ops.constant(np.rint(values / scales).astype(np.int8), name=name)
    return ops.multiply(ops.convert(codes, "f32"), ops.constant(scales.astype(np.float32), name=f"{name}/scale"))


def _quantized(node: Any, low: float) -> Any:
    from openvino import opset13 as ops

    ends = [ops.constant(np.float32(end)) for end in (low, RANGE, low, RANGE)]
    return ops.fake_quantize(node, *ends, levels=256)


def ir(kind: Kind = "float32", batch: int = -1, two_inputs: bool = False) -> Any:
    """The net as an `openvino.Model`.

    Args:
        kind: types of weights and activations.
        batch: fixed, or −1 for any.
        two_inputs: the sum of two pictures goes in.
    """
    # Before anything imports it, so that its telemetry is left out.
    openvino()
    from openvino import Model
    from openvino import opset13 as ops

    conv, fc = weights()
    x = ops.parameter([batch, 3, SIZE, SIZE], np.float32, name="image")
    given = [x, ops.parameter([batch, 3, SIZE, SIZE], np.float32, name="second")] if two_inputs else [x]
    node = ops.add(*given) if two_inputs else x
    if kind in ("int8", "half"):
        node = _quantized(node, -RANGE)
    node = ops.convolution(node, _weight(conv, "conv", kind != "float32"), [1, 1], [1, 1], [1, 1], [1, 1], name="conv1")
    node = ops.reshape(ops.relu(node), ops.constant(np.array([-1, CHANNELS * SIZE**2])), special_zero=False)
    if kind == "int8":
        node = _quantized(node, 0.0)
    node = ops.matmul(node, _weight(fc, "fc", kind in ("int8", "weights")), False, True, name="fc1")
    for each in given:
        each.output(0).get_tensor().set_names({each.friendly_name})
    model = Model([ops.result(node)], given, "tiny")
    model.output(0).get_tensor().set_names({"output"})
    return model


def write_ir(path: Path, kind: Kind = "float32", batch: int = -1, two_inputs: bool = False) -> Path:
    """Writes the net as `.xml` and `.bin`."""
    from openvino import save_model

    save_model(ir(kind, batch, two_inputs), str(path), compress_to_fp16=False)
    return path
