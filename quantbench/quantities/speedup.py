"""Speed-up of a forward over the fp32 model's, timed in the same rounds."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

from quantbench.config.instruction_sets import DEFAULT, SpeedupBounds, bound_on
from quantbench.errors import MeasurementError
from quantbench.quantities.interface import Column, Quantity
from quantbench.records.run import Latency
from quantbench.stats.verdicts import Verdict, at_least

if TYPE_CHECKING:
    from quantbench.experiment.run import Run
    from quantbench.stats.speed import Speedup


class SpeedupOverFp32(Quantity[Latency]):
    """Smallest accepted median of fp32 time / int8 time over interleaved pairs.

    One number, or one for each instruction set and a `default`: a machine is held to the highest of those that it has.
    """

    name = "speedup"
    part = "latency"
    record = Latency
    bound: ClassVar[Any] = SpeedupBounds
    smaller_is_looser = True
    timed = True
    # The form that it is taken over.
    over: ClassVar[str] = "fp32"
    columns: ClassVar[tuple[Column[Any], ...]] = (
        Column(
            "speed-up × [99 %]",
            lambda t: (
                f"{t.speedup:.2f} [{t.speedup_interval[0]:.2f}, {t.speedup_interval[1]:.2f}]"
                f"{' by processor time' if t.clock == 'processor' else ''}"
            ),
        ),
    )

    def is_looser(self, bound: Any, accepted: Any) -> bool:
        """True if any machine would be held to less."""
        if bound is None or accepted is None:
            return accepted is not None
        sets = sorted({*bound, *accepted} - {DEFAULT})
        machines = [isa for n in range(len(sets) + 1) for isa in combinations(sets, n)]
        return any(bound_on(bound, isa) < bound_on(accepted, isa) for isa in machines)

    def measure(self, run: Run) -> Latency:
        """Refuses: a session says when to time, by `Run.time_forwards`, which keeps the part.

        Raises:
            MeasurementError: why nothing was timed.
        """
        raise MeasurementError(run.not_timed)

    def judge(self, run: Run, measured: Latency, bound: float) -> Verdict:
        """The median of paired ratios, by its interval over all looks."""
        from quantbench.quantities.speed import judged, shown

        def judge(now: Speedup) -> Verdict:
            return at_least(self.name, now.estimate, now.interval, bound, measured.rounds, shown(measured), "×")

        return judged(run, measured, judge, self.over)


SPEEDUP = SpeedupOverFp32()
