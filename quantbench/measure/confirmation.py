"""A measurement of speed made again by a process that shares nothing with the first but the files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.fresh import in_fresh_process
from quantbench.measure.latency import FP32, FP32_AGAIN, INT8, Timings, quiet_process, time_forwards
from quantbench.measure.reload import FloatJob, ReloadJob, load_float, load_quantized
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import SpeedQuestions, Speedup


@dataclass(frozen=True)
class TimingJob:
    """All that a fresh process needs to time an int8 model against its fp32 model.

    Attributes:
        int8: the quantized model's checkpoint and structure.
        fp32: the same of the fp32 model.
        batch: `[n, channels, …]` float32, whose forward is timed.
        threads: intra-operator threads.
        looks: planned.
        budget_s: seconds for all rounds.
        questions: asked at each look.
        seed: of the order within rounds; another than the first measurement's.
    """

    int8: ReloadJob
    fp32: FloatJob
    batch: NDArray[np.float32]
    threads: int
    looks: Looks
    budget_s: float
    questions: SpeedQuestions
    seed: int = 1


def run(job: TimingJob) -> Timings:
    """The fresh process's work."""
    keep_freed_memory()
    fp32, int8 = load_float(job.fp32), load_quantized(job.int8)[0]
    batch = torch.from_numpy(job.batch)
    forwards = {FP32: lambda: fp32(batch), FP32_AGAIN: lambda: fp32(batch), INT8: lambda: int8(batch)}
    with quiet_process(job.threads):
        return time_forwards(forwards, job.looks, job.budget_s, lambda timings: is_answered(timings, job), job.seed)


def is_answered(timings: Timings, job: TimingJob) -> bool:
    """Whether the rounds so far answer the job's questions."""
    return job.questions.answered(Speedup.of(timings.speedup(), job.looks))


def time_in_fresh_process(job: TimingJob) -> Timings:
    """Runs the job in a process of its own.

    Raises:
        CheckpointError: the error of the fresh process, or its death.
        MeasurementError: if its clock did not advance.
    """
    return in_fresh_process(run, job, died=f"{job.int8.checkpoint}: the fresh process that timed it died")
