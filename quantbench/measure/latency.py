"""Forward time of several models as interleaved rounds: what disturbs one disturbs its neighbours in the same round.

Randomized interleaving after Abedi & Brecht (ICPE 2017) and duet benchmarking (arXiv:2001.05811): only ratios within a
round are compared, never times from different moments.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.errors import MeasurementError

# Rounds before the first that counts: allocators, caches and the processor's clock settle.
WARMUP_ROUNDS = 8


@dataclass(frozen=True)
class Timings:
    """Seconds per forward, `[rounds]` per model, aligned by round."""

    int8_s: NDArray[np.float64]
    references_s: dict[str, NDArray[np.float64]]

    def ratios(self, reference: str) -> NDArray[np.float64]:
        """Reference time / int8 time, `[rounds]`: above 1 the int8 model is faster."""
        return self.references_s[reference] / self.int8_s


class InterleavedForwards:
    """Times reference forwards around an int8 forward that somebody else may time, such as pytest-benchmark.

    Each round calls `before`, `int8` and `after`; every reference runs in either `before` or `after`, in random order.

    Args:
        references: name → no-argument forward.
        int8: no-argument forward.
        seed: of the order.
    """

    def __init__(self, references: dict[str, Callable[[], object]], int8: Callable[[], object], seed: int = 0) -> None:
        self.int8 = int8
        self._references = references
        self._random = random.Random(seed)
        self._after: list[str] = []
        self._times: dict[str, list[float]] = {name: [] for name in references}

    def before(self) -> None:
        """Draws this round's order and runs the references that come first."""
        order = [*self._references, ""]
        self._random.shuffle(order)
        at = order.index("")
        self._after = order[at + 1 :]
        self._run(order[:at])

    def after(self) -> None:
        """Runs the references that come last."""
        self._run(self._after)

    def timings(self, int8_s: list[float]) -> Timings:
        """Pairs the last rounds with the int8 times measured for them; earlier rounds were warm-up.

        Raises:
            MeasurementError: if a time is not positive, as after a clock that went backwards.
        """
        rounds = len(int8_s)
        timings = Timings(np.array(int8_s), {name: np.array(times[-rounds:]) for name, times in self._times.items()})
        if any(bool((times <= 0).any()) for times in (timings.int8_s, *timings.references_s.values())):
            raise MeasurementError("a forward took no time or less: the clock stood still or went backwards")
        return timings

    def _run(self, names: list[str]) -> None:
        for name in names:
            started = time.perf_counter()
            self._references[name]()
            self._times[name].append(time.perf_counter() - started)


def time_rounds(forwards: InterleavedForwards, rounds: int) -> Timings:
    """Runs warm-up and `rounds` rounds with our own timer, outside pytest."""
    int8_s = []
    for _ in range(WARMUP_ROUNDS + rounds):
        forwards.before()
        started = time.perf_counter()
        forwards.int8()
        int8_s.append(time.perf_counter() - started)
        forwards.after()
    return forwards.timings(int8_s[WARMUP_ROUNDS:])


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
