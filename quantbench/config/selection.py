"""Experiments chosen by id, glob, workload or recipe."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Any

from quantbench.config.component import Component
from quantbench.config.reading import load_workload
from quantbench.config.schema import Experiment, ExperimentConfig, Workload
from quantbench.errors import ConfigError
from quantbench.recipes.lowering import default_backend
from quantbench.recipes.translation import OLD_RECIPES, new_word
from quantbench.registry import BACKENDS, RECIPES, unknown_name


def select(experiments: list[Experiment], pattern: str) -> list[Experiment]:
    """The experiments whose id matches an exact id or a glob.

    Raises:
        ConfigError: if none matches.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from quantbench.config.reading import load_experiments
        >>> with TemporaryDirectory() as folder:
        ...     written = (Path(folder) / "cnn.yaml").write_text(
        ...         "{workload: {model: {name: cifar_cnn}, data: {name: shapes}, baseline: cnn},"
        ...         " experiments: {fp32: {recipe: {name: fp32_baseline}}, ptq: {recipe: {name: static_int8}}}}"
        ...     )
        ...     experiments = load_experiments(Path(folder))
        >>> [experiment.id for experiment in select(experiments, "cnn/p*")]
        ['cnn/ptq']
    """
    chosen = [experiment for experiment in experiments if fnmatch.fnmatchcase(experiment.id, pattern)]
    if not chosen:
        raise ConfigError(unknown_name("experiment", pattern, [experiment.id for experiment in experiments]))
    return chosen


def find_workload(name_or_path: str, folder: Path) -> Workload:
    """The workload named by a file path or by the name of a file in the folder.

    Raises:
        ConfigError: if there is no such workload.
    """
    path = Path(name_or_path)
    if path.suffix != ".yaml":
        path = folder / f"{name_or_path}.yaml"
        # Whatever else has that name is told by the reader.
        if not os.path.lexists(path):
            known = sorted(file.stem for file in folder.glob("*.yaml"))
            raise ConfigError(f"{folder}: {unknown_name('workload', name_or_path, known)}")
    return load_workload(path)[0].workload


def with_recipe(workload: Workload, recipe: str, params: dict[str, Any]) -> Experiment:
    """The workload's own experiment of that name or of that recipe with these parameters, or one made up without gates.

    Raises:
        ConfigError: if there is no such recipe or parameter, or several experiments of the workload have the recipe.
    """
    experiments = load_workload(workload.path)
    place = f"--config {recipe}"
    for experiment in experiments:
        if experiment.name == recipe:
            if not params:
                return experiment
            own = experiment.config.recipe
            changed = Component(name=own.name, **{**own.params, **params})
            return _made_up(workload, recipe, changed, place, experiment.config.backend)
    recipe = new_word(recipe, OLD_RECIPES, "--config")
    RECIPES.check(recipe, "--config")
    alike = []
    for experiment in experiments:
        own = experiment.config.recipe
        if own.name == recipe and RECIPES.create(recipe, "--config", {**own.params, **params}) == experiment.recipe:
            alike.append(experiment)
    if len(alike) > 1:
        names = ", ".join(experiment.name for experiment in alike)
        raise ConfigError(
            f"--config {recipe}: several experiments of {workload.path} use it; name one of them: {names}"
        )
    if alike:
        return alike[0]
    return _made_up(workload, recipe, Component(name=recipe, **params), place)


def through_backend(workload: Workload, recipe: Component, backend: str, place: str) -> Experiment:
    """The workload's own experiment of that recipe through that backend, or one made up without gates.

    Args:
        workload: of the experiments.
        recipe: the same for every backend.
        backend: registered.
        place: of both, for messages.

    Raises:
        ConfigError: if there is no such backend, recipe or parameter.
    """
    BACKENDS.check(backend, place)
    wanted = RECIPES.create(recipe.name, place, recipe.params)
    for experiment in load_workload(workload.path):
        if experiment.backend.name == backend and experiment.recipe == wanted:
            return experiment
    return _made_up(workload, f"{recipe.name}-{backend}", recipe, place, Component(name=backend))


def recipe_of(workload: Workload, recipe: str, place: str) -> Component:
    """A recipe with the parameters of the workload's first experiment that names it, or with its defaults.

    Raises:
        ConfigError: if there is no such recipe.
    """
    RECIPES.check(recipe, place)
    named = (experiment.config.recipe for experiment in load_workload(workload.path))
    return next((each for each in named if each.name == recipe), Component(name=recipe))


def _made_up(
    workload: Workload, name: str, recipe: Component, place: str, backend: Component | None = None
) -> Experiment:
    """An experiment without gates, through the given backend, a reference file's, or the first that runs it."""
    if (
        backend is None
        and ((reference := workload.config.reference) is None or reference.model is not None)
        and (first := default_backend(RECIPES.create(recipe.name, place, recipe.params)))
    ):
        backend = Component(name=first)
    config = ExperimentConfig(recipe=recipe) if backend is None else ExperimentConfig(recipe=recipe, backend=backend)
    return Experiment(workload, name, config, place)


def claims_command() -> str:
    """Start of the command that makes the claims: of the project's folder `bench`, or else those of the package.

    Example:
        >>> claims_command() in ("pytest bench", "pytest --pyargs quantbench.claims")
        True
    """
    return "pytest bench" if has_claims_folder() else "pytest --pyargs quantbench.claims"


def has_claims_folder() -> bool:
    """True if the project has tests of its own that make the claims."""
    return Path("bench").is_dir()
