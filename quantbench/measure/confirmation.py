"""A measurement of speed made again by a process that shares nothing with the first but the files."""

from __future__ import annotations

from dataclasses import dataclass

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.belief import believed
from quantbench.measure.fresh import in_fresh_process
from quantbench.measure.latency import FP32, FP32_AGAIN, INT8, Timings, quiet_process, time_forwards
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
    """

    candidate: Artifact
    reference: Artifact
    inputs: Inputs
    threads: int
    looks: Looks
    budget_s: float
    questions: SpeedQuestions
    seed: int = 1


def run(job: TimingJob) -> Timings:
    """The fresh process's work."""
    keep_freed_memory()
    fp32, int8 = (each.backend.create().load(each, job.threads) for each in (job.reference, job.candidate))
    inputs = job.inputs
    forwards = {FP32: lambda: fp32(inputs), FP32_AGAIN: lambda: fp32(inputs), INT8: lambda: int8(inputs)}
    with quiet_process(job.threads):
        return time_forwards(forwards, job.looks, job.budget_s, lambda timings: is_answered(timings, job), job.seed)


def is_answered(timings: Timings, job: TimingJob) -> bool:
    """True if the rounds so far answer the job's questions."""
    return answers(timings, job.looks, job.threads, job.questions)


def answers(timings: Timings, looks: Looks, threads: int, questions: SpeedQuestions) -> bool:
    """True if a clock can be believed and its ratios answer the questions."""
    belief = believed(timings, looks, threads)
    return belief.is_sound and questions.answered(Speedup.of(timings.speedup(FP32, belief.clock), looks))


def time_in_fresh_process(job: TimingJob) -> Timings:
    """Runs the job in a process of its own.

    Raises:
        CheckpointError: the error of the fresh process, or its death.
        MeasurementError: if its clock did not advance.
    """
    return in_fresh_process(run, job, died=f"{job.candidate.path}: the fresh process that timed it died")
