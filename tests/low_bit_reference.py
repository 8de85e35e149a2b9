"""Low-bit layers in 64-bit integers alone: what hardware that multiplies their codes would compute."""

from __future__ import annotations

import torch
from shift_reference import Geometry, convolution_sums

from quantbench.errors import QuantizationError
from quantbench.quant.packed_layers import PackedConv2d, PackedLayer, PackedLinear
from quantbench.quant.packing import unpack


def integer_sums(layer: PackedLayer, x: torch.Tensor) -> torch.Tensor:
    """Σ q_x · q_w of a layer, from its packed bytes and the codes of an input.

    Args:
        layer: converted.
        x: float32, the layer's input.

    Returns:
        int64, of the output's shape.

    Raises:
        QuantizationError: if the layer pads with anything but a number of zeros.
    """
    codes = layer.input_codes(x).long()
    weight = unpack(layer.packed_weight, layer.weight_range, layer.weight_codes.shape)
    if isinstance(layer, PackedLinear):
        return codes @ weight.T
    if not isinstance(layer, PackedConv2d) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise QuantizationError(
            "the integer reference pads with a given number of zeros only; write padding as numbers"
        )
    rows, columns = layer.padding
    geometry = Geometry(
        (layer.stride[0], layer.stride[1]), (rows, columns), (layer.dilation[0], layer.dilation[1]), layer.groups
    )
    return convolution_sums(codes, weight, geometry)


def integer_forward(layer: PackedLayer, x: torch.Tensor) -> torch.Tensor:
    """A layer's output from those sums, float64: one multiplication by the product of both scales, then the bias.

    Args:
        layer: converted.
        x: float32, the layer's input.

    Raises:
        QuantizationError: as `integer_sums`.
    """
    output = integer_sums(layer, x).double() * (layer.clip / layer.input_range.high * layer.weight_scale).double()
    if layer.bias is None:
        return output
    return output + layer.bias.double().reshape(-1, *[1] * (output.dim() - 2 if isinstance(layer, PackedConv2d) else 0))
