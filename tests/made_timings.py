"""Forward times as a machine would give them, made by hand, for tests of the verdicts on speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from quantbench.backends.interface import Artifact
from quantbench.measure.clocks import Samples
from quantbench.measure.latency import FP32, FP32_AGAIN, FP32_FASTEST, INT8, Timings
from quantbench.measure.load import Load, Moment
from quantbench.measure.memory import PROCESSES, PeakMemories, PeakMemory
from quantbench.stats.sequential import Looks

Result = TypeVar("Result")


def timings(
    speedup: float, control: float = 1.0, spread: float = 0.01, rounds: int = 40, looks: int = 1, seed: int = 0
) -> Timings:
    """Rounds whose ratios lie around a speed-up.

    Args:
        speedup: median of fp32 / int8.
        control: median of fp32 / fp32 again.
        spread: standard deviation of the logarithm of each ratio.
        rounds: that count, an even number.
        looks: taken.
        seed: of the spread.
    """
    random = np.random.default_rng(seed)

    def around(ratio: float) -> np.ndarray:
        # In pairs, each as far above as below, so that the median is the ratio itself.
        logs = np.repeat(random.normal(0.0, spread, rounds // 2), 2) * np.tile([1.0, -1.0], rounds // 2)
        return ratio * np.exp(random.permutation(logs))

    fp32 = np.full(rounds, 0.008)
    seconds = {FP32: fp32, FP32_AGAIN: fp32 / around(control), INT8: fp32 / around(speedup), FP32_FASTEST: fp32.copy()}
    samples = {form: Samples.of_wall_time(times) for form, times in seconds.items()}
    return Timings(samples, looks, warmup_rounds=8)


def beside_others(made: Timings, waits: str | None = None) -> Timings:
    """The same rounds on a machine whose cores others use too: wall time of each forward is half as long again.

    Args:
        made: whose times are the processor's.
        waits: a form that gives the processor up in each of its forwards.
    """
    ones, zeros = np.ones(made.rounds, np.int64), np.zeros(made.rounds, np.int64)

    def preempted(form: str, seconds: np.ndarray) -> Samples:
        return Samples(1.5 * seconds, seconds, seconds, ones if form == waits else zeros, ones, zeros, zeros)

    samples = {form: preempted(form, each.wall_s) for form, each in made.samples.items()}
    load = Load(others_cores=2.0, stolen=0.0, pressure=0.9)
    return replace(made, samples=samples, load=load)


class Machine:
    """Takes the place of the machine that times: gives what it was told, and counts how often it was asked.

    Attributes:
        here: what this process measures, one after the other; the last one for ever. As long as it is empty, each
            measurement takes the rounds of its plan, and int8 is twice as fast.
        fresh: what a fresh process measures, or an error that it ends with.
        fresh_jobs: jobs that a fresh process was given.
        moments: of the load of the machine, one after the other; the last one for ever.
    """

    def __init__(self) -> None:
        self.here: list[Timings] = []
        self.fresh: Timings | Exception | None = None
        self.fresh_jobs: list[object] = []
        self.moments = [Moment(0.0, 0.0)]

    def moment(self) -> Moment:
        """In the place of `quantbench.measure.load.moment`."""
        return self.moments.pop(0) if len(self.moments) > 1 else self.moments[0]

    def time_forwards(
        self, _forwards: object, looks: Looks, _budget_s: float, decided: Callable[[Timings], bool], **_waiting: object
    ) -> Timings:
        """In the place of `quantbench.measure.latency.time_forwards`."""
        if self.here:
            return self.here.pop(0) if len(self.here) > 1 else self.here[0]
        for look, rounds in enumerate(looks.rounds, 1):
            made = timings(2.0, rounds=rounds, looks=look)
            if decided(made):
                break
        return made

    @staticmethod
    def check_unchanged(*_timed: object) -> None:
        """In the place of `quantbench.experiment.timing.check_unchanged`: what never ran is what it was."""

    @staticmethod
    def peak_memory(artifact: Artifact, _inputs: object, _threads: int) -> PeakMemories:
        """In the place of `quantbench.measure.memory.peak_memory`: as a forward of a model so small would take."""
        size = artifact.size_bytes
        return PeakMemories((PeakMemory(size, size, size),) * PROCESSES)

    @staticmethod
    def in_this_process(work: Callable[..., Result], *args: object, died: str) -> Result:
        """In the place of `quantbench.measure.fresh.in_fresh_process`, which takes longer than most tests."""
        assert died, "a fresh process that dies is named"
        return work(*args)

    def time_in_fresh_process(self, job: object) -> Timings:
        """In the place of `quantbench.measure.confirmation.time_in_fresh_process`."""
        self.fresh_jobs.append(job)
        if self.fresh is None:
            raise AssertionError("no fresh process was expected")
        if isinstance(self.fresh, Exception):
            raise self.fresh
        return self.fresh
