"""A measurement of speed made again by a process that shares nothing with the first but the files."""

from __future__ import annotations

from dataclasses import dataclass

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, Predictor
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.belief import believed
from quantbench.measure.fresh import in_fresh_process
from quantbench.measure.latency import FP32, FP32_AGAIN, FP32_FASTEST, INT8, Timings, quiet_process, time_forwards
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import SpeedQuestions, Speedup


@dataclass(frozen=True)
class TimingJob:
    """All that a fresh process needs to time a candidate against its reference.

    Attributes:
        candidate: the quantized model.
        reference: the fp32 model.
        inputs: the batch whose forward is timed.
        threads: intra-operator threads.
        looks: planned.
        budget_s: seconds for all rounds.
        questions: asked at each look.
        seed: of the order within rounds; another than the first measurement's.
        form: of the reference, by its name in `Backend.forms`; None for the model as it is.
    """

    candidate: Artifact
    reference: Artifact
    inputs: Inputs
    threads: int
    looks: Looks
    budget_s: float
    questions: SpeedQuestions
    seed: int = 1
    form: str | None = None


def run(job: TimingJob) -> Timings:
    """The fresh process's work."""
    keep_freed_memory()
    fp32 = _reference(job)
    int8 = job.candidate.backend.create().load(job.candidate, job.threads)
    given, own = fp32.prepared(job.inputs), int8.prepared(job.inputs)
    forwards = {FP32: lambda: fp32(given), FP32_AGAIN: lambda: fp32(given), INT8: lambda: int8(own)}
    with quiet_process(job.threads):
        return time_forwards(forwards, job.looks, job.budget_s, lambda timings: is_answered(timings, job), job.seed)


def _reference(job: TimingJob) -> Predictor:
    backend = job.reference.backend.create()
    if job.form is None:
        return backend.load(job.reference, job.threads)
    return backend.forms(job.reference, job.threads)[job.form]


def is_answered(timings: Timings, job: TimingJob) -> bool:
    """True if the rounds so far answer the job's questions."""
    return answers(timings, job.looks, job.threads, job.questions)


def answers(timings: Timings, looks: Looks, threads: int, questions: SpeedQuestions) -> bool:
    """True if a clock can be believed and its ratios answer the questions."""
    belief = believed(timings, looks, threads)
    if not belief.is_sound:
        return False
    over = {
        name: Speedup.of(timings.speedup(name, belief.clock), looks)
        for name in (FP32, FP32_FASTEST)
        if name in timings.samples
    }
    return questions.answered(over[FP32], over.get(FP32_FASTEST))


def time_in_fresh_process(job: TimingJob) -> Timings:
    """Runs the job in a process of its own.

    Raises:
        CheckpointError: the error of the fresh process, or its death.
        MeasurementError: if its clock did not advance.
    """
    return in_fresh_process(run, job, died=f"{job.candidate.path}: the fresh process that timed it died")
