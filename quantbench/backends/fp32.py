"""Backend `torch`: an fp32 model as it was written; references are its artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.backends.fp32_forms import predictors
from quantbench.backends.interface import Artifact, Description, ModelSource, Predictor, Quantized
from quantbench.backends.module import ModulePredictor
from quantbench.backends.own_function import fill_returned, write_returned
from quantbench.backends.state_dict import (
    FILE_NAME,
    Converted,
    StateDictBackend,
    description_of,
    reference_module,
)
from quantbench.backends.unwrapping import fill_from
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import Fp32, Function, ReadyMade, Recipe

if TYPE_CHECKING:
    from quantbench.backends.insides import Insides


class TorchBackend(StateDictBackend):
    """A model from its factory with the weights of its state dict, run as it was written or as a function made it."""

    name: ClassVar[str] = "torch"

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`; it quantizes nothing."""
        return unsupported("torch", recipe)

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:  # noqa: ARG002
        """See `StateDictBackend.skeleton`: the model itself, which nobody else holds."""
        return model

    def quantize_module(
        self,
        model: nn.Module,
        recipe: Recipe,
        batches: Callable[[], Iterable[torch.Tensor]],  # noqa: ARG002
    ) -> Converted:
        """See `StateDictBackend.quantize_module`: the model itself, since some can be run and not be copied."""
        if isinstance(recipe, Function):
            raise QuantizationError(
                f"'{recipe.function}' is called by its experiment; give what it returned to write_returned"
            )
        if isinstance(recipe, ReadyMade):
            raise QuantizationError(f"'{recipe.path}' was made elsewhere and is loaded by its experiment, not made")
        return Converted(model, {})

    def module(self, artifact: Artifact) -> nn.Module:
        """See `StateDictBackend.module`; what a function returned may have tensors of other dtypes and classes.

        What somebody else saved may be wrapped.
        """
        if not isinstance(artifact.recipe, Function | ReadyMade):
            return super().module(artifact)
        if artifact.model is None:
            raise CheckpointError(
                f"{artifact.path}: a state dict is no model without its factory; name it (workload.model, "
                "reference.model, or compare --model)"
            )
        if isinstance(artifact.recipe, ReadyMade):
            model = artifact.model.build()
            fill_from(model, artifact.path)
            return model
        return fill_returned(artifact, artifact.recipe, artifact.model.build(), read_checkpoint(artifact.path))

    def write_returned(self, module: nn.Module, recipe: Function, source: ModelSource, folder: Path) -> Quantized:
        """Writes a module in eval mode that a function of the user's made, as an artifact.

        Raises:
            ForeignError: if its state dict cannot be saved.
        """
        path = folder / FILE_NAME
        write_returned(module, path, recipe.function)
        return Quantized(Artifact.of_files(self.spec, [path], recipe, source), ModulePredictor(module))

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`; of somebody else's file as it fills the model."""
        if not isinstance(artifact.recipe, ReadyMade):
            return super().describe(artifact)
        return description_of(self.module(artifact).state_dict())

    def insides(self, reference: Artifact, candidate: Artifact) -> Insides:
        """See `Backend.insides`."""
        from quantbench.backends.twin_insides import TwinInsides

        return TwinInsides(reference_module(reference), self.module(candidate))

    def forms(self, artifact: Artifact, threads: int) -> dict[str, Predictor]:
        """See `Backend.forms`: fused, channels last."""
        return predictors(self.module(artifact), threads)

    def write(self, model: nn.Module, source: ModelSource, folder: Path) -> Quantized:
        """Writes a model in eval mode, whose structure its factory makes, as an artifact."""
        path = folder / FILE_NAME
        write_checkpoint(path, model.state_dict())
        return Quantized(Artifact.of_files(self.spec, [path], Fp32(), source), ModulePredictor(model))


def torch_fp32() -> TorchBackend:
    """Models in fp32, as they were written.

    Example:
        >>> from quantbench.recipes.fp32 import fp32_baseline
        >>> torch_fp32().supports(fp32_baseline()) is None
        True
    """
    return TorchBackend()
