"""The quantized checkpoint of an experiment: made once, kept on disk by the content of all that decides it."""

from __future__ import annotations

import copy
import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn

import quantbench
from quantbench.backends.checkpoint import write_checkpoint
from quantbench.backends.interface import Backend, Observers, Quantized
from quantbench.backends.origin import note_origin
from quantbench.config.schema import Experiment
from quantbench.config.training import TrainingConfig
from quantbench.errors import BaselineError, EvaluationError, QuantizationError
from quantbench.experiment.workload import OpenWorkload, check_data, load_state, make_card
from quantbench.files import cache_dir, replacing, sha256_of_file, sha256_of_json, write_json
from quantbench.golden import baselines
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import evaluate
from quantbench.measure.reload import ReloadJob
from quantbench.progress import progress
from quantbench.recipes.spec import StaticInt8, Trained, describe
from quantbench.records.card import BaselineCard
from quantbench.registry import BACKENDS, MODELS
from quantbench.training.loop import Validation, train
from quantbench.training.mixed_precision import float32_fake_quantizers
from quantbench.training.state import forget_training, state_path

# Test samples whose logits are compared bit by bit after the checkpoint was loaded again.
PROBE_N = 64
CALIBRATION_BATCH = 64
# Training samples that show whether a model can be quantized at all.
REHEARSAL_N = 2


@dataclass(frozen=True)
class Artefact:
    """A quantized checkpoint on disk.

    Attributes:
        path: the `torch.save` file.
        observers: what chose its scales.
        probe_logits: `[PROBE_N, classes]` of the model that was saved, before it was saved.
    """

    path: Path
    observers: Observers
    probe_logits: NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    """A quantized checkpoint in memory.

    Attributes:
        state: what is saved, with its origin noted.
        observers: what chose its scales.
        probe_logits: `[PROBE_N, classes]`.
    """

    state: dict[str, Any]
    observers: Observers
    probe_logits: NDArray[np.float32]


def probe_inputs(opened: OpenWorkload) -> torch.Tensor:
    """The first test samples, normalized: `[≤ PROBE_N, channels, …]`."""
    return next(opened.splits.test.batches(PROBE_N))


def rehearsal_inputs(opened: OpenWorkload) -> torch.Tensor:
    """The first training samples, normalized: `[≤ REHEARSAL_N, channels, …]`."""
    return next(opened.splits.train.batches(REHEARSAL_N))


def quantized_artefact(
    opened: OpenWorkload,
    experiment: Experiment,
    baseline: nn.Module,
    engine: str | None,
    retrain: bool,
    amp: bool = False,
) -> Artefact:
    """The experiment's checkpoint, from the cache or made now.

    With `retrain` the weights of a recipe that is trained are trained first, with `amp` in bf16.

    Raises:
        QuantizationError: if the recipe does not fit the model or the data.
        BaselineError: if the recipe needs committed trained weights that are missing or damaged, or weights are NaN.
        EvaluationError: if the baseline or the quantized model gives NaN or infinity.
    """
    if retrain and isinstance(experiment.recipe(), Trained):
        train_qat(opened, experiment, baseline, engine, amp)
    content = content_of(opened, experiment, engine)
    folder = cache_dir() / "quantized" / f"{experiment.id.replace('/', '-')}-{sha256_of_json(content)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists() and (artefact := _read(folder)) is not None:
            return artefact
        made = quantize_now(opened, experiment, baseline, engine)
        write_checkpoint(folder / "checkpoint.pt", made.state)
        with replacing(folder / "probe.npy") as temporary, temporary.open("wb") as file:
            np.save(file, made.probe_logits)
        sha256 = {name: sha256_of_file(folder / name) for name in ("checkpoint.pt", "probe.npy")}
        # Written last: without it the folder counts as unfinished.
        write_json(folder / "meta.json", {"content": content, "observers": made.observers, "sha256": sha256})
        return Artefact(folder / "checkpoint.pt", made.observers, made.probe_logits)


def quantize_now(opened: OpenWorkload, experiment: Experiment, baseline: nn.Module, engine: str | None) -> Made:
    """The experiment's checkpoint made now, whatever is in the cache.

    Raises:
        QuantizationError: if the recipe does not fit the model or the data.
        BaselineError: if weights are missing, damaged or NaN.
        EvaluationError: if the baseline or the quantized model gives NaN or infinity.
    """
    probe = probe_inputs(opened)
    # Before quantizing: integers made from NaN can look sound, and observers stumble over it without a word.
    _check_weights(baseline, opened.weights_path, opened.train_command)
    _finite_logits(baseline, probe, f"{opened.weights_path}: the baseline")
    quantized = _quantize(opened, experiment, baseline, engine)
    logits = _finite_logits(quantized.model, probe, f"{experiment.id}: the quantized model")
    state = quantized.model.state_dict()
    note_origin(state, experiment.recipe())
    return Made(state, quantized.observers, logits)


def reload_job(opened: OpenWorkload, experiment: Experiment, checkpoint: Path, engine: str | None) -> ReloadJob:
    """What a fresh process needs to load the checkpoint and run the probe."""
    config = opened.workload.config.model
    return ReloadJob(
        model=config.name,
        params=opened.model_params(),
        where=opened.workload.where("model"),
        backend=experiment.config.backend,
        engine=engine,
        recipe=experiment.recipe(),
        checkpoint=checkpoint,
        inputs=probe_inputs(opened).numpy(),
        threads=torch.get_num_threads(),
    )


def make_backend(experiment: Experiment, engine: str | None) -> Backend:
    """The experiment's backend on that quantized engine."""
    backend: Backend = BACKENDS.create(experiment.config.backend, experiment.where("backend"), {"engine": engine})
    return backend


def train_qat(
    opened: OpenWorkload, experiment: Experiment, baseline: nn.Module, engine: str | None, amp: bool = False
) -> BaselineCard:
    """Fine-tunes with fake quantization and writes weights and card; a killed run continues.

    Where the workload holds out a search split, the weights are those of the best epoch on it; there is no stopping
    early, since the last epochs are the ones in which the scales stand still.
    """
    recipe = experiment.recipe()
    backend = make_backend(experiment, engine)
    backend.rehearse(baseline, recipe, rehearsal_inputs(opened))
    prepared = backend.prepare_training(baseline, recipe)
    config = fine_tuning_config(opened.training, recipe, amp)
    parent = sha256_of_file(opened.weights_path)
    origin = {"parent": parent, "recipe": describe(recipe)}
    name = experiment.id.replace("/", "-")

    def freeze_at_the_end(model: nn.Module, epoch: int) -> None:
        if epoch >= recipe.epochs - recipe.frozen_epochs:
            backend.freeze(model)

    def evaluated(model: nn.Module) -> nn.Module:
        # A copy, whose observers stand still: they would take their ranges from validation samples too.
        copied = copy.deepcopy(model).eval()
        backend.freeze(copied)
        return copied

    train_split, search = opened.splits.train, opened.splits.search
    validation = Validation(search, evaluated) if len(search) else None
    # Outside of bf16 the casts change nothing.
    with progress(f"training {experiment.id}") as show, float32_fake_quantizers(prepared):
        outcome = train(prepared, train_split, config, state_path(name), show, freeze_at_the_end, validation, origin)
    evaluation = evaluate(backend.convert_trained(prepared).model, opened.splits.test)
    path = trained_path(opened, experiment)
    sha256 = baselines.save_weights(path, prepared.state_dict())
    card = make_card(opened, experiment.config.recipe.name, config.described(), outcome, evaluation, sha256)
    command = f"{retrain_command(experiment)} --amp" if amp else retrain_command(experiment)
    card = card.model_copy(update={"command": command, "parent_sha256": parent})
    baselines.save_card(path, card)
    forget_training(name)
    return card


def fine_tuning_config(training: TrainingConfig, recipe: Trained, amp: bool) -> TrainingConfig:
    """How the recipe trains: as its workload, with its own length and rate, down half a cosine without a warm-up."""
    own = {"epochs": recipe.epochs, "lr": recipe.lr, "schedule": "warmup_cosine", "warmup_epochs": 0.0}
    return training.changed({**own, "patience": None, "precision": "bf16" if amp else "fp32"})


def trained_path(opened: OpenWorkload, experiment: Experiment) -> Path:
    """Where the fine-tuned weights of an experiment that is trained are committed."""
    return baselines.weights_path(opened.golden, f"{opened.workload.config.baseline}.{experiment.name}")


def weights_of(opened: OpenWorkload, experiment: Experiment) -> Path:
    """The committed weights that are quantized: the baseline's, or those that an experiment was fine-tuned to."""
    return trained_path(opened, experiment) if isinstance(experiment.recipe(), Trained) else opened.weights_path


def retrain_command(experiment: Experiment) -> str:
    """The command that trains an experiment for real."""
    return f"pytest bench --experiment {shlex.quote(experiment.id)} --retrain"


def _quantize(opened: OpenWorkload, experiment: Experiment, baseline: nn.Module, engine: str | None) -> Quantized:
    backend, recipe = make_backend(experiment, engine), experiment.recipe()
    backend.rehearse(baseline, recipe, rehearsal_inputs(opened))
    if isinstance(recipe, Trained):
        return backend.convert_trained(_trained(opened, experiment, backend, recipe, baseline))
    if isinstance(recipe, StaticInt8) and recipe.calibration_n > len(opened.splits.calibration):
        raise QuantizationError(
            f"{experiment.where('recipe.calibration_n')}: {recipe.calibration_n:,} samples asked for, but "
            f"the calibration pool has {len(opened.splits.calibration):,}; lower it, or raise "
            "workload.data.calibration_pool"
        )
    return backend.quantize(
        baseline,
        recipe,
        lambda: opened.splits.calibration.batches(CALIBRATION_BATCH, limit=recipe.calibration_n),
    )


def _trained(
    opened: OpenWorkload, experiment: Experiment, backend: Backend, recipe: Trained, baseline: nn.Module
) -> nn.Module:
    path, command = trained_path(opened, experiment), retrain_command(experiment)
    state = baselines.load_weights(path, command)
    card = baselines.load_card(path, command)
    check_data(card, opened.splits, path, command)
    if card.parent_sha256 != sha256_of_file(opened.weights_path):
        raise BaselineError(
            f"{path}: was trained from another baseline than {opened.weights_path}; restore both from version control, "
            f"or train again: {command}"
        )
    prepared = backend.prepare_training(baseline, recipe)
    load_state(prepared, state, path)
    _check_weights(prepared, path, command)
    return prepared.eval()


def _check_weights(model: nn.Module, path: Path, command: str) -> None:
    damaged = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if damaged:
        raise BaselineError(
            f"{path}: '{damaged[0]}' holds NaN or infinity; restore it from version control, or train again: {command}"
        )


def _finite_logits(model: nn.Module, inputs: torch.Tensor, whose: str) -> NDArray[np.float32]:
    with torch.inference_mode():
        logits = model(inputs)
    if not bool(torch.isfinite(logits).all()):
        raise EvaluationError(
            f"{whose} gives NaN or infinity for the first {len(inputs)} test samples; look at its weights, scales and "
            "inputs before trusting any figure of it"
        )
    result: NDArray[np.float32] = logits.numpy()
    return result


def content_of(opened: OpenWorkload, experiment: Experiment, engine: str | None) -> dict[str, Any]:
    """Everything that decides the checkpoint's bytes."""
    recipe, weights = experiment.recipe(), weights_of(opened, experiment)
    if not weights.is_file():
        command = retrain_command(experiment) if isinstance(recipe, Trained) else opened.train_command
        raise BaselineError(f"{weights}: no such file; restore it from version control, or make it: {command}")
    model = opened.workload.config.model.name
    return {
        "weights": sha256_of_file(weights),
        "baseline": sha256_of_file(opened.weights_path),
        "model": {"name": model, **opened.model_params()},
        "model_source": _source_of(MODELS.factory(model, opened.workload.where("model"))),
        "recipe": describe(recipe),
        "backend": experiment.config.backend,
        "engine": engine,
        "calibration": opened.splits.calibration.sha256,
        "test": opened.splits.test.sha256,
        "environment": environment().model_dump(mode="json", exclude={"accelerator"}),
        "threads": torch.get_num_threads(),
        "source": _source_digest(),
    }


def _source_of(factory: Callable[..., Any]) -> str | None:
    """Hash of the module that defines a model, which may be a user's own."""
    source = inspect.getsourcefile(factory)
    return sha256_of_file(Path(source)) if source else None


@cache
def _source_digest() -> str:
    """Hash of our own code: quantizing again costs seconds, a checkpoint made by other code costs trust."""
    root = Path(quantbench.__file__).parent
    files = sorted(root.rglob("*.py"))
    return sha256_of_json({str(file.relative_to(root)): sha256_of_file(file) for file in files})


def _read(folder: Path) -> Artefact | None:
    """The artefact in a folder, or None, said aloud, if a crash or an edit left it incomplete."""
    import json

    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        damaged = [name for name, sha256 in meta["sha256"].items() if sha256_of_file(folder / name) != sha256]
        if not damaged:
            logits = np.load(folder / "probe.npy")
            return Artefact(folder / "checkpoint.pt", meta["observers"], logits)
        reason = f"{damaged[0]} is cut short or changed"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"unfinished ({error})"
    print(f"{folder}: {reason}; quantizing again", file=sys.stderr)
    return None
