"""Layers whose bit width may be changed after training: what sensitivity and mixed-precision search work on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from quantbench.arrays import INPUT, Inputs, Outputs
from quantbench.errors import EvaluationError, QuantizationError

INT8_BITS, FP32_BITS = 8, 32
# Names of the layers in int8 → the model with these in int8 and all others in fp32.
RunWith = Callable[[frozenset[str]], Callable[[Inputs], Outputs]]


class Switchable(ABC):
    """A layer (mixed into an `nn.Module`) that computes with one of several bit widths.

    What a width stands for is the layer's: of a low-bit layer, the codes of its input; of a layer that is in int8 or
    left in fp32, 8 or 32.
    """

    @property
    @abstractmethod
    def bits(self) -> int:
        """The width it computes with; may be set to one of `bit_choices`.

        Raises:
            QuantizationError: when set to another.
        """

    @bits.setter
    @abstractmethod
    def bits(self, bits: int) -> None: ...

    @property
    @abstractmethod
    def bit_choices(self) -> tuple[int, ...]:
        """All widths it can compute with, ascending."""

    @property
    def weight_count(self) -> int:
        """Number of weights, biases not counted; here, of a layer that has them as `weight`."""
        weight: Any = getattr(self, "weight")  # noqa: B009 — of the module that this is mixed into
        return int(weight.numel())

    @property
    def weight_bits(self) -> int:
        """Bits of each of its weights, unless its own width is 32, which stands for a layer all in fp32."""
        raise NotImplementedError(f"{type(self).__name__} does not say how many bits its weights have")


class Int8OrFp32(Switchable):
    """A layer that is in int8, or left in fp32.

    Attributes:
        width: 8 or 32.
    """

    width: int = FP32_BITS

    @property
    def bits(self) -> int:
        """8 for int8, 32 for fp32."""
        return self.width

    @bits.setter
    def bits(self, bits: int) -> None:
        if bits not in self.bit_choices:
            raise QuantizationError(f"a layer of a static int8 recipe has 8 bits, or 32 when left in fp32, not {bits}")
        self.width = bits

    @property
    def bit_choices(self) -> tuple[int, ...]:
        """8 and 32."""
        return INT8_BITS, FP32_BITS

    @property
    def weight_bits(self) -> int:
        """8: in int8 weights and activations are."""
        return INT8_BITS


class WholeLayer(Int8OrFp32):
    """A layer of a model that is run whole, with what it costs.

    Args:
        macs: multiply-accumulates for one sample.
        weights: how many, biases not counted.
        inputs: elements of its input, for one sample.
    """

    def __init__(self, macs: int, weights: int, inputs: int) -> None:
        self.macs, self.weights, self.inputs = macs, weights, inputs

    @property
    def weight_count(self) -> int:
        """See `Switchable.weight_count`."""
        return self.weights


class WholeModel(nn.Module):
    """A model that cannot be cut, whose forwards are whole ones in each configuration of its layers.

    Args:
        layers: name → layer, in the order of the model.
        run_with: gives the model of a configuration; the last one is kept.
        macs: multiply-accumulates of a forward of one sample.
        reason: why it is run whole, after "since".
    """

    def __init__(self, layers: Mapping[str, WholeLayer], run_with: RunWith, macs: int, reason: str) -> None:
        super().__init__()
        self.layers, self.macs, self.reason = dict(layers), macs, reason
        self._run_with = run_with
        self._last: tuple[frozenset[str], Callable[[Inputs], Outputs]] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, …]` float32 → logits `[n, classes]`."""
        int8 = frozenset(name for name, layer in self.layers.items() if layer.bits == INT8_BITS)
        if self._last is None or self._last[0] != int8:
            self._last = (int8, self._run_with(int8))
        outputs = self._last[1]({INPUT: x.numpy()})
        if len(outputs) != 1:
            raise EvaluationError(f"a search compares logits, and the model gives {len(outputs)} outputs; name one")
        (logits,) = outputs.values()
        return torch.from_numpy(logits)


def switchable_layers(model: nn.Module) -> dict[str, Switchable]:
    """Name → layer, in the order of the model's modules.

    Raises:
        QuantizationError: if there is none.
    """
    if isinstance(model, WholeModel):
        return dict(model.layers)
    found = {name: module for name, module in model.named_modules() if isinstance(module, Switchable)}
    if not found:
        raise QuantizationError(
            f"{type(model).__name__} has no layer whose bit width can be switched; quantize it by a low-bit recipe, or "
            "by a static int8 recipe, whose layers can be left in fp32"
        )
    return found
