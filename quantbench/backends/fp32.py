"""Backend `torch`: an fp32 model as it was written; references are its artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from quantbench.backends.checkpoint import write_checkpoint
from quantbench.backends.fp32_forms import predictors
from quantbench.backends.interface import Artifact, ModelSource, Predictor, Quantized
from quantbench.backends.module import ModulePredictor
from quantbench.backends.state_dict import FILE_NAME, Converted, StateDictBackend
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import Fp32, Recipe


class TorchBackend(StateDictBackend):
    """A model from its factory with the weights of its state dict, run in floating point."""

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
        recipe: Recipe,  # noqa: ARG002
        batches: Callable[[], Iterable[torch.Tensor]],  # noqa: ARG002
    ) -> Converted:
        """See `StateDictBackend.quantize_module`: the model itself, since some can be run and not be copied."""
        return Converted(model, {})

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
