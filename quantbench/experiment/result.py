"""The circumstances of a run, and the run as kinds of goldens see it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from quantbench.config.schema import EvaluationConfig, Experiment, RegressionConfig
from quantbench.errors import NoEvidenceError
from quantbench.experiment.artifact import weights_sha256
from quantbench.experiment.run import Run
from quantbench.files import sha256_of_json
from quantbench.golden.accepted import AcceptedResult, AcceptedSpeedup
from quantbench.golden.circumstances import Inputs, MachineClass
from quantbench.measure.environment import RUNTIMES, environment
from quantbench.recipes.spec import ReadyMade
from quantbench.recipes.translation import accepted_form
from quantbench.records.run import Latency
from quantbench.torch_process import get_threads

# The task without which configurations were accepted before there were others.
DEFAULT_TASK = "top1"
# Hash of a split without samples.
NO_SAMPLES = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class RunEvidence:
    """A run as kinds of goldens see it: `quantbench.golden.interface.Evidence`."""

    run: Run

    @property
    def experiment(self) -> Experiment:
        """Experiment that was run."""
        return self.run.experiment

    @property
    def golden(self) -> Path:
        """The folder of all goldens."""
        return self.run.settings.golden

    @property
    def engine(self) -> str:
        """The quantized engine in use."""
        return self.run.engine

    @property
    def observers(self) -> Any:
        """Those that chose the scales."""
        return self.run.artifact.observers

    @cached_property
    def inputs(self) -> Inputs:
        """Hashes of all that the run computes from."""
        return inputs_of(self.run)

    @property
    def versions(self) -> dict[str, str]:
        """Of everything that computes."""
        return versions_of_run(self.run)

    @property
    def machine(self) -> MachineClass:
        """The class of this machine, with the threads that it computes with."""
        return machine_of(self.run, get_threads())

    @property
    def timing_machine(self) -> MachineClass:
        """The same with the threads that forwards are timed with."""
        return timing_machine(self.run)

    @property
    def latency(self) -> Latency | None:
        """Timings, or None if nothing was timed."""
        return self.run.latency

    @property
    def not_timed(self) -> str:
        """Reason why nothing was timed."""
        return self.run.not_timed

    def measured(self, part: str) -> Any:
        """A part of the run's record; None where there is no evidence of it."""
        try:
            return self.run.measured(part)
        except NoEvidenceError:
            return None


def inputs_of(run: Run) -> Inputs:
    """Hashes of all that the run's figures are computed from."""
    config, splits = run.experiment.workload.config, run.opened.splits
    configured = {
        **_model_of(run),
        "data": config.data.model_dump(mode="json"),
        "recipe": accepted_form(run.experiment.recipe),
        "backend": run.experiment.backend.described,
    }
    if (task := run.experiment.workload.config.task.described) != DEFAULT_TASK:
        configured["task"] = task
    # At its default it goes without saying, as it did when hashes of it were accepted.
    # Nor does it say anything of what is accepted, which is of all samples, whether later runs stop before the last.
    evaluation = run.experiment.workload.config.evaluation.model_copy(update={"sequential": None})
    if evaluation != EvaluationConfig():
        configured["evaluation"] = evaluation.model_dump(mode="json")
    return Inputs(
        config=sha256_of_json(configured),
        baseline=run.opened.reference_sha256,
        weights=weights_sha256(run.opened, run.experiment, run.backend),
        # A file made elsewhere is calibrated with none of ours, which need not be decoded.
        calibration=NO_SAMPLES if isinstance(run.experiment.recipe, ReadyMade) else splits.calibration.sha256,
        test=splits.test.sha256,
    )


def _model_of(run: Run) -> dict[str, Any]:
    """The factory of the model, or the backend that loads the reference's file."""
    if (file := run.opened.reference_file) is not None:
        return {"reference": {"name": file.backend.name, **file.backend.params}}
    return {"model": {"name": run.opened.model.name, **run.opened.model_params()}}


def versions_of_run(run: Run) -> dict[str, str]:
    """Versions of everything that computes, below the name of the operating system that it computes on."""
    here, used = environment(), libraries_of(run)
    # Of a runtime that is installed and not used, nothing follows.
    versions = {name: version for name, version in here.versions.items() if name not in RUNTIMES or name in used}
    return {"system": here.system.partition(" ")[0], "python": here.python, **versions}


def libraries_of(run: Run) -> set[str]:
    """Distributions whose kernels compute the candidate and its reference."""
    return {*run.backend.libraries, *run.baseline.backend.libraries}


def machine_of(run: Run, threads: int) -> MachineClass:
    """The class of this machine, with that many threads."""
    return MachineClass.of(environment(), run.engine, threads, libraries_of(run))


def timing_machine(run: Run) -> MachineClass:
    """The class of this machine as the run's forwards are timed on it."""
    return machine_of(run, run.experiment.workload.config.latency.threads)


def margin_of(run: Run) -> RegressionConfig:
    """Margin by which the experiment may be worse than accepted."""
    return run.experiment.workload.config.regression


def accepted_speedup(run: Run, accepted: AcceptedResult | None) -> AcceptedSpeedup | None:
    """The accepted speed-up that this run's can be compared with: of this class of machine, batch and inputs."""
    return None if no_accepted_speedup(run, accepted) else _speedup_here(run, accepted)


def no_accepted_speedup(run: Run, accepted: AcceptedResult | None) -> str | None:
    """Words for what is not as it was when a speed-up was accepted; None where this run's can be compared with it."""
    found, batch_size = _speedup_here(run, accepted), run.experiment.workload.config.latency.batch_size
    if found is None:
        return f"no baseline for this machine ({timing_machine(run)}) was accepted"
    if found.batch_size != batch_size:
        before = f"the baseline for this machine was accepted with batches of {found.batch_size}"
        return f"{before}, and these are of {batch_size}"
    if differing := found.inputs.differing(inputs_of(run)):
        return f"the baseline for this machine was accepted with other inputs: {', '.join(differing)} changed since"
    return None


def _speedup_here(run: Run, accepted: AcceptedResult | None) -> AcceptedSpeedup | None:
    return accepted.speedup_on(timing_machine(run)) if accepted else None
