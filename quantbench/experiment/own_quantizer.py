"""Candidates that a function of the user's makes: called with a copy of the reference and with calibration batches."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Artifact, Backend, Quantized
from quantbench.backends.process_settings import kept
from quantbench.config.schema import Experiment
from quantbench.errors import CheckpointError, ConfigError, QuantizationError
from quantbench.files import printable, sha256_of_file
from quantbench.foreign import calling
from quantbench.provenance import loading
from quantbench.recipes.function import own_function
from quantbench.recipes.lowering import FORMATS
from quantbench.recipes.spec import Function
from quantbench.registry import unknown_name
from quantbench.temporary import temporary_folder
from quantbench.torch_process import get_threads, random_state_kept
from quantbench.upstream import silenced

if TYPE_CHECKING:
    from torch import nn

# Folder of a returned file among the candidate's: the file keeps its name, and may have any.
MADE = "made"
# Parameters of the recipe that are not the function's.
OF_THE_RECIPE = ("function", "structure")


class CalibrationBatches:
    """Normalized batches of the calibration split, drawn when they are asked for, and again each time.

    A batch is an array `[n, …]` of the only input, or arrays by name where there are several.

    Args:
        batches: draws them.
        as_tensors: tensors of torch in the place of arrays of numpy.

    Example:
        >>> batches = CalibrationBatches(lambda: [{"input": np.zeros((2, 3))}], as_tensors=True)
        >>> [batch.shape for batch in batches]
        [torch.Size([2, 3])]
    """

    def __init__(self, batches: Callable[[], Iterable[Inputs]], as_tensors: bool) -> None:
        self._batches, self._as_tensors = batches, as_tensors

    def __iter__(self) -> Iterator[Any]:
        """Draws them from the first one on."""
        for inputs in self._batches():
            # Copies, since the function may write into them.
            values = {name: array.copy() for name, array in inputs.items()}
            given = _tensors(values) if self._as_tensors else values
            yield given if len(given) > 1 else next(iter(given.values()))


def _tensors(arrays: Inputs) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def own_modules(experiment: Experiment) -> tuple[str, ...]:
    """Modules of the functions that an experiment's recipe names, imported now; none of other recipes.

    Raises:
        ConfigError: if there is no such function.
    """
    recipe = experiment.recipe
    if not isinstance(recipe, Function):
        return ()
    named = {"function": recipe.function, "structure": recipe.structure}
    found = {key: path for key, path in named.items() if path is not None}
    for key, path in found.items():
        own_function(path, experiment.where(f"recipe.{key}"))
    return tuple(path.partition(":")[0] for path in found.values())


def quantized_by_function(
    experiment: Experiment,
    backend: Backend,
    source: Artifact,
    batches: Callable[[], Iterable[Inputs]],
    probe: Inputs,
    folder: Path,
) -> Quantized:
    """Calls the function of the experiment's recipe and writes what it returns into a folder.

    Args:
        experiment: its recipe is a `Function`.
        backend: of the experiment, which loads what is returned.
        source: the reference; the function gets a copy of it.
        batches: draws calibration batches.
        probe: inputs on which a returned module is compared with what is loaded from its file.
        folder: for the files.

    Raises:
        ConfigError: if there is no such function, or it does not take the parameters.
        QuantizationError: if what it returns is no model that the backend loads, or it changed the reference.
        ForeignError: whatever else it raises.
    """
    recipe = experiment.recipe
    if not isinstance(recipe, Function):
        raise TypeError(f"{experiment.id}: a recipe of kind {recipe.kind} names no function")
    subject = f"{experiment.where('recipe')}: '{recipe.function}'"
    with temporary_folder() as beside:
        given: Any = _copied(source, Path(beside)) if source.model is None else _module(source)
        returned = _called(experiment, recipe, given, CalibrationBatches(batches, as_tensors=source.model is not None))
        _check_unchanged(source, subject)
        if _is_module(returned):
            return _of_module(returned, backend, source, recipe, probe, folder, subject)
        if isinstance(returned, Path):
            return _of_file(returned, backend, source, recipe, folder, subject)
    raise QuantizationError(
        f"{subject} returned a {type(returned).__name__}; return the quantized nn.Module, or the path of its file"
    )


def _module(source: Artifact) -> nn.Module:
    from quantbench.backends.state_dict import reference_module

    return reference_module(source)


def _is_module(returned: Any) -> bool:
    """True for a module of torch, which whoever made it has imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(returned, torch.nn.Module)


def _called(experiment: Experiment, recipe: Function, given: Any, batches: CalibrationBatches) -> Any:
    """Calls the function, and puts back random states and settings of the process; a returned path is absolute."""
    where, params = experiment.where("recipe"), dict(recipe.params)
    function = own_function(recipe.function, f"{where}.function")
    _check_parameters(function, recipe.function, params, where)
    place = contextlib.chdir(Path.cwd())
    with calling(f"{experiment.id}: '{recipe.function}'"), _another_draw(), kept(), place, silenced():
        with loading(recipe.function.partition(":")[0]):
            returned = function(given, batches, **params)
        if _is_module(returned):
            return returned.eval()
        return Path(os.fspath(returned)).absolute() if isinstance(returned, str | os.PathLike) else returned


def _check_parameters(function: Callable[..., Any], name: str, params: dict[str, Any], where: str) -> None:
    """Raises ConfigError where a function does not take the model, the batches and these parameters."""
    try:
        signature = inspect.signature(function)
    # Of a function of C; whether it takes them the call shows.
    except (TypeError, ValueError):
        return
    own = list(signature.parameters.values())[2:]
    if not any(each.kind is each.VAR_KEYWORD for each in own):
        known = [each.name for each in own if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
        if unknown := sorted(set(params) - set(known)):
            raise ConfigError(
                f"{where}: {unknown_name(f'parameter of {name!r}:', unknown[0], sorted([*known, *OF_THE_RECIPE]))}"
            )
    try:
        signature.bind(None, None, **params)
    except TypeError as error:
        raise ConfigError(
            f"{where}: '{name}': {error}; it is called as fn(model_or_path, calibration_batches, **params)"
        ) from None


@contextmanager
def _another_draw() -> Iterator[None]:
    """Random states that are never the same, so that a draw without a seed shows; put back at the end."""
    states = np.random.get_state(), random.getstate()
    with random_state_kept(another=True):
        np.random.seed()
        random.seed()
        try:
            yield
        finally:
            np.random.set_state(states[0])
            random.setstate(states[1])


def _copied(source: Artifact, folder: Path) -> Path:
    """The reference's file in a folder of its own, with the files that lie beside it."""
    return _copies(source.files, source.path.parent, folder)[0]


def _copies(files: Iterable[Path], root: Path, folder: Path) -> list[Path]:
    found = []
    for path in files:
        # A link's target lies elsewhere, and the link's name is the one by which the file is known.
        target = folder / (path.relative_to(root) if path.is_relative_to(root) else path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        found.append(Path(shutil.copyfile(path, target)))
    return found


def _check_unchanged(source: Artifact, subject: str) -> None:
    for path, expected in zip(source.files, source.sha256, strict=True):
        if not path.is_file() or sha256_of_file(path) != expected:
            raise QuantizationError(
                f"{subject} changed {path}, which it was given a copy of; bring that file back, and let the function "
                "write beside the path that it is given"
            )


def _of_module(
    module: nn.Module,
    backend: Backend,
    source: Artifact,
    recipe: Function,
    probe: Inputs,
    folder: Path,
    subject: str,
) -> Quantized:
    """A returned module as its state dict, which has to give the same outputs when it is loaded."""
    from quantbench.backends.fp32 import TorchBackend
    from quantbench.backends.own_function import STRUCTURE

    if source.model is None:
        raise QuantizationError(
            f"{subject} returned an nn.Module, of which {source.path.name} tells no structure to load its weights "
            "into; return the path of a file"
        )
    if not isinstance(backend, TorchBackend):
        raise QuantizationError(
            f"{subject} returned an nn.Module, which backend '{backend.spec.name}' does not load; set backend: torch"
        )
    made = backend.write_returned(module, recipe, source.model, folder)
    try:
        loaded = backend.load(made.artifact, get_threads())
    except CheckpointError as error:
        # The file is gone with the folder that it was written to.
        reason = str(error).removeprefix(f"{made.artifact.path}: ")
        raise QuantizationError(
            f"{subject} returned an nn.Module that cannot be loaded from its file: {reason}"
        ) from error
    before, after = made.converted(probe), loaded(probe)
    # A forward that draws at random differs from itself, which is found where files are loaded again.
    if not _same(before, after) and _same(before, made.converted(probe)):
        raise QuantizationError(
            f"{subject} returned an nn.Module that computes what its state dict does not hold: loaded into the "
            f"structure of the {'recipe' if recipe.structure else 'fp32 model'} it gives other outputs; {STRUCTURE}"
        )
    return made


def _of_file(path: Path, backend: Backend, source: Artifact, recipe: Function, folder: Path, subject: str) -> Quantized:
    """A returned file, copied with those that lie beside it."""
    name, own = printable(path.name), backend.spec.name
    if not path.is_file():
        raise QuantizationError(f"{subject} returned the path {printable(path)}, and there is no such file")
    try:
        files = _copies(backend.files_of(path), path.parent, folder / MADE)
        artifact = Artifact.of_files(backend.spec, files, recipe, source.model)
        return Quantized(artifact, backend.load(artifact, get_threads()))
    except CheckpointError as error:
        loader = FORMATS.get(path.suffix.lower(), own)
        reason = (
            f", which backend '{loader}' loads and '{own}' does not; set backend: {loader}"
            if loader != own
            else f": {error}"
        )
        raise QuantizationError(f"{subject} returned {name}{reason}") from error


def _same(first: Outputs, second: Outputs) -> bool:
    return {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in second.items()
    }
