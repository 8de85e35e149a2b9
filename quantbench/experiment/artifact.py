"""The artifacts of an experiment, reference and candidate: each made once, cached by a hash of its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import (
    Artifact,
    Backend,
    BackendSpec,
    Calibration,
    ModelSource,
    Observers,
    Predictor,
    Quantized,
)
from quantbench.config.schema import Experiment
from quantbench.errors import BaselineError, DataError, EvaluationError, QuantizationError, SampleError
from quantbench.experiment.built import PROBE_N, BuiltArtifact, cached, entry_of, source_digest
from quantbench.experiment.files import ready_made_file, sha256_of
from quantbench.experiment.fine_tuning import (
    checked_trained_path,
    made_by,
    named_sample,
    rehearsal_inputs,
    retrain_command,
    weights_of,
)
from quantbench.experiment.own_quantizer import own_modules, quantized_by_function
from quantbench.experiment.workload import OpenWorkload
from quantbench.golden.baselines import sha256_of_weights
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import inputs_of
from quantbench.measure.probe import probe_in_fresh_process
from quantbench.provenance import Code, loaded_code, named_files
from quantbench.recipes.function import own_function
from quantbench.recipes.spec import Fp32, Function, ReadyMade, StaticInt8, Trained, describe
from quantbench.registry import BACKENDS, DATA, MODELS, RECIPES, TASKS
from quantbench.temporary import temporary_folder
from quantbench.torch_process import get_threads

if TYPE_CHECKING:
    from torch import nn

    from quantbench.backends.fp32 import TorchBackend

CALIBRATION_BATCH = 64


def probe_inputs(opened: OpenWorkload) -> Inputs:
    """The first test samples, normalized: `[≤ PROBE_N, channels, …]`."""
    return next(inputs_of(opened.splits.test, PROBE_N, PROBE_N))


def one_sample(opened: OpenWorkload) -> Inputs:
    """The first test sample, normalized: `[1, channels, …]`."""
    return {name: array[:1] for name, array in probe_inputs(opened).items()}


def backend_of(experiment: Experiment, engine: str | None) -> Backend:
    """The experiment's backend.

    Args:
        experiment: names it, with its parameters.
        engine: quantized engine, for backends that have several; None for the configured one.
    """
    name, where = experiment.backend.name, experiment.where("backend")
    params = experiment.backend.params
    if engine is not None and "engine" in inspect.signature(BACKENDS.factory(name, where)).parameters:
        params["engine"], where = engine, f"--engine {engine} for {where}"
    return BackendSpec(name, params, where).create()


def model_source(opened: OpenWorkload) -> ModelSource | None:
    """The factory of the workload's model, sized for its data; None where its reference is a file."""
    if opened.reference_file is not None:
        return None
    return ModelSource(opened.model.name, opened.model_params(), opened.model_place)


def _origin(opened: OpenWorkload) -> dict[str, Any]:
    """The reference as a part of a cache's key."""
    if (file := opened.reference_file) is not None:
        return {"reference": {"backend": [file.backend.name, file.backend.params], "sha256": list(file.sha256)}}
    return {
        "baseline": opened.weights_sha256(),
        "model": {"name": opened.model.name, **opened.model_params()},
    }


def candidate_at(
    opened: OpenWorkload, experiment: Experiment, backend: Backend, files: Sequence[Path], observers: Observers
) -> Artifact:
    """Files on disk as the experiment's candidate."""
    return Artifact.of_files(backend.spec, files, experiment.recipe, model_source(opened), observers)


def reference(opened: OpenWorkload, again: bool = False) -> BuiltArtifact:
    """The fp32 model of a workload as an artifact, from the cache or written now.

    Args:
        opened: the workload.
        again: write it now, whatever is in the cache.

    Raises:
        BaselineError: if its weights are missing, damaged, NaN, or made for another model or other data.
        EvaluationError: if it gives NaN or infinity.
    """
    if opened.reference_file is not None:
        return build_reference(opened, Path())
    # Each time, since it refuses weights and cards that do not fit.
    model = opened.load_baseline()
    content = reference_content(opened)
    entry = entry_of("references", opened.workload.name, content, "writing it again")

    def at(files: Sequence[Path], _: Observers) -> Artifact:
        return Artifact.of_files(_torch_backend(opened).spec, files, Fp32(), model_source(opened))

    return cached(entry, content, at, lambda folder: build_reference(opened, folder, model), again)


def reference_content(opened: OpenWorkload) -> dict[str, Any]:
    """Everything that decides the bytes of a reference, and what it gives for the test samples."""
    return {
        **_origin(opened),
        "test": opened.splits.test.sha256,
        "normalization": asdict(opened.splits.test.normalization),
        "files": _files_of(opened),
        "code": _code_of(opened),
        **_surroundings(),
    }


def build_reference(opened: OpenWorkload, folder: Path, model: nn.Module | None = None) -> BuiltArtifact:
    """The reference written into a folder, whatever is in the cache.

    Args:
        opened: the workload.
        folder: for its file; nothing is written where the reference is a file already.
        model: with the baseline's weights; loaded where it is not given.
    """
    if (file := opened.reference_file) is not None:
        return _loaded(file, opened, f"{file.path}: the reference")
    from quantbench.backends.weights import check_weights

    model = model or opened.load_baseline()
    # Before quantizing: integers made from NaN can look sound, and observers stumble over it without a word.
    check_weights(model, opened.weights_path, opened.train_command)
    source = ModelSource(opened.model.name, opened.model_params(), opened.model_place)
    written = _torch_backend(opened).write(model, source, folder)
    return _probed(written, opened, f"{opened.weights_path}: the baseline")


def candidate(
    opened: OpenWorkload, experiment: Experiment, backend: Backend, source: Artifact, again: bool = False
) -> BuiltArtifact:
    """The experiment's quantized artifact, from the cache or made now.

    Args:
        opened: the workload.
        experiment: of it.
        backend: of the experiment.
        source: the reference.
        again: make it now, whatever is in the cache.

    Raises:
        QuantizationError: if the recipe does not fit the model or the data.
        BaselineError: if the recipe needs committed trained weights that are missing or damaged.
        EvaluationError: if the quantized model gives NaN or infinity.
    """
    if isinstance(experiment.recipe, ReadyMade):
        return build_candidate(opened, experiment, backend, source, Path())
    content = content_of(opened, experiment, backend)
    entry = entry_of("quantized", experiment.id.replace("/", "-"), content, "quantizing again")

    def at(files: Sequence[Path], observers: Observers) -> Artifact:
        return candidate_at(opened, experiment, backend, files, observers)

    def make(folder: Path) -> BuiltArtifact:
        return build_candidate(opened, experiment, backend, source, folder)

    return cached(entry, content, at, make, again)


def build_candidate(
    opened: OpenWorkload, experiment: Experiment, backend: Backend, source: Artifact, folder: Path
) -> BuiltArtifact:
    """The experiment's artifact made now in a folder, whatever is in the cache.

    Raises:
        QuantizationError: if the recipe does not fit the model or the data.
        BaselineError: if weights are missing, damaged or NaN.
        EvaluationError: if the quantized model gives NaN or infinity.
    """
    if isinstance(experiment.recipe, ReadyMade):
        return _loaded(
            ready_made_file(experiment, backend, model_source(opened)), opened, f"{experiment.id}: the ready-made model"
        )
    if isinstance(experiment.recipe, Function):
        batches, probe = _calibration(opened, experiment).batches, probe_inputs(opened)
        made = quantized_by_function(experiment, backend, source, batches, probe, folder)
        return _probed(made, opened, f"{experiment.id}: the quantized model")
    try:
        quantized = backend.quantize(source, experiment.recipe, _calibration(opened, experiment), folder)
    except SampleError as error:
        raise QuantizationError(f"{experiment.id}: {named_sample(opened, error)}") from error
    return _probed(quantized, opened, f"{experiment.id}: the quantized model")


def build_from_files(opened: OpenWorkload, experiment: Experiment, backend: Backend, folder: Path) -> BuiltArtifact:
    """Reference and candidate made now from data and weights alone; gives the candidate."""
    if isinstance(experiment.recipe, ReadyMade):
        # It is made of no reference, and the claims before this one have tried its file out.
        artifact = ready_made_file(experiment, backend, model_source(opened))
        return _opened(artifact, opened, f"{experiment.id}: the ready-made model")
    with temporary_folder() as beside:
        source = build_reference(opened, Path(beside))
        return build_candidate(opened, experiment, backend, source.artifact, folder)


def lowered(opened: OpenWorkload, backend: Backend, source: Artifact) -> BuiltArtifact | None:
    """The reference in the format of a backend, nothing quantized; None where that is the reference itself.

    Raises:
        QuantizationError: if it cannot be written in that format.
    """
    if source.backend.name == backend.spec.name:
        return None
    content = {
        **_origin(opened),
        "lowered to": {"name": backend.spec.name, **backend.spec.params},
        "test": opened.splits.test.sha256,
        "normalization": asdict(opened.splits.test.normalization),
        "files": _files_of(opened, backend.spec.params),
        "code": _code_of(opened, BACKENDS.outside_module(backend.spec.name)),
        **_surroundings(),
    }
    entry = entry_of("lowered", f"{opened.workload.name}-{backend.spec.name}", content, "writing it again")

    def at(files: Sequence[Path], _: Observers) -> Artifact:
        return Artifact.of_files(backend.spec, files, Fp32(), source.model)

    def make(folder: Path) -> BuiltArtifact:
        written = backend.lowered(source, probe_inputs(opened), folder)
        if written is None:
            raise _NoFormat
        return _probed(written, opened, f"the fp32 model by {backend.spec.name}")

    try:
        return cached(entry, content, at, make, again=False)
    except _NoFormat:
        return None


class _NoFormat(Exception):  # noqa: N818 — no error: it leaves the making of an entry of the cache
    """The backend has no format of its own."""


def content_of(opened: OpenWorkload, experiment: Experiment, backend: Backend) -> dict[str, Any]:
    """Everything that decides the bytes of a candidate and is known before it is made."""
    recipe, config = experiment.recipe, experiment.config
    return {
        "weights": weights_sha256(opened, experiment, backend),
        **_origin(opened),
        "recipe": describe(recipe),
        "backend": {"name": backend.spec.name, **backend.spec.params},
        "engine": backend.engine,
        "calibration": opened.splits.calibration.sha256,
        "test": opened.splits.test.sha256,
        "normalization": asdict(opened.splits.test.normalization),
        "files": _files_of(opened, config.recipe.params, backend.spec.params),
        "code": _code_of(
            opened,
            RECIPES.outside_module(config.recipe.name),
            BACKENDS.outside_module(backend.spec.name),
            *own_modules(experiment),
        ),
        **_surroundings(),
    }


def _files_of(opened: OpenWorkload, *params: dict[str, Any]) -> dict[str, str]:
    """Content of the files that parameters name: these, and those of model, data and task."""
    config, beside = opened.workload.config, opened.workload.path.parent
    own = {} if config.model is None else opened.model_params()
    named = named_files([own, config.task.params, *params], beside)
    # A folder of data is known by its samples, which are in the key.
    return named | named_files(config.data.model_dump(mode="json"), beside, folders=False)


def _code_of(opened: OpenWorkload, *modules: str | None) -> Code:
    """The user's modules that factories are in: these, and those of model, data and task.

    All others that are loaded are noted with the result: they are not all known before it is made.
    """
    config = opened.workload.config
    own = {DATA.outside_module(config.data.name)}
    if config.model is not None:
        own.add(MODELS.outside_module(config.model.name))
    named = {*modules, *own, TASKS.outside_module(config.task.name), *_modules_of_task(opened)}
    return {name: code for name, code in loaded_code().items() if name in named}


def _modules_of_task(opened: OpenWorkload) -> list[str]:
    """Modules of the functions that the task calls, imported now."""
    paths = opened.task.paths
    for key, path in paths.items():
        own_function(path, opened.workload.where(f"task.{key}"))
    return [path.partition(":")[0] for path in paths.values()]


def _surroundings() -> dict[str, Any]:
    return {
        "environment": environment().model_dump(mode="json", exclude={"accelerator"}),
        "threads": get_threads(),
        "source": source_digest(),
    }


def _torch_backend(opened: OpenWorkload) -> TorchBackend:
    from quantbench.backends.fp32 import TorchBackend

    backend = BackendSpec("torch", {}, opened.model_place).create()
    if not isinstance(backend, TorchBackend):
        raise TypeError(f"backend 'torch' is a {type(backend).__name__}")
    return backend


def _calibration(opened: OpenWorkload, experiment: Experiment) -> Calibration:
    recipe, pool = experiment.recipe, opened.splits.calibration
    limit = None
    if isinstance(recipe, StaticInt8):
        if pool.absent:
            raise DataError(pool.absent)
        limit = recipe.calibration_n
        if limit > len(pool):
            raise QuantizationError(
                f"{experiment.where('recipe.calibration_n')}: {limit:,} samples asked for, but the calibration pool "
                f"has {len(pool):,}; lower it, or raise workload.data.calibration_pool"
            )
    trained = checked_trained_path(opened, experiment) if isinstance(recipe, Trained) else None
    return Calibration(
        batches=lambda: inputs_of(pool, CALIBRATION_BATCH, limit),
        samples=rehearsal_inputs(opened),
        trained=trained,
        command=retrain_command(experiment),
    )


def weights_sha256(opened: OpenWorkload, experiment: Experiment, backend: Backend) -> str:
    """Hash of the weights that an experiment starts from: the reference's, fine-tuned ones, or those of its file.

    Raises:
        BaselineError: if they are missing.
    """
    recipe = experiment.recipe
    if isinstance(recipe, ReadyMade):
        return sha256_of(ready_made_file(experiment, backend))
    if opened.reference_file is not None:
        return opened.reference_sha256
    weights, command = weights_of(opened, experiment), made_by(opened, experiment)
    if not weights.is_file():
        raise BaselineError(f"{weights}: no such file; restore it from version control, or make it: {command}")
    return sha256_of_weights(weights, command)


def _loaded(artifact: Artifact, opened: OpenWorkload, subject: str) -> BuiltArtifact:
    """A file made elsewhere, with the outputs of the model in it; a runtime that crashes on it does so elsewhere."""
    probe_in_fresh_process(artifact, probe_inputs(opened))
    return _opened(artifact, opened, subject)


def _opened(artifact: Artifact, opened: OpenWorkload, subject: str) -> BuiltArtifact:
    predictor = artifact.backend.create().load(artifact, get_threads())
    return BuiltArtifact(artifact, _finite(predictor, probe_inputs(opened), subject))


def _probed(quantized: Quantized, opened: OpenWorkload, subject: str) -> BuiltArtifact:
    return BuiltArtifact(quantized.artifact, _finite(quantized.converted, probe_inputs(opened), subject))


def _finite(predictor: Predictor, inputs: Inputs, subject: str) -> Outputs:
    outputs = predictor(inputs)
    if not all(np.isfinite(array).all() for array in outputs.values()):
        n = len(next(iter(inputs.values())))
        raise EvaluationError(
            f"{subject} gives NaN or infinity for the first {n} test samples; look at its weights, scales and "
            "inputs before trusting any figure of it"
        )
    return outputs
