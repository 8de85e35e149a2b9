"""Forward time of several models as interleaved rounds: what disturbs one disturbs its neighbours in the same round.

Randomized interleaving after Abedi & Brecht (ICPE 2017) and duet benchmarking (arXiv:2001.05811): only ratios within a
round are compared, never times from different moments.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.errors import MeasurementError
from quantbench.stats.sequential import Looks

INT8, FP32, FP32_AGAIN, FP32_FASTEST = "int8", "fp32", "fp32_again", "fp32_fastest"
Forwards = Mapping[str, Callable[[], object]]

# Of every interval for a speed-up, over all looks at it together.
LATENCY_LEVEL = 0.99
# Warm-up goes on until no form's median moved by more than this share from one window of rounds to the next. Windows
# shorter than this cannot tell a trend from noise; a machine that never settles is left to the interval to judge.
STABLE_WITHIN = 0.1
WARMUP_WINDOW = 4
MAX_WARMUP_ROUNDS = 40


@dataclass(frozen=True)
class Timings:
    """Seconds per forward, `[rounds]` per form, aligned by round.

    Attributes:
        seconds: form → times; `fp32` and `fp32_again` are the same model, as a control.
        looks: looks that were taken at them before they decided or time was up.
        warmup_rounds: rounds before the first that counts.
        out_of_time: whether the time budget, not the interval, ended the measurement.
    """

    seconds: dict[str, NDArray[np.float64]]
    looks: int = 1
    warmup_rounds: int = 0
    out_of_time: bool = False

    @property
    def rounds(self) -> int:
        """Rounds that count."""
        return len(next(iter(self.seconds.values())))

    def speedup(self, reference: str = FP32) -> NDArray[np.float64]:
        """Reference time / int8 time, `[rounds]`: above 1 the int8 model is faster."""
        return self.seconds[reference] / self.seconds[INT8]

    @property
    def control(self) -> NDArray[np.float64]:
        """fp32 time / its own time again, `[rounds]`: around 1 on a machine that can be trusted."""
        return self.seconds[FP32] / self.seconds[FP32_AGAIN]


class InterleavedForwards:
    """Runs every forward once a round, each round in a random order of its own, and keeps their times.

    Args:
        forwards: form → no-argument forward.
        seed: of the order.
    """

    def __init__(self, forwards: Forwards, seed: int = 0) -> None:
        self._forwards = forwards
        self._random = random.Random(seed)
        self._seconds: dict[str, list[float]] = {name: [] for name in forwards}
        self._warmup_rounds = 0

    def round(self) -> None:
        """Times every forward once.

        Raises:
            MeasurementError: if a forward took no time or less, as after a clock that went backwards.
        """
        order = list(self._forwards)
        self._random.shuffle(order)
        for name in order:
            started = time.perf_counter()
            self._forwards[name]()
            seconds = time.perf_counter() - started
            if not seconds > 0:
                raise MeasurementError(
                    f"a forward took {seconds:g} s: the clock stood still or went backwards, so nothing was timed; "
                    "measure again on a machine whose monotonic clock advances"
                )
            self._seconds[name].append(seconds)

    def warm_up(self) -> None:
        """Runs rounds that do not count until allocators, caches and the processor's clock have settled."""
        while self._warmup_rounds < MAX_WARMUP_ROUNDS:
            for _ in range(WARMUP_WINDOW):
                self.round()
            self._warmup_rounds += WARMUP_WINDOW
            if self._warmup_rounds >= 2 * WARMUP_WINDOW and self._is_stable():
                return

    def timings(self, looks: int = 1, out_of_time: bool = False) -> Timings:
        """The rounds after the warm-up."""
        seconds = {name: np.array(times[self._warmup_rounds :]) for name, times in self._seconds.items()}
        return Timings(seconds, looks, self._warmup_rounds, out_of_time)

    def _is_stable(self) -> bool:
        before, now = slice(-2 * WARMUP_WINDOW, -WARMUP_WINDOW), slice(-WARMUP_WINDOW, None)
        return all(
            abs(np.median(times[now]) / np.median(times[before]) - 1.0) <= STABLE_WITHIN
            for times in self._seconds.values()
        )


def time_forwards(
    forwards: Forwards, looks: Looks, budget_s: float, decided: Callable[[Timings], bool], seed: int = 0
) -> Timings:
    """Times forwards in interleaved rounds until they decide, the last look is taken, or time is up.

    Args:
        forwards: form → no-argument forward.
        looks: when `decided` is asked. The first look is always reached, whatever it costs.
        budget_s: seconds for everything; rounds that would not fit are not begun.
        decided: whether the rounds so far answer every question asked of them.
        seed: of the order within rounds.

    Raises:
        MeasurementError: as `InterleavedForwards.round`.
    """
    interleaved = InterleavedForwards(forwards, seed)
    started = time.perf_counter()
    interleaved.warm_up()
    counting_since, done = time.perf_counter(), 0
    for look, rounds in enumerate(looks.rounds, start=1):
        now = time.perf_counter()
        if done and (now - counting_since) / done * (rounds - done) > budget_s - (now - started):
            return interleaved.timings(look - 1, out_of_time=True)
        while done < rounds:
            interleaved.round()
            done += 1
        timings = interleaved.timings(look)
        if decided(timings):
            break
    return timings


def untimed_reason(threads: int) -> str | None:
    """Reason why this machine can time nothing with that many threads, or None if it can."""
    cores = usable_cores()
    if cores == 1:
        return (
            "no verdict: this process may use one core only, so that whatever else runs there runs inside the "
            "timings; allow it two"
        )
    if threads > cores:
        return (
            f"no verdict: workload.latency.threads asks for {threads} threads, but this process may use {cores} cores"
        )
    return None


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def quiet_process(threads: int) -> Iterator[None]:
    """Pins intra-operator threads, stops the garbage collector and autograd; restores all of it."""
    before, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(threads)
    gc.collect()
    gc.disable()
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()
