"""The checkpoint as its users will meet it: opened in a fresh process that never saw the model that made it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.backends.checkpoint import Schema, describe_entry, read_checkpoint, read_safetensors, schema_of
from quantbench.backends.origin import kind_of, wrong_way
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.measure.fresh import in_fresh_process
from quantbench.recipes.spec import Recipe
from quantbench.registry import BACKENDS, MODELS
from quantbench.upstream import silenced

# Keys that do not fit and are named; the rest is counted.
SHOWN_MISFITS = 4


@dataclass(frozen=True)
class ReloadJob:
    """All that a fresh process needs; nothing of the model that was saved.

    Attributes:
        model: registered name.
        params: of the model's factory.
        where: place of the model in the configuration, for messages.
        backend: registered name.
        engine: quantized engine.
        recipe: decides the structure that the state dict must fit.
        checkpoint: the file.
        inputs: `[n, channels, …]` float32 probe.
        threads: intra-operator threads, the same as in the parent, since sums may depend on them.
    """

    model: str
    params: dict[str, Any]
    where: str
    backend: str
    engine: str | None
    recipe: Recipe
    checkpoint: Path
    inputs: NDArray[np.float32]
    threads: int


@dataclass(frozen=True)
class FloatJob:
    """The fp32 model as a fresh process makes it: structure from its factory, weights from the baseline's file.

    Attributes:
        model: registered name.
        params: of the model's factory.
        where: place of the model in the configuration, for messages.
        checkpoint: safetensors file.
    """

    model: str
    params: dict[str, Any]
    where: str
    checkpoint: Path


@dataclass(frozen=True)
class Reloaded:
    """What the fresh process found: the file's schema and the logits `[n, classes]` of the probe."""

    schema: Schema
    logits: NDArray[np.float32]


def load_quantized(job: ReloadJob) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Builds the model's structure from the recipe and fills it from the file, in eval mode.

    Raises:
        CheckpointError: if the file is damaged, unsafe, or not of the structure: keys, dtypes, shapes, schemes.
    """
    backend = BACKENDS.create(job.backend, job.where, {"engine": job.engine})
    state = read_checkpoint(job.checkpoint)
    model: torch.nn.Module = backend.skeleton(MODELS.create(job.model, job.where, job.params).eval(), job.recipe)
    if wrong := wrong_way(state, job.recipe):
        raise CheckpointError(f"{job.checkpoint}: {wrong}. Name the experiment that made it")
    # Compared here, since quantized modules take tensors of other shapes and schemes without a word.
    if misfits := _misfits(schema_of(model.state_dict()), schema_of(state)):
        more = f"; and {len(misfits) - SHOWN_MISFITS} more" if len(misfits) > SHOWN_MISFITS else ""
        raise CheckpointError(
            f"{job.checkpoint}: is {kind_of(state)}, and does not fit the model that its recipe makes: "
            f"{'; '.join(misfits[:SHOWN_MISFITS])}{more}. Quantize again with this recipe, or name the one that made it"
        )
    try:
        with silenced():
            model.load_state_dict(state)
    except QuantizationError as error:
        raise CheckpointError(
            f"{job.checkpoint}: {error}. Quantize again with this recipe, or name the one that made it"
        ) from None
    # Keys, dtypes and shapes fit, so this is torch's own word on something rare.
    except Exception as error:
        raise CheckpointError(
            f"{job.checkpoint}: cannot be loaded ({_one_line(error)}); save what state_dict() gives, unchanged: "
            "quantized layers keep their version in its _metadata"
        ) from None
    return model.eval(), state


def load_float(job: FloatJob) -> torch.nn.Module:
    """The fp32 model from its file, in eval mode.

    Raises:
        BaselineError: if the file is missing or not whole safetensors.
    """
    with silenced():
        model: torch.nn.Module = MODELS.create(job.model, job.where, job.params).eval()
    model.load_state_dict(read_safetensors(job.checkpoint))
    return model


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _misfits(expected: Schema, found: Schema) -> list[str]:
    """What is wrong with each key, in the order of the structure; foreign keys come last."""
    missing = [f"'{key}' is missing" for key in expected if key not in found]
    changed = [
        f"'{key}' is {describe_entry(found[key])} instead of {describe_entry(entry)}"
        for key, entry in expected.items()
        if key in found and found[key] != entry
    ]
    return missing + changed + [f"'{key}' is not of this model" for key in found if key not in expected]


def run(job: ReloadJob) -> Reloaded:
    """The fresh process's work."""
    torch.set_num_threads(job.threads)
    model, state = load_quantized(job)
    try:
        with torch.inference_mode():
            logits = model(torch.from_numpy(job.inputs)).numpy()
    except Exception as error:
        raise CheckpointError(f"{job.checkpoint}: the model loaded from it cannot run: {_one_line(error)}") from None
    return Reloaded(schema_of(state), logits)


def reload_in_fresh_process(job: ReloadJob) -> Reloaded:
    """Runs the job in a process of its own.

    Raises:
        CheckpointError: the error of the fresh process, or its death.
    """
    return in_fresh_process(run, job, died=f"{job.checkpoint}: the fresh process that loaded it died without a word")
