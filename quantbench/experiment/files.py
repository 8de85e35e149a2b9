"""Models that are files made elsewhere: a workload's reference, and ready-made candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quantbench.backends.interface import Artifact, Backend, BackendSpec, ModelSource
from quantbench.config.schema import Experiment, ReferenceConfig, Workload, reference_backend
from quantbench.errors import BaselineError, CheckpointError
from quantbench.files import beside, printable, sha256_of_file, sha256_of_json
from quantbench.recipes.spec import Fp32, ReadyMade, Recipe


def reference_file(workload: Workload, config: ReferenceConfig) -> Artifact:
    """The file that a workload compares with, as an artifact.

    Raises:
        BaselineError: if it is not there, or cannot be read.
    """
    component = reference_backend(workload)
    backend = BackendSpec(component.name, component.params, workload.where("reference")).create()
    return _artifact(backend, _place(workload, config.path), Fp32(), workload.where("reference.path"))


def ready_made_file(experiment: Experiment, backend: Backend, model: ModelSource | None = None) -> Artifact:
    """The file of a ready-made candidate, as an artifact.

    Args:
        experiment: names it.
        backend: that loads it.
        model: the factory of the workload's model, for files that hold none.

    Raises:
        BaselineError: if it is not there, or cannot be read.
    """
    recipe = experiment.recipe
    if not isinstance(recipe, ReadyMade):
        raise TypeError(f"{experiment.id}: a recipe of kind {recipe.kind} names no file")
    made = _artifact(backend, _place(experiment.workload, recipe.path), recipe, experiment.where("recipe.path"))
    return replace(made, model=model if backend.spec.name == "torch" else None)


def sha256_of(artifact: Artifact) -> str:
    """One hash of an artifact: its file's, or of those of its files."""
    return artifact.sha256[0] if len(artifact.sha256) == 1 else sha256_of_json(list(artifact.sha256))


def sha256_of_given(path: Path, where: str) -> str:
    """Hash of a file that a workload names.

    Raises:
        BaselineError: if it is not there, or cannot be read.
    """
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise BaselineError(f"{where}: {printable(path)}: {error.strerror}; give the model's file there") from None


def _place(workload: Workload, path: str) -> Path:
    """A path that a workload file names; a relative one begins at that file."""
    return beside(workload.path.parent, Path(path).expanduser())


def _artifact(backend: Backend, path: Path, recipe: Recipe, where: str) -> Artifact:
    try:
        files: Sequence[Path] = backend.files_of(path)
        hashes = tuple(sha256_of_file(each) for each in files)
    except OSError as error:
        named = printable(error.filename or path)
        raise BaselineError(f"{where}: {named}: {error.strerror}; give the model's file there") from None
    except CheckpointError as error:
        raise BaselineError(f"{where}: {error}") from error
    return Artifact(backend.spec, tuple(files), hashes, recipe)
