"""Convolutions and linear layers with low-bit inputs and weights, as they are trained: on fake-quantized values."""

from __future__ import annotations

import torch
from torch import nn

from quantbench.quant.limits import MAX_BITS, MIN_BITS
from quantbench.quant.low_bit import LowBitQuantizer
from quantbench.quant.switchable import Switchable

BIT_CHOICES = tuple(range(MIN_BITS, MAX_BITS + 1))


class QuantLayer(nn.Module, Switchable):
    """Base of both kinds of layer: the quantizers of the input and of the weight.

    Its bit width is that of the input's codes; weights keep the width that they were trained with.
    """

    input_quantizer: LowBitQuantizer
    weight_quantizer: LowBitQuantizer

    def quantized_by(self, input_quantizer: LowBitQuantizer, weight_quantizer: LowBitQuantizer) -> None:
        """Takes the quantizers; that of the weight gets its first range from the weight."""
        self.input_quantizer, self.weight_quantizer = input_quantizer, weight_quantizer
        weight: torch.Tensor = self.weight  # type: ignore[assignment]
        weight_quantizer.start(weight.detach())

    @property
    def bits(self) -> int:
        """See `Switchable.bits`."""
        return self.input_quantizer.bits

    @bits.setter
    def bits(self, bits: int) -> None:
        self.input_quantizer.bits = bits

    @property
    def bit_choices(self) -> tuple[int, ...]:
        """2 to 8."""
        return BIT_CHOICES


class QuantConv2d(QuantLayer, nn.Conv2d):
    """A 2-D convolution of a quantized input with a quantized weight.

    Args:
        conv: whose geometry, weight and bias it takes over, without copying.
        input_quantizer: of the input `[n, channels, h, w]`.
        weight_quantizer: of the weight.
    """

    def __init__(self, conv: nn.Conv2d, input_quantizer: LowBitQuantizer, weight_quantizer: LowBitQuantizer) -> None:
        super().__init__(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,  # type: ignore[arg-type]
            conv.padding, conv.dilation, conv.groups, conv.bias is not None,  # type: ignore[arg-type]
            conv.padding_mode, device="meta",
        )  # fmt: skip
        self.weight, self.bias = conv.weight, conv.bias
        self.quantized_by(input_quantizer, weight_quantizer)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 — as torch names it
        """`[n, channels, h, w]` → `[n, outputs, h', w']`."""
        output: torch.Tensor = self._conv_forward(
            self.input_quantizer(input), self.weight_quantizer(self.weight), self.bias
        )
        return output


class QuantLinear(QuantLayer, nn.Linear):
    """A linear layer of a quantized input with a quantized weight.

    Args:
        linear: whose weight and bias it takes over, without copying.
        input_quantizer: of the input `[n, …, features]`.
        weight_quantizer: of the weight.
    """

    def __init__(self, linear: nn.Linear, input_quantizer: LowBitQuantizer, weight_quantizer: LowBitQuantizer) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.quantized_by(input_quantizer, weight_quantizer)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 — as torch names it
        """`[n, …, features]` → `[n, …, outputs]`."""
        return nn.functional.linear(self.input_quantizer(input), self.weight_quantizer(self.weight), self.bias)
