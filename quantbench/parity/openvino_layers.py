"""Layers of an OpenVINO model: compressed constants, and `FakeQuantize` around activations.

Its files name operators by their kind and number, and layers by nothing; they are matched by their weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.parity.layers import Floats, Layer, Origin, Scale, Weights, assembled, attributed

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact

PRODUCTS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"}
JOINING = {"Add", "Subtract", "Multiply", "Concat"}
PASSING = {
    "Relu", "Clamp", "MaxPool", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Pad", "Convert", "BatchNormInference",
    "Slice", "StridedSlice",
}  # fmt: skip
QUANTIZER = "FakeQuantize"


def layers_of(artifact: Artifact) -> list[Layer]:
    """See `quantbench.parity.layers.layers_of`."""
    from quantbench.backends.openvino_runtime.reading import read_model

    weights: dict[str, Weights] = {}
    joins: dict[str, int] = {}
    outputs = []
    for op in read_model(artifact.files).get_ordered_ops():
        kind = op.get_type_name()
        if kind in PRODUCTS and (found := _weights(_sources(op)[-1])) is not None:
            weights[op.friendly_name] = found
        elif kind == QUANTIZER and (scale := _scale(op)) is not None:
            quantizer = attributed(_origin(_sources(op)[0]), scale, joins)
            if quantizer is not None:
                outputs.append(quantizer)
    return assembled(weights, outputs)


def _sources(op: Any) -> list[Any]:
    return [each.get_source_output().get_node() for each in op.inputs()]


def _constant(op: Any) -> Floats | None:
    return np.asarray(op.get_data(), np.float64) if op.get_type_name() == "Constant" else None


def _weights(op: Any) -> Weights | None:
    """Constant integers, converted, moved by a zero point and multiplied with their scale; None for anything else."""
    if op.get_type_name() != "Multiply":
        return None
    codes, scale = _sources(op)
    scales = _constant(scale)
    zeros: Floats | None = np.zeros(1)
    if codes.get_type_name() == "Subtract":
        codes, moved = _sources(codes)
        moved = _sources(moved)[0] if moved.get_type_name() == "Convert" else moved
        zeros = _constant(moved)
    if codes.get_type_name() == "Convert":
        codes = _sources(codes)[0]
    integers = _constant(codes)
    if integers is None or scales is None or zeros is None:
        return None
    return Weights(Scale.of(scales, zeros), (integers - zeros) * scales)


def _scale(op: Any) -> Scale | None:
    """The scale of a quantizer of real values into `levels`; None where its ends are no constants."""
    low, high = (_constant(each) for each in _sources(op)[1:3])
    if low is None or high is None:
        return None
    step = (high - low) / (int(op.get_attributes()["levels"]) - 1)
    # Not −0.
    return Scale.of(step, np.rint(-low / step) + 0.0)


def _origin(op: Any) -> Origin:
    """The maker of an operator's values, seen through operators that pass them on."""
    while (sources := _sources(op)) and (kind := op.get_type_name()) != QUANTIZER:
        given = [each for each in sources if each.get_type_name() != "Constant"]
        if kind in PRODUCTS:
            return Origin("layer", op.friendly_name)
        if kind in JOINING and len(given) > 1:
            # It tells no module, so that joins are known by their own names.
            return Origin("other", op.friendly_name)
        if kind not in PASSING | JOINING or not given:
            return Origin("other", op.friendly_name)
        op = given[0]
    if op.get_type_name() == QUANTIZER:
        return Origin("quantizer", op.friendly_name, _scale(op))
    return Origin("input", op.friendly_name)
