"""Artifacts of models that tests make by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from quantbench.arrays import INPUT
from quantbench.backends.checkpoint import write_checkpoint
from quantbench.backends.interface import Artifact, BackendSpec, ModelSource
from quantbench.recipes.spec import Fp32, Recipe
from quantbench.registry import BACKENDS

WHERE = "a.yaml: workload.model"


def artifact_at(
    path: Path,
    recipe: Recipe | None = None,
    backend: str = "eager",
    model: str = "tiny_model:tiny_cnn",
    params: dict[str, Any] | None = None,
) -> Artifact:
    """A state dict that lies at a path.

    Args:
        path: of the file.
        recipe: that made it; fp32 by default.
        backend: that loads it.
        model: factory of its structure.
        params: of the factory.
    """
    source = ModelSource(model, params or {}, WHERE)
    return Artifact.of_files(BackendSpec(backend, {}, "here"), [path], recipe or Fp32(), source)


def saved(path: Path, module: torch.nn.Module, recipe: Recipe | None = None, **kwargs: Any) -> Artifact:
    """The artifact of a module in memory, whose state dict is saved."""
    write_checkpoint(path, module.state_dict())
    return artifact_at(path, recipe, **kwargs)


def loaded(artifact: Artifact) -> torch.nn.Module:
    """Its module, in eval mode."""
    module: torch.nn.Module = BACKENDS.create(artifact.backend.name, "here", {}).module(artifact)
    return module


def named(batch: torch.Tensor) -> dict[str, Any]:
    """A batch as predictors take it."""
    return {INPUT: batch.numpy()}
