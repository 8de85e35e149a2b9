"""What a backend does, and what it tells of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantbench.errors import QuantizationError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from quantbench.recipes.spec import Recipe, Trained

# Which observer watches each layer: {"conv1": {"activation": "MinMaxObserver(…)", "weight": "…"}}.
Observers = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Quantized:
    """A converted model and the observers that chose its scales."""

    model: nn.Module
    observers: Observers


def wrong_backend(backend: str, recipe: Recipe) -> QuantizationError:
    """What says that a backend does not run such recipes, and which one does."""
    kind, needed = type(recipe).__name__, getattr(recipe, "backend", None) or "one that does"
    return QuantizationError(f"backend '{backend}' does not run recipes of kind {kind}; set backend: {needed}")


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
            recipe: any that is not trained.
            calibration: gives normalized batches, called only by recipes that calibrate.

        Raises:
            QuantizationError: if the model cannot be quantized this way, saying what to change.
        """

    @abstractmethod
    def prepare_training(self, model: nn.Module, recipe: Trained) -> nn.Module:
        """A copy with fake quantizers, in train mode, ready to be fine-tuned.

        Raises:
            QuantizationError: if the model cannot be quantized this way, saying what to change.
        """

    @abstractmethod
    def freeze(self, prepared: nn.Module) -> None:
        """Stops batch-norm statistics and observers of a model in training, in place."""

    @abstractmethod
    def convert_trained(self, prepared: nn.Module) -> Quantized:
        """Converts a fine-tuned model to what its checkpoint holds."""

    @abstractmethod
    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """A converted model of the right structure, whose values a saved state dict will replace."""

    def switchable(
        self,
        model: nn.Module,  # noqa: ARG002 — for those whose converted layers are no switches themselves
        recipe: Recipe,  # noqa: ARG002
        converted: nn.Module,
        sample: torch.Tensor,  # noqa: ARG002
    ) -> nn.Module:
        """A model of the recipe whose layers can be switched between bit widths (`quantbench.quant.switchable`).

        Args:
            model: the baseline.
            recipe: that made the converted model.
            converted: loaded from its checkpoint, in eval mode.
            sample: one normalized input `[1, …]`.

        Raises:
            QuantizationError: if no layer of such a model can be switched.
        """
        from quantbench.quant.switchable import switchable_layers

        switchable_layers(converted)
        return converted
