"""An experiment measured: every quantity computed once, when first asked for, however many claims look at it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quantbench.arrays import Outputs
from quantbench.backends.checkpoint import describe_entry
from quantbench.backends.interface import Artifact, Backend, Coverage, Predictor
from quantbench.config.schema import Experiment, Workload
from quantbench.errors import GoldenError
from quantbench.experiment.artifact import Built, backend_of, candidate, one_sample, probe_inputs
from quantbench.experiment.baseline import Baseline
from quantbench.experiment.fine_tuning import fine_tune
from quantbench.experiment.repetition import Repetition, repeat_in_fresh_process
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import sha256_of_file
from quantbench.golden.documents import checkpoint_name
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.confirmation import TimingJob, time_in_fresh_process
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import Evaluation, evaluate
from quantbench.measure.latency import (
    FP32,
    FP32_AGAIN,
    FP32_FASTEST,
    INT8,
    LATENCY_LEVEL,
    Forwards,
    Timings,
    quiet_process,
    time_forwards,
    why_not_timed,
)
from quantbench.measure.memory import compared
from quantbench.measure.reload import reload_in_fresh_process
from quantbench.recipes.spec import Trained, describe
from quantbench.records.base import pack_bits
from quantbench.records.run import (
    Accuracy,
    CheckpointFacts,
    CoverageFacts,
    Latency,
    Memory,
    RunRecord,
    Size,
    VerdictRecord,
)
from quantbench.records.search import SearchRecord
from quantbench.stats.multiplicity import Family
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import SpeedQuestions, Speedup
from quantbench.stats.verdicts import Verdict

ACCURACY_LEVEL = 0.95


@dataclass(frozen=True)
class Settings:
    """What a whole session shares.

    Attributes:
        golden: folder of goldens and baselines.
        engine: quantized engine, or None for the processor's.
        retrain: train QAT experiments for real.
        amp: in bf16, those that are trained.
        family: the gates of the session that share its false alarms.
    """

    golden: Path
    engine: str | None = None
    retrain: bool = False
    amp: bool = False
    family: Family = field(default_factory=lambda: Family(1))


@dataclass
class Session:
    """Opens each workload and runs each experiment at most once.

    Attributes:
        strayed: experiments whose A/A control strayed, with what it was; while there is one, no speed-up is believed.
    """

    settings: Settings
    baselines: dict[str, Baseline] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    strayed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_freed_memory()

    def baseline(self, workload: Workload) -> Baseline:
        """The workload's baseline, shared by its experiments."""
        if workload.name not in self.baselines:
            self.baselines[workload.name] = Baseline(OpenWorkload(workload, self.settings.golden))
        return self.baselines[workload.name]

    def control_sentences(self) -> list[str]:
        """What the A/A controls of the session say of the machine; nothing if nothing was timed."""
        controls = [run.latency.control for run in self.runs.values() if run.latency is not None]
        if not controls:
            return []
        if self.strayed:
            return [
                f"A/A control strayed in {len(self.strayed)} of {len(controls)} measurements of speed: no verdict on "
                "speed of this run counts, the machine is too noisy"
            ]
        return [
            f"A/A control held in each measurement of speed: fp32 against itself was {min(controls):.3f}–"
            f"{max(controls):.3f}× (n={len(controls)})"
        ]

    def run(self, experiment: Experiment) -> Run:
        """The experiment's run."""
        if experiment.id not in self.runs:
            self.runs[experiment.id] = Run(experiment, self.baseline(experiment.workload), self.settings, self.strayed)
        return self.runs[experiment.id]


@dataclass
class Run:
    """One experiment's measurements.

    Attributes:
        strayed: the session's, shared by its runs.
        latency: what was timed, or None if nothing was.
        not_timed: why nothing was.
        search: what its search found, or None if there was none.
    """

    experiment: Experiment
    baseline: Baseline
    settings: Settings
    strayed: dict[str, str] = field(default_factory=dict)
    latency: Latency | None = None
    not_timed: str = "nothing was timed"
    search: SearchRecord | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    _confirmed: tuple[Speedup, Speedup] | None = None

    @property
    def opened(self) -> OpenWorkload:
        """Its workload."""
        return self.baseline.opened

    @cached_property
    def backend(self) -> Backend:
        """The experiment's backend."""
        return backend_of(self.experiment, self.settings.engine)

    @property
    def engine(self) -> str:
        """The quantized engine in use."""
        return self.backend.engine

    @cached_property
    def candidate(self) -> Built:
        """The quantized artifact on disk, with what its model gave before it was saved."""
        how, source = self.settings, self.baseline.artifact
        if how.retrain and isinstance(self.experiment.recipe(), Trained):
            fine_tune(self.opened, self.experiment, self.backend, source, how.amp)
        return candidate(self.opened, self.experiment, self.backend, source)

    @property
    def artifact(self) -> Artifact:
        """The same as its files alone."""
        return self.candidate.artifact

    def loaded(self, threads: int) -> Predictor:
        """The quantized model as loaded from its file, never the object that was converted."""
        return self.backend.load(self.artifact, threads)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The quantized model on the test split."""
        return evaluate(self.loaded(torch.get_num_threads()), self.opened.splits.test, self.opened.task)

    @cached_property
    def accuracy(self) -> Accuracy:
        """Both models on the same samples."""
        return paired_accuracy(self.baseline.evaluation, self.evaluation)

    @cached_property
    def size(self) -> Size:
        """Bytes of both files."""
        quantized = self.artifact.size_bytes
        return Size(
            fp32_bytes=self.baseline.size_bytes,
            quantized_bytes=quantized,
            ratio=self.baseline.size_bytes / quantized,
        )

    @cached_property
    def memory(self) -> Memory:
        """Peak resident memory of one forward of either model.

        Raises:
            MeasurementError: if this machine cannot say.
        """
        config = self.experiment.workload.config.latency
        return compared(self.baseline.memory, self.baseline.memory_of(self.artifact), config.batch_size, config.threads)

    @cached_property
    def coverage(self) -> Coverage | None:
        """What ran as int8; None where the backend does not tell."""
        return self.backend.kernels(self.artifact, one_sample(self.opened))

    @cached_property
    def checkpoint(self) -> CheckpointFacts:
        """The file as a fresh process finds it."""
        built, artifact = self.candidate, self.artifact
        reloaded = reload_in_fresh_process(artifact, probe_inputs(self.opened), torch.get_num_threads())
        return CheckpointFacts(
            sha256=sha256_of_file(artifact.path),
            payload_bytes=reloaded.description.payload_bytes,
            keys=reloaded.description.keys,
            reload_identical=_bytes(built.probe) == _bytes(reloaded.outputs),
            largest_difference=_largest_difference(built.probe, reloaded.outputs),
        )

    @cached_property
    def repetition(self) -> Repetition:
        """What comes out when a fresh process quantizes once more."""
        return repeat_in_fresh_process(self.experiment, self.settings.golden, self.engine)

    def golden_document(self) -> dict[str, Any]:
        """What is accepted as this experiment's golden: exact on every machine with the same engine."""
        return {
            "engine": self.engine,
            "recipe": describe(self.experiment.recipe()),
            "observers": self.artifact.observers,
            "payload_bytes": self.checkpoint.payload_bytes,
            "keys": {key: describe_entry(entry) for key, entry in self.checkpoint.keys.items()},
        }

    @property
    def golden_name(self) -> str:
        """Its golden's path below `golden/checkpoints/`."""
        return checkpoint_name(self.experiment, self.engine)

    def check_control(self) -> None:
        """Refuses to accept anything in a session in which an A/A control strays.

        Raises:
            GoldenError: with what the control was.
        """
        control = self.baseline.control
        if control is not None and control.strays:
            words = f"{control.estimate:.3f}× [{control.interval.low:.3f}, {control.interval.high:.3f}]"
            self.strayed.setdefault(self.experiment.id, words)
            raise GoldenError(
                f"nothing is accepted: the machine is too noisy: fp32 against itself was {words}; update on a quiet "
                "machine"
            )

    def forwards(self) -> Forwards:
        """The forwards that are timed against each other, on one batch of the test split.

        The quantized model is one that never ran: its convolutions keep what they prepare for the first batch's shape
        and number of threads, and are slower for all others, so that a model that was evaluated before would lose to
        one that was not (`benchmarks/first_batch.py`).
        """
        model = self.loaded(self.experiment.workload.config.latency.threads)
        fp32, fastest, inputs = self.baseline.timed, self.baseline.fastest[1], self.baseline.latency_inputs
        prepared, own = fastest.prepared(inputs), model.prepared(inputs)
        return {
            FP32: lambda: fp32(inputs),
            FP32_AGAIN: lambda: fp32(inputs),
            FP32_FASTEST: lambda: fastest(prepared),
            INT8: lambda: model(own),
        }

    @property
    def looks(self) -> Looks:
        """At its timings, as planned before the first round."""
        config = self.experiment.workload.config.latency
        return Looks(config.rounds, config.looks, LATENCY_LEVEL)

    def time_forwards(self, questions: SpeedQuestions) -> Timings | None:
        """Times the forwards until the questions are answered or time is up; None where this machine cannot."""
        config = self.experiment.workload.config.latency
        if (reason := why_not_timed(config.threads)) is not None:
            self.not_timed = reason
            return None
        forwards = self.forwards()

        def decided(timings: Timings) -> bool:
            return questions.answered(Speedup.of(timings.speedup(), self.looks))

        with quiet_process(config.threads):
            timings = time_forwards(forwards, self.looks, config.budget_s, decided)
        self.latency = self.latency_of(timings)
        if self.latency.strayed:
            low, high = self.latency.control_interval
            self.strayed[self.experiment.id] = f"{self.latency.control:.3f}× [{low:.3f}, {high:.3f}]"
        return timings

    def confirmation(self, questions: SpeedQuestions) -> tuple[Speedup, Speedup]:
        """Speed-up and A/A control as a fresh process measures them, once for all verdicts on speed."""
        if self._confirmed is None:
            self._confirmed = self._time_again(questions)
        return self._confirmed

    def timing_job(self, questions: SpeedQuestions, seed: int = 1) -> TimingJob:
        """What a fresh process needs to time this run's forwards until the questions are answered."""
        config = self.experiment.workload.config.latency
        return TimingJob(
            candidate=self.artifact,
            reference=self.baseline.artifact,
            inputs=self.baseline.latency_inputs,
            threads=config.threads,
            looks=self.looks,
            budget_s=config.budget_s,
            questions=questions,
            seed=seed,
        )

    def _time_again(self, questions: SpeedQuestions) -> tuple[Speedup, Speedup]:
        timings = time_in_fresh_process(self.timing_job(questions))
        return Speedup.of(timings.speedup(), self.looks), Speedup.of(timings.control, self.looks)

    def latency_of(self, timings: Timings) -> Latency:
        """The timings with their ratios."""
        config = self.experiment.workload.config.latency
        plain, fastest, control = (
            Speedup.of(ratios, self.looks)
            for ratios in (timings.speedup(), timings.speedup(FP32_FASTEST), timings.control)
        )
        seconds = {f"{form}_s": values.tolist() for form, values in timings.seconds.items()}
        return Latency(
            batch_size=config.batch_size,
            threads=config.threads,
            memory_kept=keep_freed_memory(),
            fastest_form=self.baseline.fastest[0],
            rounds=timings.rounds,
            warmup_rounds=timings.warmup_rounds,
            looks=timings.looks,
            planned_looks=self.looks.count,
            out_of_time=timings.out_of_time,
            level=LATENCY_LEVEL,
            speedup=plain.estimate,
            speedup_interval=(plain.interval.low, plain.interval.high),
            speedup_over_fastest=fastest.estimate,
            speedup_over_fastest_interval=(fastest.interval.low, fastest.interval.high),
            control=control.estimate,
            control_interval=(control.interval.low, control.interval.high),
            strayed=control.strays,
            **seconds,
        )

    def record(self, command: str) -> RunRecord:
        """Everything measured so far; nothing is computed for it."""
        done = self.__dict__
        coverage = done.get("coverage")
        return RunRecord(
            experiment=self.experiment.id,
            recipe_name=self.experiment.config.recipe.name,
            recipe=describe(self.experiment.recipe()),
            backend=self.experiment.config.backend,
            engine=self.engine,
            threads=torch.get_num_threads(),
            environment=environment(),
            data_name=self.experiment.workload.config.data.name,
            data_note=self.experiment.workload.config.data_note,
            test_sha256=self.opened.splits.test.sha256,
            baseline_sha256=sha256_of_file(self.opened.weights_path),
            command=command,
            accuracy=done.get("accuracy"),
            size=done.get("size"),
            checkpoint=done.get("checkpoint"),
            coverage=coverage and CoverageFacts(**asdict(coverage), int8_share=coverage.int8_share),
            latency=self.latency,
            memory=done.get("memory"),
            verdicts=[
                VerdictRecord(
                    quantity=v.quantity,
                    outcome=v.outcome,
                    measured=v.measured,
                    requirement=v.requirement,
                    change=v.change,
                )
                for v in self.verdicts.values()
            ],
        )


def paired_accuracy(before: Evaluation, after: Evaluation) -> Accuracy:
    """Two models on the same samples: before and after quantizing, or before and after quantizing further."""
    outcomes = PairedOutcomes.from_correct(before.correct, after.correct)
    interval = tango_interval(outcomes, ACCURACY_LEVEL)
    own = wilson_interval(int(after.correct.sum()), outcomes.n, ACCURACY_LEVEL)
    return Accuracy(
        n=outcomes.n,
        fp32=before.accuracy,
        quantized=after.accuracy,
        lost=outcomes.lost,
        gained=outcomes.gained,
        drop_pp=100 * outcomes.drop,
        drop_interval_pp=(100 * interval.low, 100 * interval.high),
        level=ACCURACY_LEVEL,
        quantized_interval=(own.low, own.high),
        fp32_correct=pack_bits(before.correct),
        quantized_correct=pack_bits(after.correct),
    )


def _bytes(outputs: Outputs) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in outputs.items()}


def _largest_difference(saved: Outputs, loaded: Outputs) -> float:
    """Of two sets of outputs; −1 where shapes differ or a value is not finite, since JSON has no NaN."""
    if {name: array.shape for name, array in saved.items()} != {name: array.shape for name, array in loaded.items()}:
        return -1.0
    if not all(np.isfinite(array).all() for array in (*saved.values(), *loaded.values())):
        return -1.0
    return max(float(np.abs(array - loaded[name]).max()) for name, array in saved.items())
