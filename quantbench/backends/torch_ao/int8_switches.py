"""A model whose layers are in int8 or left in fp32, one by one, by the real int8 kernels of its converted form."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

from quantbench.backends.engines import engine_in_use
from quantbench.errors import QuantizationError
from quantbench.quant.switchable import FP32_BITS, Int8OrFp32


class Int8Switch(nn.Module, Int8OrFp32):
    """One fused layer in two forms.

    At 8 bits the input is quantized with the calibrated scale, the converted layer runs it in its int8 kernel, and its
    output is dequantized; at 32 the fused fp32 layer computes. Between two layers at 8 bits, dequantizing and
    quantizing again with one scale is the identity: nothing is rounded twice.

    Args:
        floating: the fused layer in fp32, in eval mode.
        converted: the same layer in int8.
        scale: of its input.
        zero_point: of its input.
        dtype: of its input's codes.
        engine: that the int8 layer was converted for.
    """

    def __init__(
        self, floating: nn.Module, converted: nn.Module, scale: float, zero_point: int, dtype: torch.dtype, engine: str
    ) -> None:
        super().__init__()
        self._on_engine = engine_in_use(engine)
        self.floating, self.converted = floating, converted
        self.scale, self.zero_point, self.dtype = scale, zero_point, dtype

    @property
    def weight_count(self) -> int:
        """See `Switchable.weight_count`."""
        layer: Any = self.floating[0] if isinstance(self.floating, nn.Sequential) else self.floating
        return int(layer.weight.numel())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, …]` float32 → the layer's output, float32."""
        if self.bits == FP32_BITS:
            output: torch.Tensor = self.floating(x)
            return output
        codes = torch.quantize_per_tensor(x, self.scale, self.zero_point, self.dtype)
        with self._on_engine:
            return self.converted(codes).dequantize()


def int8_switches(fused: nn.Module, converted: nn.Module, sample: torch.Tensor, engine: str) -> nn.Module:
    """A copy of a fused fp32 model in which each layer that was converted is an `Int8Switch`, at 32 bits.

    With all switches at 8 its logits are those of the converted model where only layers and operators that keep every
    code in its place (ReLU, max pooling, reshaping) stand between. A residual sum, a mean over pixels or a
    concatenation is computed in fp32 here and rounded when the next layer quantizes it, by the same scale; the
    converted model rounds it where it is made, and hands the rounded value to whatever else reads it.

    Args:
        fused: fp32, in eval mode, not prepared.
        converted: the same model in int8, module names alike.
        sample: `[1, channels, …]` float32, run through the converted model to learn the scale of each layer's input.
        engine: that it was converted for.

    Raises:
        QuantizationError: if no layer of the converted model computes in int8.
    """
    layers = {name: each for name, each in converted.named_modules() if isinstance(each, WeightedQuantizedModule)}
    if not layers:
        raise QuantizationError(
            f"{type(fused).__name__} has no layer in int8 that could be left in fp32; its recipe has to convert some"
        )
    switched = copy.deepcopy(fused).eval()
    # A copy of an int8 layer is packed again.
    with engine_in_use(engine):
        scales = _input_scales(converted, layers, sample)
        for name, layer in layers.items():
            if name in scales:
                floating = switched.get_submodule(name)
                switched.set_submodule(name, Int8Switch(floating, copy.deepcopy(layer), *scales[name], engine))
    return switched.eval()


def _input_scales(
    converted: nn.Module, layers: dict[str, Any], sample: torch.Tensor
) -> dict[str, tuple[float, int, torch.dtype]]:
    """Scale, zero point and dtype of the codes that each layer is given; a layer that is never run has none."""
    found: dict[str, tuple[float, int, torch.dtype]] = {}

    def note(name: str, codes: torch.Tensor) -> None:
        scale = codes.q_scale(), codes.q_zero_point(), codes.dtype
        if found.setdefault(name, scale) != scale:
            raise QuantizationError(
                f"'{name}' of {type(converted).__name__} runs more than once, on inputs of different scales; only a "
                "layer with one input can be switched"
            )

    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))
        for name, layer in layers.items()
    ]
    try:
        with torch.inference_mode():
            converted(sample)
    finally:
        for handle in handles:
            handle.remove()
    return found
