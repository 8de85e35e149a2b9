"""Layers whose bit width may be changed after training: what sensitivity and mixed-precision search work on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn

from quantbench.errors import QuantizationError


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


def switchable_layers(model: nn.Module) -> dict[str, Switchable]:
    """Name → layer, in the order of the model's modules.

    Raises:
        QuantizationError: if there is none.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, Switchable)}
    if not found:
        raise QuantizationError(
            f"{type(model).__name__} has no layer whose bit width can be switched; quantize it by a low-bit recipe, or "
            "by a static int8 recipe, whose layers can be left in fp32"
        )
    return found
