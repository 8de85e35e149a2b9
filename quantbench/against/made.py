"""Experiments of a revision, made by a fresh process whose project is that revision's, with this quantbench."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quantbench.against.revision import OPTION, Revision, plain
from quantbench.backends.interface import Artifact, Description
from quantbench.config.reading import load_experiments
from quantbench.config.schema import Experiment
from quantbench.errors import ConfigError, QuantbenchError
from quantbench.experiment.result import NO_SAMPLES, inputs_of
from quantbench.experiment.run import Run, Settings
from quantbench.experiment.runs import Runs
from quantbench.files import beside
from quantbench.foreign import calling
from quantbench.golden.circumstances import Inputs
from quantbench.measure.evaluation import Evaluation
from quantbench.measure.fresh import PLACES, in_fresh_process
from quantbench.provenance import loaded_code, signature_of
from quantbench.recipes.spec import Function, describe
from quantbench.registry import BACKENDS, MODELS

# Folders of installed distributions: what lies in one is no part of a revision, wherever it stands.
INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class Job:
    """Work of a fresh process.

    Attributes:
        revision: whose files lie beside the working tree.
        configs: its folder of workload files.
        golden: its folder of goldens.
        engine: see `Settings`.
        ids: experiments to make; of one workload.
    """

    revision: Revision
    configs: Path
    golden: Path
    engine: str | None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """One experiment of a revision.

    Attributes:
        artifact: its candidate.
        described: its files.
        facts: recipe, backend, data and task as configured.
        inputs: hashes of all that it was computed from.
        own_code: modules that its files need to be loaded, and that the working tree has in another form.
        evaluation: of the candidate on the revision's own test samples; only where it needs such modules.
        shared: paths of data that the revision lacks, and of which the working tree's were taken.
    """

    artifact: Artifact
    described: Description
    facts: Mapping[str, Any]
    inputs: Inputs
    own_code: tuple[str, ...] = ()
    evaluation: Evaluation | None = None
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Whole:
    """Everything that was made of a revision.

    Attributes:
        ids: of all its experiments.
        made: those that were asked for.
        problems: why one could not be made, on one line.
    """

    ids: tuple[str, ...] = ()
    made: Mapping[str, Made] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def made_of(job: Job, wanted: Sequence[str]) -> Whole:
    """Makes experiments of a revision, those of each workload in a process of their own.

    Raises:
        ConfigError: if its workload files cannot be read.
    """
    revision = job.revision
    if not job.configs.is_dir():
        return Whole()
    died = f"{OPTION} {revision.name}: the process that read its workload files died"
    try:
        ids = in_fresh_process(listed, job, died=died)
    except QuantbenchError as error:
        raise ConfigError(
            f"{OPTION} {revision.name}: its workload files cannot be read: {revision.told(error)}"
        ) from None
    made: dict[str, Made] = {}
    problems: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for id_ in ids:
        if id_ in wanted:
            groups.setdefault(id_.partition("/")[0], []).append(id_)
    for group in groups.values():
        died = "the process that made it died in native code"
        try:
            found = in_fresh_process(make, replace(job, ids=tuple(group)), died=died)
        except QuantbenchError as error:
            problems |= dict.fromkeys(group, revision.told(error))
            continue
        made |= {id_: each for id_, each in found.items() if isinstance(each, Made)}
        problems |= {id_: each for id_, each in found.items() if isinstance(each, str)}
    return Whole(tuple(ids), made, problems)


def listed(job: Job) -> list[str]:
    """Ids of all experiments of the revision."""
    with standing_in(job.revision):
        return [each.id for each in load_experiments(job.configs)]


def make(job: Job) -> dict[str, Made | str]:
    """Each experiment of the job, or the line that says why it could not be made."""
    found: dict[str, Made | str] = {}
    with standing_in(job.revision):
        runs = Runs(Settings(job.golden, job.engine))
        for experiment in load_experiments(job.configs):
            if experiment.id not in job.ids:
                continue
            try:
                with calling("making it"):
                    found[experiment.id] = _made(job.revision, runs.run(experiment))
            except QuantbenchError as error:
                found[experiment.id] = job.revision.told(error).removeprefix(f"{experiment.id}: ")
    return found


@contextmanager
def standing_in(revision: Revision) -> Iterator[None]:
    """The revision's project as the current folder, and its modules in the place of the working tree's."""
    folder, paths, environment = Path.cwd(), list(sys.path), dict(os.environ)
    for name in PLACES:
        if name in os.environ:
            # They count from the folder that this run was started in.
            os.environ[name] = str(plain(os.environ[name]))
    sys.path[:] = list(dict.fromkeys([str(revision.project), *map(str, map(_mapped(revision), paths))]))
    os.chdir(revision.project)
    try:
        yield
    finally:
        os.chdir(folder)
        sys.path[:] = paths
        os.environ.clear()
        os.environ.update(environment)


def _mapped(revision: Revision) -> Any:
    def mapped(entry: str) -> str:
        if INSTALLED & set(Path(entry).parts):
            return entry
        own = revision.counterpart(Path(entry))
        return str(own) if own.exists() else entry

    return mapped


def _made(revision: Revision, run: Run) -> Made:
    experiment = run.experiment
    shared = _shared(revision, experiment)
    artifact = run.candidate.artifact
    own_code = _own_code(revision, experiment, artifact)
    files = tuple(plain(path) for path in artifact.files)
    return Made(
        artifact=replace(artifact, files=files),
        described=run.backend.describe(artifact),
        facts=facts_of(experiment),
        inputs=inputs_of(run),
        own_code=own_code,
        evaluation=run.evaluation if own_code else None,
        shared=shared,
    )


def facts_of(experiment: Experiment) -> dict[str, Any]:
    """The configuration of an experiment's candidate, as JSON."""
    config = experiment.workload.config
    reference = config.reference and config.reference.model_dump(mode="json")
    return {
        "recipe": describe(experiment.recipe),
        "backend": {"name": experiment.backend.name, **experiment.backend.params},
        "data": config.data.model_dump(mode="json"),
        "task": config.task.model_dump(mode="json"),
        "reference": reference or (config.model and config.model.model_dump(mode="json")),
    }


def changed_inputs(base: Inputs, head: Inputs) -> list[str]:
    """Names of files and samples that are not the same, in words."""
    words = {"baseline": "the reference", "weights": "the weights", "calibration": "the calibration samples",
             "test": "the test samples"}  # fmt: skip
    told = [name for name in head.differing(base) if name in words]
    # A file made elsewhere is calibrated with none of ours.
    is_none = "calibration" in told and NO_SAMPLES in (base.calibration, head.calibration)
    return [words[name] for name in told if not (is_none and name == "calibration")]


def _shared(revision: Revision, experiment: Experiment) -> tuple[str, ...]:
    """Links to data of the working tree that is not under version control."""
    config, folder = experiment.workload.config, plain(experiment.workload.path.parent)
    found = []
    for text in _texts(config.data.model_dump(mode="json")):
        for path in (beside(folder, Path(text)), beside(Path.cwd(), Path(text))):
            with suppress(OSError, ValueError):
                own = plain(path)
                if not own.is_relative_to(revision.root) or own.exists():
                    continue
                here = revision.top / own.relative_to(revision.root)
                if here.exists():
                    own.parent.mkdir(parents=True, exist_ok=True)
                    own.symlink_to(here)
                    found.append(str(own.relative_to(revision.root)))
    return tuple(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)


def _own_code(revision: Revision, experiment: Experiment, artifact: Artifact) -> tuple[str, ...]:
    """Modules of the revision that the working tree has in another form, where the artifact cannot be loaded without.

    Raises:
        ConfigError: if a module came from the working tree although the revision has another one.
    """
    outside = [BACKENDS.outside_module(artifact.backend.name)]
    if artifact.model is not None:
        outside.append(MODELS.outside_module(artifact.model.name))
    is_needed = any(outside) or (isinstance(experiment.recipe, Function) and artifact.model is not None)
    differing = []
    for name, (file, signature) in loaded_code().items():
        path = Path(file)
        if not file or INSTALLED & set(path.parts):
            continue
        if path.is_relative_to(revision.root):
            here = revision.top / path.relative_to(revision.root)
            if signature_of(str(here)) != signature:
                differing.append(name)
        elif (own := revision.counterpart(path)) != path and own.exists() and signature_of(str(own)) != signature:
            raise ConfigError(
                f"module '{name}' is imported from {file}, the working tree's, and is another one at {revision.name}; "
                "leave it out of what is installed, so that it is imported from the project's folder"
            )
    return tuple(differing) if is_needed else ()
