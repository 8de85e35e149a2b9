"""The outcome of a search as a real experiment: quantized by the backend, loaded by a fresh process, and evaluated."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace

from quantbench.config.component import Component
from quantbench.config.schema import Experiment
from quantbench.experiment.accuracy import paired_accuracy
from quantbench.experiment.artifact import candidate, probe_inputs
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.run import Run
from quantbench.measure.evaluation import Evaluation, evaluate
from quantbench.measure.reload import reload_in_fresh_process
from quantbench.recipes.spec import StaticInt8
from quantbench.records.search import FoundArtifact
from quantbench.registry import RECIPES
from quantbench.torch_process import get_threads

# After the name of the experiment that was searched.
SUFFIX = "-found"


def found_artifact(run: Run, int8: Sequence[str], before: Evaluation, searched: Evaluation) -> FoundArtifact | None:
    """The artifact that has these layers in int8 and all others in fp32.

    Args:
        run: of the experiment that was searched.
        int8: names of layers.
        before: with all layers high, on the test split.
        searched: the configuration in the model that was searched, on the same samples.

    Returns: None where no layer is in int8, or a recipe of this backend cannot name such layers.
    """
    experiment = found_experiment(run, int8)
    if experiment is None:
        return None
    built = candidate(run.opened, experiment, run.backend, run.baseline.artifact)
    evaluation = evaluate(run.backend.load(built.artifact, get_threads()), run.opened.splits.test, run.opened.task)
    recipe = experiment.config.recipe
    return FoundArtifact(
        recipe={"name": recipe.name, **recipe.params},
        backend=run.backend.name,
        sha256=built.artifact.sha256[0],
        size_bytes=built.artifact.size_bytes,
        reload_identical=_is_identical(run, built),
        accuracy=paired_accuracy(before, evaluation),
        otherwise=int((searched.correct != evaluation.correct).sum()),
    )


def found_experiment(run: Run, int8: Sequence[str]) -> Experiment | None:
    """The experiment that quantizes these layers alone; None where there is none."""
    own, recipe = run.experiment, run.experiment.config.recipe
    takes = inspect.signature(RECIPES.factory(recipe.name, own.where("recipe"))).parameters
    if not int8 or not isinstance(own.recipe, StaticInt8) or not run.backend.takes_layers or "layers" not in takes:
        return None
    found = Component(name=recipe.name, **recipe.params | {"layers": list(int8)})
    return replace(own, name=own.name + SUFFIX, config=own.config.model_copy(update={"recipe": found}))


def _is_identical(run: Run, built: BuiltArtifact) -> bool:
    outputs = reload_in_fresh_process(built.artifact, probe_inputs(run.opened), get_threads()).outputs
    return {name: each.tobytes() for name, each in outputs.items()} == {
        name: each.tobytes() for name, each in built.probe.items()
    }
