"""Forward time of several models as interleaved rounds: what disturbs one disturbs its neighbours in the same round.

Randomized interleaving after Abedi & Brecht (ICPE 2017) and duet benchmarking (arXiv:2001.05811): only ratios within a
round are compared, never times from different moments. Each forward is read by two clocks (`measure/clocks.py`);
`measure/belief.py` says which of them is believed.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import MeasurementError
from quantbench.measure.clocks import PROCESSOR, WALL, Reading, Samples, after_forward, before_forward
from quantbench.measure.load import Load, moment, usable_cores
from quantbench.stats.sequential import Looks
from quantbench.torch_process import computing

INT8, FP32, FP32_AGAIN, FP32_FASTEST = "int8", "fp32", "fp32_again", "fp32_fastest"
# The shorter of fp32 and int8 several times in a row: as long as the longer one, and known to be so much longer.
REPEATED = "repeated"
Forwards = Mapping[str, Callable[[], object]]

# Of every interval for a speed-up, over all looks at it together.
LATENCY_LEVEL = 0.99
# Warm-up goes on until no form's median moved by more than this share from one window of rounds to the next. Windows
# shorter than this cannot tell a trend from noise; a machine that never settles is left to the interval to judge.
STABLE_WITHIN = 0.1
WARMUP_WINDOW = 4
MAX_WARMUP_ROUNDS = 40
# More would make a round as long as a whole measurement of two forms of like length.
MAX_REPEATS = 8


@dataclass(frozen=True)
class Timings:
    """Times of each form's forwards, aligned by round.

    Attributes:
        samples: form → what its forwards took, `[rounds]`; `fp32` and `fp32_again` are the same model, as a control.
        looks: looks that were taken at them before they decided or time was up.
        warmup_rounds: rounds before the first that counts.
        out_of_time: whether the time budget, not the interval, ended the measurement.
        repeated: the form that `REPEATED` runs several times, and how often; None if it was not timed.
        load: of the machine meanwhile.
    """

    samples: Mapping[str, Samples]
    looks: int = 1
    warmup_rounds: int = 0
    out_of_time: bool = False
    repeated: tuple[str, int] | None = None
    load: Load = field(default_factory=Load)

    @property
    def rounds(self) -> int:
        """Rounds that count."""
        return len(self.samples[FP32].wall_s)

    def speedup(self, reference: str = FP32, clock: str = WALL) -> NDArray[np.float64]:
        """Reference time / int8 time, `[rounds]`: above 1 the int8 model is faster."""
        return self.samples[reference].by(clock) / self.samples[INT8].by(clock)

    def control(self, clock: str = WALL) -> NDArray[np.float64]:
        """fp32 time / its own time again, `[rounds]`: around 1 on a machine that can be trusted."""
        return self.samples[FP32].by(clock) / self.samples[FP32_AGAIN].by(clock)

    def length_control(self, clock: str) -> NDArray[np.float64] | None:
        """A ratio of unequal lengths over what it is known to be, `[rounds]`: around 1 unless length biases the clock.

        A form k times in a row takes k times as long as once; by the processor's clock that is tested itself. By the
        wall clock it is tested against the processor's, which a preemption does not touch, so that what caches save the
        second of two forwards is no bias of the clock.

        Returns:
            The ratios; None where nothing was repeated or the system tells wall time alone.
        """
        if self.repeated is None or any(each.is_wall_alone for each in self.samples.values()):
            return None
        form, repeats = self.repeated
        long, short = self.samples[REPEATED], self.samples[form]
        processor = long.by(PROCESSOR) / short.by(PROCESSOR)
        return long.by(WALL) / short.by(WALL) / processor if clock == WALL else processor / repeats

    @property
    def clean(self) -> float:
        """Share of rounds in which nothing was preempted."""
        return float(np.mean(~np.any([each.preempted for each in self.samples.values()], axis=0)))


class InterleavedForwards:
    """Runs every forward once a round, each round in a random order of its own, and keeps what they took.

    Args:
        forwards: form → no-argument forward.
        seed: of the order.
    """

    def __init__(self, forwards: Forwards, seed: int = 0) -> None:
        self._forwards = dict(forwards)
        self._random = random.Random(seed)
        self._readings: dict[str, list[Reading]] = {name: [] for name in forwards}
        self._warmup_rounds = 0
        self._repeated: tuple[str, int] | None = None
        self._began = moment()

    def round(self) -> None:
        """Times every forward once.

        Raises:
            MeasurementError: if a forward took no time or less, as after a clock that went backwards.
        """
        order = list(self._forwards)
        self._random.shuffle(order)
        for name in order:
            forward = self._forwards[name]
            before = before_forward()
            forward()
            took = after_forward().since(before)
            if not took.wall_s > 0:
                raise MeasurementError(
                    f"a forward took {took.wall_s:g} s: the clock stood still or went backwards, so nothing was timed; "
                    "measure again on a machine whose monotonic clock advances"
                )
            self._readings[name].append(took)

    def warm_up(self) -> None:
        """Runs rounds that do not count until allocators, caches and the processor's clock have settled."""
        while self._warmup_rounds < MAX_WARMUP_ROUNDS:
            for _ in range(WARMUP_WINDOW):
                self.round()
            self._warmup_rounds += WARMUP_WINDOW
            if self._warmup_rounds >= 2 * WARMUP_WINDOW and self._is_stable():
                break
        self._repeat_shorter()
        self.restart()

    def restart(self) -> None:
        """Forgets all rounds so far."""
        self._readings = {name: [] for name in self._forwards}
        self._began = moment()

    def timings(self, looks: int = 1, out_of_time: bool = False) -> Timings:
        """The rounds after the warm-up."""
        samples = {name: Samples.of(readings) for name, readings in self._readings.items()}
        load = Load.between(self._began, moment())
        return Timings(samples, looks, self._warmup_rounds, out_of_time, self._repeated, load)

    def _is_stable(self) -> bool:
        before, now = slice(-2 * WARMUP_WINDOW, -WARMUP_WINDOW), slice(-WARMUP_WINDOW, None)
        return all(
            abs(_median_s(readings[now]) / _median_s(readings[before]) - 1.0) <= STABLE_WITHIN
            for readings in self._readings.values()
        )

    def _repeat_shorter(self) -> None:
        """Adds the control of unequal lengths, as long as the compared forwards are."""
        if not {FP32, INT8} <= self._forwards.keys():
            return
        times_s = {name: _median_s(self._readings[name][-WARMUP_WINDOW:]) for name in (FP32, INT8)}
        short, long = sorted(times_s, key=lambda name: times_s[name])
        repeats = min(max(round(times_s[long] / times_s[short]), 2), MAX_REPEATS)
        forward = self._forwards[short]

        def repeated() -> None:
            for _ in range(repeats):
                forward()

        self._forwards[REPEATED] = repeated
        self._repeated = short, repeats


def _median_s(readings: list[Reading]) -> float:
    return float(np.median([each.wall_s for each in readings]))


def time_forwards(
    forwards: Forwards,
    looks: Looks,
    budget_s: float,
    decided: Callable[[Timings], bool],
    seed: int = 0,
    doubted: Callable[[Timings], bool] | None = None,
    wait_s: float = 0.0,
) -> Timings:
    """Times forwards in interleaved rounds until they decide, the last look is taken, or time is up.

    Rounds that a busy machine made worthless are dropped as a whole and taken anew, as long as there is time to wait
    for a quiet moment. What is looked at for that is the disturbance and the controls, never the ratio that is judged.

    Args:
        forwards: form → no-argument forward.
        looks: when `decided` is asked. The first look is always reached, whatever it costs.
        budget_s: seconds for everything; rounds that would not fit are not begun.
        decided: whether the rounds so far answer every question asked of them.
        seed: of the order within rounds.
        doubted: whether no verdict can follow from the rounds, whatever their ratios are.
        wait_s: seconds from the start within which doubted rounds are taken anew.

    Raises:
        MeasurementError: as `InterleavedForwards.round`.
    """
    interleaved = InterleavedForwards(forwards, seed)
    started = begun = time.perf_counter()
    interleaved.warm_up()
    while True:
        timings = _until_decided(interleaved, looks, begun + budget_s, decided)
        begun = time.perf_counter()
        if doubted is None or begun - started >= wait_s or not doubted(timings):
            return timings
        interleaved.restart()


def _until_decided(
    interleaved: InterleavedForwards, looks: Looks, ends_s: float, decided: Callable[[Timings], bool]
) -> Timings:
    counting_since, done = time.perf_counter(), 0
    for look, rounds in enumerate(looks.rounds, start=1):
        now = time.perf_counter()
        if done and (now - counting_since) / done * (rounds - done) > ends_s - now:
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


@contextmanager
def quiet_process(threads: int) -> Iterator[None]:
    """Pins intra-operator threads, stops the garbage collector and autograd; restores all of it.

    A runtime of files was told its threads when it loaded its model.
    """
    collecting = gc.isenabled()
    with computing(threads):
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()
