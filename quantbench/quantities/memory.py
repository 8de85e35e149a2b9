"""Memory that one forward needs at its peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.quantities.bounds import Positive
from quantbench.quantities.interface import Column, Quantity
from quantbench.records.run import Memory
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Verdict, at_least, no_evidence

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

# Measured, but a ratio of so few pages would say nothing.
TOO_SMALL = "too small"


class MemoryRatio(Quantity[Memory]):
    """Smallest accepted fp32 bytes / quantized bytes at the peak of one forward."""

    name = "memory_ratio"
    part = "memory"
    record = Memory
    bound = Positive
    smaller_is_looser = True
    columns = (
        Column("memory ×", lambda m: TOO_SMALL if m.ratio is None else f"{m.ratio:.2f}", of_reference=False),
    )  # fmt: skip

    def measure(self, run: Run) -> Memory:
        """Peak resident memory of one forward of either model.

        Raises:
            MeasurementError: if this machine cannot say.
        """
        from quantbench.measure.memory import compared

        config = run.experiment.workload.config.latency
        return compared(run.counterpart.memory, run.baseline.memory_of(run.artifact), config.batch_size, config.threads)

    def judge(self, run: Run, measured: Memory, bound: float) -> Verdict:
        """The range over fresh processes must clear the bound.

        The level of that range is the least that it covers the ratio of medians with, whatever the distribution: a
        median lies beyond all of its own n values with probability 2 · 2⁻ⁿ, and there are two.
        """
        from quantbench.measure.residency import RESOLUTION_BYTES

        m = measured
        figures = f"{m.fp32_bytes:,} → {m.quantized_bytes:,} bytes"
        forward = f"at the peak of a forward, batch {m.batch_size}, {m.threads} thread(s)"
        if m.ratio is None or m.ratio_range is None:
            advice = f"too few for a ratio, which needs {RESOLUTION_BYTES:,}; raise workload.latency.batch_size"
            return no_evidence(self.name, bound, f"{figures} {forward}: {advice}")
        low, high = m.ratio_range
        text = f"{m.ratio:.3f}× [{low:.3f}, {high:.3f}] ({figures}) {forward}; {m.processes} fresh processes each"
        interval = Interval(low, high, 1 - 4 * 0.5**m.processes)
        return at_least(self.name, m.ratio, interval, bound, m.processes, text, "×")


MEMORY = MemoryRatio()
