"""Runs of a session: workloads opened and experiments run once, whoever asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from quantbench.config.reading import check_outside, load_workload
from quantbench.config.schema import Experiment, Workload
from quantbench.experiment.baseline import Baseline
from quantbench.experiment.repetition import Repetitions
from quantbench.experiment.run import Run, Settings
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import cache_dir
from quantbench.measure.allocator import keep_freed_memory
from quantbench.records.run import Latency
from quantbench.temporary import sweep_all


@dataclass
class Runs:
    """Opens each workload and runs each experiment at most once.

    Attributes:
        settings: of all.
        baselines: of the workloads that were opened, by name.
        by_id: runs of the experiments that were asked for.
        failed_controls: experiments whose A/A control failed → its ratio; while there is one, no speed-up is believed.
        compared: runs that others are compared with and nobody asked for, by id.

    Example:
        >>> from quantbench.config.reading import load_workload
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "cnn.yaml"
        ...     written = file.write_text(
        ...         "{workload: {model: {name: cifar_cnn}, data: {name: shapes}, baseline: cnn},"
        ...         " experiments: {ptq: {recipe: {name: static_int8}, gates: {accuracy_drop_pp: 1}}}}"
        ...     )
        ...     (experiment,) = load_workload(file)
        >>> runs = Runs(Settings(golden=Path("golden")))
        >>> run = runs.run(experiment)
        >>> run.experiment.id, run is runs.run(experiment)
        ('cnn/ptq', True)
    """

    settings: Settings
    baselines: dict[str, Baseline] = field(default_factory=dict)
    by_id: dict[str, Run] = field(default_factory=dict)
    failed_controls: dict[str, str] = field(default_factory=dict)
    compared: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repetitions = Repetitions(self.by_id)
        keep_freed_memory()
        sweep_all(cache_dir(), self.settings.golden)

    def baseline(self, workload: Workload) -> Baseline:
        """The workload's baseline, shared by its experiments."""
        if workload.name not in self.baselines:
            self.baselines[workload.name] = Baseline(OpenWorkload(workload, self.settings.golden))
        return self.baselines[workload.name]

    def control_sentences(self) -> list[str]:
        """Summary of the session's A/A controls, for its end; empty if nothing was timed."""
        timed = [run.latency for run in self.by_id.values() if run.latency is not None]
        if not timed:
            return []
        return [*self._aa_sentences([each.control for each in timed]), *_clock_sentences(timed)]

    def _aa_sentences(self, controls: list[float]) -> list[str]:
        if self.failed_controls:
            return [
                f"A/A control strayed in {len(self.failed_controls)} of {len(controls)} measurements of speed: no "
                "verdict on speed of this run counts, the machine is too noisy"
            ]
        few = f"{min(controls):.3f}" + (f"–{max(controls):.3f}" if len(controls) > 1 else "")
        return [f"A/A control held in each measurement of speed: fp32 against itself was {few}× (n={len(controls)})"]

    def form_sentences(self) -> list[str]:
        """A sentence for each form of an fp32 model that was to be timed and cannot run."""
        return [f"{name}: {line}" for name, each in self.baselines.items() for line in each.left_out]

    def warnings(self) -> list[str]:
        """A sentence for each oddity of an fp32 model that was evaluated, and for what a file's inputs asked for."""
        own = [f"{name}: {line}" for name, each in self.baselines.items() for line in each.warnings]
        return [*own, *(f"{id_}: {line}" for id_, each in self.by_id.items() for line in each.notes)]

    def run(self, experiment: Experiment) -> Run:
        """The experiment's run."""
        if experiment.id in self.compared:
            self.by_id[experiment.id] = self.compared.pop(experiment.id)
        if experiment.id not in self.by_id:
            self.by_id[experiment.id] = self._new(experiment)
        return self.by_id[experiment.id]

    def _new(self, experiment: Experiment) -> Run:
        check_outside(experiment)
        baseline = self.baseline(experiment.workload)
        twin = partial(self._twin, experiment)
        return Run(experiment, baseline, self.settings, self.failed_controls, self.repetitions, twin=twin)

    def _twin(self, experiment: Experiment, name: str) -> Run:
        """The run of another experiment of the same workload, which is not reported unless somebody asks for it."""
        found = next(each for each in load_workload(experiment.workload.path) if each.name == name)
        if (run := self.by_id.get(found.id)) is not None:
            return run
        if found.id not in self.compared:
            self.compared[found.id] = self._new(found)
        return self.compared[found.id]


def _clock_sentences(timed: list[Latency]) -> list[str]:
    """Counts of measurements that were not judged by wall time, or not at all, since the machine was busy."""
    by_processor = sum(each.clock == "processor" for each in timed)
    doubted = sum(each.doubt is not None for each in timed)
    lines = []
    if by_processor:
        lines.append(f"{by_processor} of {len(timed)} measurements of speed are by processor time, on a busy machine")
    if doubted:
        lines.append(f"{doubted} of {len(timed)} measurements of speed decide nothing, on a busy machine")
    return lines
