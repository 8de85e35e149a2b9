"""An experiment measured: every quantity computed once, when first asked for, however many claims look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from quantbench.backends.interface import Artifact, Backend, Coverage, Predictor
from quantbench.config.schema import Experiment
from quantbench.errors import QuantbenchError
from quantbench.experiment.artifact import backend_of, candidate
from quantbench.experiment.baseline import Baseline
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.costs import Costs
from quantbench.experiment.fine_tuning import fine_tune
from quantbench.experiment.outputs import told_choice, told_forms
from quantbench.experiment.repetition import Repetitions
from quantbench.experiment.results import Results
from quantbench.experiment.sampling import Sampling
from quantbench.experiment.timing import Untimed, check_timed, check_unchanged, latency_of, looks_of
from quantbench.experiment.workload import OpenWorkload
from quantbench.foreign import about, calling
from quantbench.measure.belief import believed, measurement
from quantbench.measure.confirmation import TimingJob, answers, time_in_fresh_process
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import Evaluation
from quantbench.measure.fresh import foresee
from quantbench.measure.latency import (
    FP32,
    FP32_AGAIN,
    FP32_FASTEST,
    INT8,
    Forwards,
    Timings,
    quiet_process,
    time_forwards,
    untimed_reason,
)
from quantbench.recipes.spec import Fp32, ReadyMade, Trained, describe
from quantbench.records.against import SinceBase
from quantbench.records.run import RunRecord, VerdictRecord
from quantbench.stats.multiplicity import Family
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import Measurement, SpeedQuestions
from quantbench.torch_process import get_threads

# In messages.
MODEL = "the quantized model"


@dataclass(frozen=True)
class Settings:
    """Settings that a whole session shares.

    Attributes:
        golden: folder of goldens and baselines.
        engine: quantized engine, or None for the processor's.
        retrain: train QAT experiments for real.
        amp: in bf16, those that are trained.
        family: the gates of the session that share its false alarms.
        sequential: stop at the sample that decides every gate; None: as the workload says, or where its test set is
            large.

    Example:
        >>> Settings(golden=Path("golden"), engine="qnnpack").retrain
        False
    """

    golden: Path
    engine: str | None = None
    retrain: bool = False
    amp: bool = False
    family: Family = field(default_factory=lambda: Family(1))
    sequential: bool | None = False


@dataclass
class Run(Results):
    """One experiment's measurements.

    Attributes:
        failed_controls: the session's, shared by its runs.
        repetitions: the session's second conversions.
        not_timed: why nothing was timed.
        notes: lines about what was done to samples and outputs because the candidate's file asks for it.
        compile_s: seconds that the candidate took to compile; None where nothing is compiled.
        twin: gives the run of another experiment of the workload, by name, which this one is compared with.
        sampling: samples that its figures are judged on, once they were looked at; None where all are and nobody asked.
        since_base: what became of it since the revision that the run is measured against; None without one.

    Example:
        >>> from quantbench.stats.verdicts import at_least
        >>> run = Run(experiment=None, baseline=None, settings=Settings(golden=Path("golden")))
        >>> verdict = run.add_verdict(at_least("size_ratio", 3.9, None, 3.5, 1, "3.9×", "×"))
        >>> run.verdicts["size_ratio"].outcome.value
        'PASS'
    """

    experiment: Experiment
    baseline: Baseline
    settings: Settings
    failed_controls: dict[str, str] = field(default_factory=dict)
    repetitions: Repetitions = field(default_factory=Repetitions)
    not_timed: str = "nothing was timed"
    notes: list[str] = field(default_factory=list)
    compile_s: float | None = None
    twin: Callable[[str], Run] | None = None
    sampling: Sampling | None = None
    since_base: SinceBase | None = None
    _confirmed: dict[str, Measurement] = field(default_factory=dict)
    _refused: QuantbenchError | None = None
    _is_timed_checked: bool = False
    _timed: dict[str, Predictor] = field(default_factory=dict)
    _untimeable: QuantbenchError | None = None

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
    def candidate(self) -> BuiltArtifact:
        """The quantized artifact on disk, with what its model gave before it was saved; a failure is kept too."""
        if self._refused is not None:
            raise self._refused
        how, source = self.settings, self.baseline.artifact
        if not isinstance(self.experiment.recipe, ReadyMade):
            # The claim on determinism quantizes again in a fresh process.
            foresee(self.backend.quantizes_with)
        try:
            with calling("quantizing"):
                if how.retrain and isinstance(self.experiment.recipe, Trained):
                    fine_tune(self.opened, self.experiment, self.backend, source, how.amp)
                return candidate(self.opened, self.experiment, self.backend, source)
        except QuantbenchError as error:
            self._refused = error
            raise

    @property
    def is_made(self) -> bool:
        """The candidate is there already."""
        return "candidate" in vars(self)

    @property
    def artifact(self) -> Artifact:
        """The same as its files alone."""
        return self.candidate.artifact

    @cached_property
    def counterpart(self) -> Costs:
        """The reference as the backend of the candidate runs it: what its size, work, memory and speed are held to.

        A candidate that was made elsewhere is held to the reference as it is, where it cannot be written so.
        """
        try:
            return self.baseline.lowered_to(self.backend)
        except QuantbenchError as error:
            if not isinstance(self.experiment.recipe, ReadyMade):
                raise
            self.notes.append(f"size, memory and speed are over the reference as it is: {error}")
            return self.baseline

    def loaded(self, threads: int) -> Predictor:
        """The quantized model as loaded from its file, never the object that was converted."""
        backend, artifact = self.backend, self.artifact
        with about(MODEL):
            return backend.load(artifact, threads)

    @cached_property
    def kernels(self) -> Coverage | None:
        """The kernels of the quantized model that run the batch that is timed; None where its backend does not tell.

        Raises:
            MeasurementError: if no operator was seen that multiplies, or might.
        """
        return self.backend.kernels(self.artifact, self.baseline.latency_inputs)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The quantized model on the whole test split."""
        if self.sampling is not None and self.sampling.is_part:
            self.notes.append(
                f"all {self.sampling.total:,} test samples were evaluated after all, since a quantity asked for them"
            )
        predictor = self.loaded(get_threads())
        with about(MODEL):
            found = self.opened.evaluated(predictor)
            self.note_outputs(predictor)
            return found

    def note_outputs(self, predictor: Predictor) -> None:
        """Notes what is odd about the outputs of the quantized model that was evaluated."""
        task, outputs = self.opened.task, self.candidate.probe
        found = [*told_choice(task, outputs), *told_forms(task, self.baseline.probe, outputs)]
        found += [f"{self.artifact.path.name}: {note}" for note in predictor.notes]
        self.notes += [line for line in found if line not in self.notes]
        self.compile_s = predictor.compile_s

    @property
    def reference_evaluation(self) -> Evaluation:
        """The reference on the test split, as accurate as its card says, unless a gate of the reference judges that.

        Raises:
            BaselineError: if it is not.
        """
        judged = isinstance(self.experiment.recipe, Fp32) and "card_drift_pp" in self.experiment.config.gates.bounds
        return self.baseline.evaluation if judged else self.baseline.checked_evaluation

    @property
    def failed_control(self) -> str | None:
        """An A/A control of the session that failed, in words: the run's own, or else another experiment's."""
        if (own := self.failed_controls.get(self.experiment.id)) is not None:
            return own
        return next((f"{control} in {id_}" for id_, control in self.failed_controls.items()), None)

    def note_failed_control(self, control: str) -> None:
        """Notes for the whole session that an A/A control of this run failed.

        Args:
            control: what it was, in words.
        """
        self.failed_controls[self.experiment.id] = control

    def leave_untimed(self, reason: str) -> None:
        """Notes why nothing is timed; verdicts on speed are INCONCLUSIVE for that reason."""
        self.not_timed = reason

    def forwards(self) -> Forwards:
        """The forwards that are timed against each other, on one batch of the test split.

        The quantized model is one that never ran: its convolutions keep what they prepare for the first batch's shape
        and number of threads, and are slower for all others, so that a model that was evaluated before would lose to
        one that was not (`benchmarks/first_batch.py`).
        """
        threads = self.experiment.workload.config.latency.threads
        counterpart, inputs = self.counterpart, self.baseline.latency_inputs
        fp32, fastest = counterpart.timed, self.baseline.fastest.predictor
        if not self._is_timed_checked:
            for name, load in (("fp32", counterpart.loaded), ("quantized", self.loaded)):
                check_timed(self.opened, name, load(threads), load(threads), inputs)
            self._is_timed_checked = True
        model = self.loaded(threads)
        # Of each what its file takes, so that steps to it are timed of none.
        given, prepared, own = (each.prepared(inputs) for each in (fp32, fastest, model))
        self._timed = {"fp32": fp32, "fastest fp32": fastest, "quantized": model}
        return {
            FP32: lambda: fp32(given),
            FP32_AGAIN: lambda: fp32(given),
            FP32_FASTEST: lambda: fastest(prepared),
            INT8: lambda: model(own),
        }

    def check_forwards(self) -> None:
        """Loads what is timed, once for all claims on speed.

        Raises:
            QuantbenchError: if that is impossible.
        """
        if not self._timed:
            self.forwards()

    @property
    def looks(self) -> Looks:
        """At its timings, as planned before the first round."""
        return looks_of(self.experiment.workload.config.latency)

    def time_forwards(self, questions: SpeedQuestions) -> Timings | None:
        """Times the forwards until the questions are answered or time is up; None where this machine cannot.

        Raises:
            EvaluationError: if a model did not do the same all along; kept for whoever asks again.
        """
        if self._untimeable is not None:
            raise self._untimeable
        config = self.experiment.workload.config.latency
        if (reason := untimed_reason(config.threads)) is not None:
            self.leave_untimed(reason)
            return None
        self.repetitions.wait()
        forwards = self.forwards()

        def decided(timings: Timings) -> bool:
            return answers(timings, self.looks, config.threads, questions)

        def doubted(timings: Timings) -> bool:
            return not believed(timings, self.looks, config.threads).is_sound

        with quiet_process(config.threads):
            timings = time_forwards(
                forwards, self.looks, config.budget_s, decided, doubted=doubted, wait_s=config.wait_s
            )
        try:
            self._check_unchanged()
        except QuantbenchError as error:
            self._untimeable = error
            raise
        self.add_timings(timings)
        return timings

    def _check_unchanged(self) -> None:
        """Compares the models that were timed with fresh ones."""
        threads = self.experiment.workload.config.latency.threads
        untimed = {
            "fp32": self.counterpart.untimed,
            "fastest fp32": self.baseline.fastest.source.untimed,
            "quantized": Untimed(partial(self.loaded, threads), lambda: self.kernels, self.baseline.timed_and_others),
        }
        for name, timed in self._timed.items():
            check_unchanged(name, untimed[name], timed)

    def add_timings(self, timings: Timings) -> None:
        """Makes timings of `forwards` the run's measurement of speed."""
        config, left_out = self.experiment.workload.config.latency, self.baseline.left_out
        latency = latency_of(timings, config, self.baseline.fastest.name, left_out)
        self.results["latency"] = latency
        if latency.strayed:
            low, high = latency.control_interval
            self.note_failed_control(f"{latency.control:.3f}× [{low:.3f}, {high:.3f}]")

    def confirmation(self, questions: SpeedQuestions, reference: str = FP32) -> Measurement:
        """The measurement made again by a fresh process, once for all verdicts on speed over one reference.

        Args:
            questions: asked at each look.
            reference: `FP32`, or `FP32_FASTEST` for the fastest fp32 form.
        """
        if reference not in self._confirmed:
            self._confirmed[reference] = self._time_again(questions, reference)
        return self._confirmed[reference]

    def timing_job(self, questions: SpeedQuestions, seed: int = 1, reference: str = FP32) -> TimingJob:
        """Job of a fresh process that is to time this run's forwards until the questions are answered."""
        config, fastest = self.experiment.workload.config.latency, self.baseline.fastest
        is_fastest = reference == FP32_FASTEST
        return TimingJob(
            candidate=self.artifact,
            reference=fastest.source.artifact if is_fastest else self.counterpart.artifact,
            form=fastest.form if is_fastest else None,
            inputs=self.baseline.latency_inputs,
            threads=config.threads,
            looks=self.looks,
            budget_s=config.budget_s,
            questions=questions,
            seed=seed,
        )

    def _time_again(self, questions: SpeedQuestions, reference: str) -> Measurement:
        job = self.timing_job(questions, reference=reference)
        return measurement(time_in_fresh_process(job), job.looks, job.threads)

    def record(self, command: str) -> RunRecord:
        """Everything measured so far; nothing is computed for it."""
        return RunRecord.model_validate(
            self.parts
            | {
                "experiment": self.experiment.id,
                "recipe_name": self.experiment.config.recipe.name,
                "recipe": describe(self.experiment.recipe),
                "backend": self.experiment.backend.name,
                "engine": self.engine,
                "threads": get_threads(),
                "environment": environment(),
                "data_name": self.experiment.workload.config.data.name,
                "data_note": self.experiment.workload.config.data_note,
                "test_sha256": self.opened.splits.test.sha256,
                "baseline_sha256": self.opened.reference_sha256,
                "command": command,
                "compile_s": self.compile_s,
                "since_base": self.since_base,
                "verdicts": [VerdictRecord.of(verdict) for verdict in self.verdicts.values()],
            }
        )
