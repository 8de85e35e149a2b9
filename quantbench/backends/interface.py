"""What a backend does, and what it tells of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from quantbench.recipes.spec import QatInt8, Recipe

# Which observer watches each layer: {"conv1": {"activation": "MinMaxObserver(…)", "weight": "…"}}.
Observers = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Quantized:
    """A converted model and the observers that chose its scales."""

    model: nn.Module
    observers: Observers


class Backend(ABC):
    """Lowers a recipe onto a model. No method changes the model it is given."""

    def rehearse(self, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> None:  # noqa: B027 — may do nothing
        """Finds out on a copy, in a forward or two, whether the model can be quantized at all.

        Called before what takes long: a calibration, a training.

        Args:
            model: the baseline.
            recipe: any.
            samples: a few normalized inputs `[n, …]`.

        Raises:
            QuantizationError: if some part cannot run quantized, naming it and what to use instead.
        """

    @abstractmethod
    def quantize(
        self, model: nn.Module, recipe: Recipe, calibration: Callable[[], Iterable[torch.Tensor]]
    ) -> Quantized:
        """Post-training quantization of an fp32 model in eval mode.

        Args:
            model: the baseline.
            recipe: any but a QatInt8.
            calibration: gives normalized batches, called only by recipes that calibrate.

        Raises:
            QuantizationError: if the model cannot be quantized this way, saying what to change.
        """

    @abstractmethod
    def prepare_training(self, model: nn.Module, recipe: QatInt8) -> nn.Module:
        """A copy with fake quantizers, in train mode, ready to be fine-tuned."""

    @abstractmethod
    def freeze(self, prepared: nn.Module) -> None:
        """Stops batch-norm statistics and observers of a model in training, in place."""

    @abstractmethod
    def convert_trained(self, prepared: nn.Module) -> Quantized:
        """Converts a fine-tuned model to int8."""

    @abstractmethod
    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """A converted model of the right structure, whose values a saved state dict will replace."""
