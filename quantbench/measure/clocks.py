"""Clocks and counters read around a forward: wall time, processor time, switches between processes and page faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

try:
    import resource
except ImportError:  # Windows, where nothing counts a thread's switches.
    resource = None  # type: ignore[assignment]

WALL: Final = "wall"
PROCESSOR: Final = "processor"
# Verdicts share their error among as many clocks, since the evidence says which of them is believed.
CLOCKS = (WALL, PROCESSOR)

# Time away from the processor below this share of a forward is what reading the clocks and the timer's ticks cost.
AWAY = 0.02


@dataclass(frozen=True, slots=True)
class Reading:
    """Clocks and counters of the calling thread at one moment; differences of two are what a forward took.

    Attributes:
        wall_s: monotonic wall clock, seconds.
        thread_s: processor time of the thread, user and system, seconds.
        process_s: processor time of all threads of the process, seconds.
        voluntary: times the thread gave the processor up because it waited.
        involuntary: times it was taken off the processor for something else.
        minor_faults: pages that were mapped without reading a disk.
        major_faults: pages that were read from a disk.
    """

    wall_s: float
    thread_s: float = 0.0
    process_s: float = 0.0
    voluntary: int = 0
    involuntary: int = 0
    minor_faults: int = 0
    major_faults: int = 0

    def since(self, before: Reading) -> Reading:
        """Difference to another reading of the same thread."""
        return Reading(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


Clock = Callable[[], Reading]


def counts_switches() -> bool:
    """True where the system counts a thread's switches, as Linux does; elsewhere wall time alone is known."""
    return resource is not None and hasattr(resource, "RUSAGE_THREAD")


def before_forward() -> Reading:
    """Reads all clocks, the wall clock last, so that reading the others is not in the time that it tells."""
    if not counts_switches():
        return Reading(time.perf_counter())
    used = resource.getrusage(resource.RUSAGE_THREAD)
    process_s = time.process_time()
    thread_s = time.thread_time()
    return Reading(time.perf_counter(), thread_s, process_s, *_counters(used))


def after_forward() -> Reading:
    """Reads all clocks, the wall clock first."""
    wall_s = time.perf_counter()
    if not counts_switches():
        return Reading(wall_s)
    thread_s = time.thread_time()
    process_s = time.process_time()
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return Reading(wall_s, thread_s, process_s, *_counters(used))


def _counters(used: resource.struct_rusage) -> tuple[int, int, int, int]:
    return used.ru_nvcsw, used.ru_nivcsw, used.ru_minflt, used.ru_majflt


@dataclass(frozen=True)
class Samples:
    """Times and counts of the forwards of one form, each array `[rounds]`; the fields are those of `Reading`."""

    wall_s: NDArray[np.float64]
    thread_s: NDArray[np.float64]
    process_s: NDArray[np.float64]
    voluntary: NDArray[np.int64]
    involuntary: NDArray[np.int64]
    minor_faults: NDArray[np.int64]
    major_faults: NDArray[np.int64]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Self:
        """From one difference of readings per round."""
        rows = [astuple(each) for each in readings]
        columns = list(zip(*rows, strict=True)) or [()] * 7
        wall_s, thread_s, process_s = (np.array(column, np.float64) for column in columns[:3])
        return cls(wall_s, thread_s, process_s, *(np.array(column, np.int64) for column in columns[3:]))

    @classmethod
    def of_wall_time(cls, wall_s: NDArray[np.float64]) -> Self:
        """Of a system that tells wall time alone."""
        nothing, none = np.zeros(len(wall_s)), np.zeros(len(wall_s), np.int64)
        return cls(np.asarray(wall_s, np.float64), nothing, nothing, none, none, none, none)

    @property
    def is_wall_alone(self) -> bool:
        """True if nothing but wall time is known."""
        return not self.thread_s.any()

    def by(self, clock: str) -> NDArray[np.float64]:
        """Seconds by one of the `CLOCKS`; processor time is the calling thread's."""
        return self.wall_s if clock == WALL else self.thread_s

    @property
    def preempted(self) -> NDArray[np.bool_]:
        """Forwards during which the thread was taken off the processor."""
        return self.involuntary > 0

    @property
    def disturbed(self) -> NDArray[np.bool_]:
        """Those of them that were away for more than `AWAY` of their time."""
        return self.preempted & (self.wall_s - self.thread_s > AWAY * self.wall_s)

    @property
    def waits(self) -> float:
        """Share of forwards that waited for something: a lock, a disk, a sleep, another thread."""
        return float(np.mean((self.voluntary > 0) | (self.major_faults > 0)))

    @property
    def elsewhere(self) -> float:
        """Processor time of other threads as a share of the thread's own."""
        return float(self.process_s.sum() / self.thread_s.sum()) - 1.0 if self.thread_s.sum() else 0.0
