"""The clock that is believed for a measurement of speed: what disturbed it is looked at before its ratios are.

On a quiet machine wall time is what users wait for, and is believed. Beside busy processes it is biased: a longer
forward is preempted more often, and slices of the scheduler flatten or stretch the ratio, which a control of equal
lengths cannot see. The processor time of the calling thread does not contain the time of others; it is believed there
if all work of the forward is done by that thread, and nothing in it waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from quantbench.measure.clocks import PROCESSOR, WALL, Samples
from quantbench.measure.latency import FP32, FP32_AGAIN, FP32_FASTEST, INT8, Timings
from quantbench.measure.load import STOLEN, usable_cores
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import CONTROL_TOLERANCE, Measurement, Speedup

# With fewer forwards preempted the median of their ratios moves by less than a tenth of its quartiles' distance.
DISTURBED = 0.10
# Share of forwards that may wait, and share of the work that may be done by other threads, before processor time of the
# calling thread is not the whole forward.
WAITING, ELSEWHERE = 0.05, 0.02
# By how much a form k times in a row may differ from k times one by the processor's clock: caches are warmer then.
LENGTH_TOLERANCE = 0.05


@dataclass(frozen=True)
class Belief:
    """The clock whose ratios are shown, and the reason to believe it or not.

    Attributes:
        clock: `wall` or `processor`.
        note: why it is not wall time, in words; empty if it is.
        doubt: why no verdict follows from either clock, in words; None if one does.
        strayed: the A/A control strayed though nothing was seen that disturbed it, so that no other measurement of the
            session is believed either.
    """

    clock: Literal["wall", "processor"]
    note: str = ""
    doubt: str | None = None
    strayed: bool = False

    @property
    def is_sound(self) -> bool:
        """True if a verdict may follow."""
        return self.doubt is None and not self.strayed


def believed(timings: Timings, looks: Looks, threads: int) -> Belief:
    """Finds the clock that can be believed, from what disturbed the rounds and from their controls.

    Args:
        timings: so far.
        looks: planned at them.
        threads: intra-operator threads of the forwards.
    """
    disturbed, wall = disturbance(timings, threads), _stray(timings, looks, WALL)
    if disturbed is None and wall is None:
        return Belief(WALL)
    cause = f"the machine was busy ({disturbed})" if disturbed is not None else f"by wall time {wall}"
    refused = _refusal(timings, looks, threads)
    if refused is None:
        return Belief(PROCESSOR, note=f"by processor time: {cause}")
    if disturbed is None and Speedup.of(timings.control(WALL), looks).deviates:
        return Belief(WALL, strayed=True)
    return Belief(WALL, doubt=f"{cause}, and processor time does not tell: {refused}")


def measurement(timings: Timings, looks: Looks, threads: int) -> Measurement:
    """The speed-up and its A/A control by the clock that is believed.

    Args:
        timings: of all rounds.
        looks: planned at them.
        threads: intra-operator threads of the forwards.
    """
    belief = believed(timings, looks, threads)
    speedup, control = timings.speedup(FP32, belief.clock), timings.control(belief.clock)
    return Measurement(
        Speedup.of(speedup, looks), Speedup.of(control, looks), belief.strayed, belief.doubt, belief.note
    )


def disturbance(timings: Timings, threads: int) -> str | None:
    """Names what took the processor from the forwards; None if little did."""
    compared = _compared(timings)
    share = float(np.mean([each.disturbed for each in compared.values()]))
    load = timings.load
    is_shared = load.is_shared(threads, usable_cores()) if threads > 1 else (load.stolen or 0.0) > STOLEN
    if share <= DISTURBED and not is_shared:
        return None
    words = (
        f"{100 * share:.0f} % of forwards were preempted and lost time, {100 * timings.clean:.0f} % of rounds are clean"
    )
    return f"{words}, {load.words()}" if load.words() else words


def _refusal(timings: Timings, looks: Looks, threads: int) -> str | None:
    """Gives the reason not to trust the calling thread's processor time as a forward's; None if there is none."""
    compared = _compared(timings)
    if any(each.is_wall_alone for each in compared.values()):
        return "this system does not count it with the switches of a thread"
    if threads > 1:
        return f"{threads} threads wait for each other by spinning"
    for name, each in compared.items():
        if each.waits > WAITING:
            return f"{name} waits in {100 * each.waits:.0f} % of its forwards (sleep, file, lock or other thread)"
        if each.elsewhere > ELSEWHERE:
            return f"other threads work {100 * each.elsewhere:.0f} % as much as {name}'s own"
    return _stray(timings, looks, PROCESSOR)


def _compared(timings: Timings) -> dict[str, Samples]:
    return {name: timings.samples[name] for name in (FP32, FP32_AGAIN, FP32_FASTEST, INT8) if name in timings.samples}


def _stray(timings: Timings, looks: Looks, clock: str) -> str | None:
    """The control that strayed by a clock, in words."""
    control = Speedup.of(timings.control(clock), looks)
    if control.deviates:
        return f"fp32 against itself was {in_words(control)}"
    ratios = timings.length_control(clock)
    if ratios is None or timings.repeated is None:
        return None
    length = Speedup.of(ratios, looks)
    if not length.deviates_by(CONTROL_TOLERANCE if clock == WALL else LENGTH_TOLERANCE):
        return None
    form, repeats = timings.repeated
    return f"{form} {repeats} times in a row was {in_words(length)} of what {repeats} of it take"


def in_words(speedup: Speedup) -> str:
    """A ratio with its interval."""
    return f"{speedup.estimate:.3f}× [{speedup.interval.low:.3f}, {speedup.interval.high:.3f}]"
