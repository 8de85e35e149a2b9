"""The experiments of a workload that are compared: one recipe through several backends, or those that are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quantbench.backends.interface import Backend, BackendSpec
from quantbench.backends.torch_reference import READ_BY
from quantbench.config.component import Component
from quantbench.config.reading import load_workload
from quantbench.config.schema import Experiment, Workload
from quantbench.config.selection import through_backend
from quantbench.errors import ConfigError, QuantbenchError
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import Recipe
from quantbench.records.parity import NotCompared
from quantbench.registry import BACKENDS, unknown_name

# Announced for deletion, so that whatever takes its place is compared with it.
DEPRECATED = "eager"
PLACE = "--backends"


def through_backends(
    workload: Workload, recipe: Component, backends: Sequence[str] | None = None
) -> tuple[dict[str, Experiment], list[NotCompared]]:
    """Experiments of one recipe, by backend, and backends that are left out.

    Args:
        workload: its own experiments are taken where there are such.
        recipe: the same for all.
        backends: to compare; by default all that quantize this recipe, and this reference, here.

    Raises:
        ConfigError: if there is no such backend or parameter.
    """
    found, left_out = dict[str, Experiment](), list[NotCompared]()
    for name in BACKENDS.names() if backends is None else backends:
        experiment = through_backend(workload, recipe, name, PLACE)
        reason = _refusal(experiment, is_asked_for=backends is not None)
        if reason is None and backends is None and not _takes_reference(workload, name):
            reason = "quantizes a torch module, and the reference is a file of another runtime"
        if reason is None:
            found[name] = experiment
        elif reason:
            left_out.append(NotCompared(name=name, reason=reason, failed=backends is not None))
    return found, left_out


def _takes_reference(workload: Workload, backend: str) -> bool:
    """False of a backend on torch modules where the workload has a file of another runtime."""
    reference = workload.config.reference
    if reference is None or reference.model is not None:
        return True
    return backend in READ_BY.get(Path(reference.path).suffix.lower(), (backend,))


def _refusal(experiment: Experiment, is_asked_for: bool) -> str | None:
    """The reason why a backend does not run the recipe here; empty of one for other recipes; None if it does."""
    component = experiment.backend
    try:
        backend = BackendSpec(component.name, component.params, PLACE).create()
        recipe: Recipe = experiment.recipe
        if not is_asked_for and (type(backend).quantize is Backend.quantize or unsupported(component.name, recipe)):
            return ""
        return backend.supports(recipe)
    except QuantbenchError as error:
        return str(error)


def named(workload: Workload, names: Sequence[str]) -> dict[str, Experiment]:
    """A workload's experiments by their names.

    Raises:
        ConfigError: if there is no such experiment, or only one.
    """
    known = {each.name: each for each in load_workload(workload.path)}
    if wrong := next((name for name in names if name not in known), None):
        raise ConfigError(f"{workload.path}: {unknown_name('experiment', wrong, list(known))}")
    if len(set(names)) < 2:
        raise ConfigError(f"{workload.path}: name two experiments or more, such as {', '.join(list(known)[:2])}")
    return {name: known[name] for name in names}


def base_first(
    experiments: Mapping[str, Experiment], base: str | None, left_out: Sequence[NotCompared] = ()
) -> dict[str, Experiment]:
    """Experiments in their order, but for the base, which is the first.

    Args:
        experiments: by name.
        base: its name; by default the first one through the deprecated backend, or else the first.
        left_out: named where there are no others.

    Raises:
        ConfigError: if there is no such experiment.
    """
    if not experiments:
        raise ConfigError("; ".join(f"{each.name}: {each.reason}" for each in left_out) or "no backend is named")
    deprecated = (name for name, each in experiments.items() if each.backend.name == DEPRECATED)
    first = base or next(deprecated, next(iter(experiments)))
    if first not in experiments:
        raise ConfigError(f"--base: {unknown_name('base', first, list(experiments))}")
    return {first: experiments[first], **experiments}
