"""Low-bit layers after conversion: weights packed as codes, computed in integers with one multiplication at the end.

A layer gives, of the codes q of its input and of its weight,

    y = (s_x · s_w) · Σ q_x · q_w + bias

where s_x and s_w are what one code stands for. There are no kernels for products of such codes on processors, so the
sum is taken over codes held as float32. Integers below 2^24 and all sums of them below that are exact there, in
whatever order a kernel adds them; where codes are so wide or a sum is so long that it could be larger, float64 is used,
exact below 2^53. So the result has the same bits for every batch size, number of threads and kernel that multiplies and
adds, and is what integer hardware would compute.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from quantbench.errors import QuantizationError
from quantbench.quant.low_bit import Coding, to_codes
from quantbench.quant.low_bit_layers import BIT_CHOICES, QuantConv2d, QuantLayer, QuantLinear
from quantbench.quant.packing import pack, unpack
from quantbench.quant.power_of_two import Codes
from quantbench.quant.switchable import Switchable

# Integers up to these are exact, and so is every sum that stays within them.
EXACT_IN_FLOAT32, EXACT_IN_FLOAT64 = 1 << 24, 1 << 53


class PackedLayer(nn.Module, Switchable):
    """Base of both kinds of packed layer; see the module's text.

    Buffers: `packed_weight`, uint8, the codes of the weight; `weight_scale` and `clip`, float32 `[]`, what a code of
    the weight and what the highest code of the input stands for; `widths`, uint8 `[2]`, bits of the weight's and of
    the input's codes; `bias`, float32 `[outputs]`, if there is one. Set to another width, the input's range stays and
    is divided into as many steps as that has.

    Args:
        layer: as trained.

    Raises:
        QuantizationError: if a sum could exceed what float64 holds exactly.
    """

    packed_weight: torch.Tensor
    weight_scale: torch.Tensor
    clip: torch.Tensor
    widths: torch.Tensor
    bias: torch.Tensor | None
    weight_codes: torch.Tensor

    def __init__(self, layer: QuantLayer) -> None:
        super().__init__()
        weight: torch.Tensor = layer.weight.detach()  # type: ignore[operator]
        bias: Any = layer.bias
        self.weight_range = layer.weight_quantizer.codes
        self.input_coding: Coding = layer.input_quantizer.coding
        codes = layer.weight_quantizer.codes_of(weight)
        self.register_buffer("packed_weight", pack(codes, self.weight_range))
        self.register_buffer("weight_scale", layer.weight_quantizer.scale_of(weight).clone())
        self.register_buffer("clip", layer.input_quantizer.clip.clone())
        self.register_buffer("widths", torch.tensor([self.weight_range.bits, layer.bits], dtype=torch.uint8))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        # Unpacked, for computing; only the packed ones are saved.
        self.register_buffer("weight_codes", codes.contiguous(), persistent=False)
        self.bits = layer.bits
        _check_range("the weights", self.weight_scale)
        _check_range("the input", self.clip)

    @property
    def bits(self) -> int:
        """See `Switchable.bits`."""
        return int(self.widths[1])

    @bits.setter
    def bits(self, bits: int) -> None:
        self.input_range = self.input_coding.of(bits)
        self.widths[1] = bits
        self._dtype = _exact_dtype(self.largest_sum)

    @property
    def bit_choices(self) -> tuple[int, ...]:
        """2 to 8."""
        return BIT_CHOICES

    @property
    def weight_bits(self) -> int:
        """Width of the weight's codes."""
        return self.weight_range.bits

    @property
    def weight(self) -> torch.Tensor:
        """Dequantized weight, float32, of the weight's shape."""
        return self.weight_codes * self.weight_scale

    @property
    def largest_sum(self) -> int:
        """No sum of products of codes exceeds it, whatever the weights and the input."""
        return self.weight_codes[0].numel() * _largest(self.weight_range) * _largest(self.input_range)

    def input_codes(self, x: torch.Tensor) -> torch.Tensor:
        """Values of any shape → codes held as float32, of the same shape."""
        return to_codes(x, self.clip / self.input_range.high, self.input_range)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As of the layer that was trained, float32."""
        weight_codes = self.weight_codes.to(self._dtype)
        sums = self.accumulate(self.input_codes(x).to(self._dtype), weight_codes)
        output = (sums * (self.clip / self.input_range.high * self.weight_scale)).float()
        return output if self.bias is None else output.add_(self._per_output(self.bias))

    @abstractmethod
    def accumulate(self, codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        """Codes of input and weight, integers of a dtype that is exact for them → sums of their products, of the
        output's shape."""

    def _per_output(self, bias: torch.Tensor) -> torch.Tensor:
        """A bias `[outputs]` so that it adds to the output."""
        return bias

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        _check_saved(state_dict, prefix, self.widths)
        super()._load_from_state_dict(state_dict, prefix, *args)
        try:
            self.weight_codes = unpack(self.packed_weight, self.weight_range, self.weight_codes.shape).float()
        except QuantizationError as error:
            raise QuantizationError(f"'{prefix}packed_weight': {error}") from None


class PackedConv2d(PackedLayer):
    """A 2-D convolution in codes.

    Args:
        conv: as trained.

    Raises:
        QuantizationError: if a sum could exceed what float64 holds exactly.
    """

    def __init__(self, conv: QuantConv2d) -> None:
        super().__init__(conv)
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups
        self.padding_mode, self._edges = conv.padding_mode, conv._reversed_padding_repeated_twice

    def accumulate(self, codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        """`[n, channels, h, w]` and `[outputs, channels / groups, kh, kw]` → `[n, outputs, h', w']`."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            codes, padding = nn.functional.pad(codes, self._edges, mode=self.padding_mode), 0
        # NNPACK, to which torch turns where oneDNN is off, multiplies by fractions (Winograd, FFT) and is not exact.
        with torch.backends.nnpack.flags(enabled=False):
            return nn.functional.conv2d(codes, weight_codes, None, self.stride, padding, self.dilation, self.groups)

    def _per_output(self, bias: torch.Tensor) -> torch.Tensor:
        return bias.reshape(-1, 1, 1)


class PackedLinear(PackedLayer):
    """A linear layer in codes.

    Args:
        linear: as trained.

    Raises:
        QuantizationError: if a sum could exceed what float64 holds exactly.
    """

    def __init__(self, linear: QuantLinear) -> None:
        super().__init__(linear)

    def accumulate(self, codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        """`[n, …, features]` and `[outputs, features]` → `[n, …, outputs]`."""
        return nn.functional.linear(codes, weight_codes)


def packed(layer: QuantLayer) -> PackedLayer:
    """The converted form of a layer.

    Raises:
        QuantizationError: if its range is not finite and positive, or a sum could exceed what float64 holds exactly.
    """
    return PackedConv2d(layer) if isinstance(layer, QuantConv2d) else PackedLinear(layer)  # type: ignore[arg-type]


def _largest(codes: Codes) -> int:
    return max(-codes.low, codes.high)


def _exact_dtype(largest_sum: int) -> torch.dtype:
    """The narrowest floating-point type in which all sums up to that are exact."""
    if largest_sum >= EXACT_IN_FLOAT64:
        raise QuantizationError(
            f"a sum of products of codes may reach {largest_sum:,}, beyond what float64 holds exactly"
        )
    return torch.float32 if largest_sum < EXACT_IN_FLOAT32 else torch.float64


def _check_range(whose: str, value: torch.Tensor) -> None:
    if not bool(torch.isfinite(value) & (value > 0)):
        raise QuantizationError(
            f"the range of {whose} ends at {float(value):g}, and has to be finite and positive: train with a smaller lr"
        )


def _check_saved(state: Mapping[str, Any], prefix: str, widths: torch.Tensor) -> None:
    """Refuses a layer's entries of a state dict that were made for other widths, or have no range.

    Raises:
        QuantizationError: naming the key.
    """
    found = state.get(f"{prefix}widths")
    if isinstance(found, torch.Tensor) and found.shape == widths.shape and not torch.equal(found, widths):
        theirs, ours = (f"{int(each[0])}-bit weights and {int(each[1])}-bit inputs" for each in (found, widths))
        raise QuantizationError(f"'{prefix}widths': was packed for {theirs}, and the recipe asks for {ours}")
    for key in ("weight_scale", "clip"):
        value = state.get(prefix + key)
        if isinstance(value, torch.Tensor) and value.dim() == 0 and not bool(torch.isfinite(value) & (value > 0)):
            raise QuantizationError(f"'{prefix}{key}' is {float(value):g}, and has to be finite and above zero")
