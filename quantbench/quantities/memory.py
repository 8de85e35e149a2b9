"""Whether the quantized model needs as little memory as its gate asks."""

from __future__ import annotations

from quantbench.errors import MeasurementError
from quantbench.experiment.run import Run
from quantbench.measure.residency import RESOLUTION_BYTES
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Verdict, at_least, no_evidence

GATE = "memory_ratio"


def judge_memory(run: Run, bound: float) -> Verdict:
    """fp32 bytes over quantized bytes at the peak of one forward; the range over fresh processes must clear the bound.

    The level of that range is the least that it covers the ratio of medians with, whatever the distribution: a median
    lies beyond all of its own n values with probability 2 · 2⁻ⁿ, and there are two.
    """
    try:
        m = run.memory
    except MeasurementError as error:
        return no_evidence(GATE, bound, str(error))
    figures = f"{m.fp32_bytes:,} → {m.quantized_bytes:,} bytes"
    forward = f"at the peak of a forward, batch {m.batch_size}, {m.threads} thread(s)"
    if m.ratio is None or m.ratio_range is None:
        advice = f"too few for a ratio, which needs {RESOLUTION_BYTES:,}; raise workload.latency.batch_size"
        return no_evidence(GATE, bound, f"{figures} {forward}: {advice}")
    low, high = m.ratio_range
    measured = f"{m.ratio:.3f}× [{low:.3f}, {high:.3f}] ({figures}) {forward}; {m.processes} fresh processes each"
    interval = Interval(low, high, 1 - 4 * 0.5**m.processes)
    return at_least(GATE, m.ratio, interval, bound, m.processes, measured, "×")
