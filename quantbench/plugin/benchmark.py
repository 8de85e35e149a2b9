"""Times of interleaved rounds for pytest-benchmark, which cannot take them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantbench.records.run import Latency


class ReplayedClock:
    """A timer for pytest-benchmark that tells durations which were measured before, one after the other."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._starts = True

    def __call__(self) -> float:
        """0 at a start, the next duration at an end: their difference is the duration to the last bit."""
        self._starts = not self._starts
        return self.durations.pop(0) if self._starts else 0.0


def hand_on(latency: Latency | None, benchmark: Any, clock: ReplayedClock) -> None:
    """Gives pytest-benchmark the int8 times of a measurement of speed; no figures where there was none."""
    if latency is None:
        # It then does not complain of a fixture that was not used.
        benchmark.disabled = True
        benchmark.pedantic(_nothing)
        return
    clock.durations = list(latency.int8_s)
    benchmark.pedantic(_nothing, rounds=latency.rounds)
    benchmark.extra_info.update(latency.model_dump())


def _nothing() -> None:
    """Stands for the forwards, which ran before, in an order and number of rounds that pytest-benchmark cannot give."""
