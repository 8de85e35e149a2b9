"""Work of the quantized model against the fp32 model's: a forward that leaves something out is no faster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quantbench.errors import MeasurementError, NoEvidenceError
from quantbench.quantities.bounds import Share
from quantbench.quantities.interface import Quantity
from quantbench.records.run import Work
from quantbench.stats.verdicts import Verdict, at_least, no_evidence

if TYPE_CHECKING:
    from quantbench.backends.interface import Coverage
    from quantbench.experiment.run import Run

# Quantizing changes no layer's shape, so that the counts agree to the last; borders may be padded otherwise.
TOLERANCE = 0.001
# Layers and operators that are named; the largest.
SHOWN = 5


class MacsRatio(Quantity[Work]):
    """Smallest accepted quantized / fp32 multiply-accumulates of one sample; 1 where none is set, 0 for any."""

    name = "macs_ratio"
    part = "work"
    record = Work
    bound = Share
    default = 1.0
    smaller_is_looser = True

    def measure(self, run: Run) -> Work:
        """Multiply-accumulates of one sample in either model.

        Raises:
            NoEvidenceError: if a backend does not tell.
            MeasurementError: if no operator was seen that multiplies, or might.
        """
        quantized = run.measured("coverage")
        if (fp32 := run.counterpart.coverage) is None:
            raise NoEvidenceError(f"backend '{run.counterpart.backend.name}' does not tell what its kernels multiply")
        # Work of whatever precision is work.
        work = quantized.int8_macs + quantized.float_macs + sum(quantized.unknown_layers.values())
        busy = {**quantized.float_layers, **quantized.int8_layers, **quantized.unknown_layers}
        return Work(
            fp32_macs=fp32.macs,
            quantized_macs=work,
            ratio=work / fp32.macs if fp32.macs else 0.0,
            idle_layers=_idle(fp32, busy),
            fp32_uncounted=list(fp32.uncounted),
            quantized_uncounted=quantized.uncounted,
        )

    def judge(self, run: Run, measured: Work, bound: float) -> Verdict:
        """Exact but for `TOLERANCE`; no verdict where some work of either model could not be counted."""
        w = measured
        text = f"{w.ratio:.4f}× ({w.fp32_macs:,} → {w.quantized_macs:,} multiply-accumulates of one sample)"
        sides = {"fp32": w.fp32_uncounted, "quantized": w.quantized_uncounted}
        unknown = [f"of the {side} model: {', '.join(names[:SHOWN])}" for side, names in sides.items() if names]
        if unknown and bound > 0:
            return no_evidence(self.name, bound, f"{text}; not counted {'; '.join(unknown)}")
        if w.ratio > 1 + TOLERANCE:
            text += "; more work than fp32"
        if w.ratio < 1 - TOLERANCE and w.idle_layers:
            largest = sorted(w.idle_layers.items(), key=lambda item: -item[1])[:SHOWN]
            text += "; multiplied in fp32 alone: " + ", ".join(f"{name} ({macs:,})" for name, macs in largest)
        verdict = at_least(self.name, w.ratio, None, bound - TOLERANCE, 1, text, "×")
        return replace(verdict, bound=bound, requirement=f"at least {bound:g}×, within {TOLERANCE:g}")

    def unmeasured(self, run: Run, bound: float, error: MeasurementError) -> Verdict:
        """A bound of 0 holds of any work, which need not be known."""
        if bound == 0:
            return at_least(self.name, 0.0, None, bound, 0, f"any work is accepted; {error}", "×")
        return super().unmeasured(run, bound, error)


MACS_RATIO = MacsRatio()


def _idle(fp32: Coverage, busy: dict[str, int]) -> dict[str, int]:
    """Layers of the fp32 model that multiplied nothing in the other one, whose fused groups have parts of their own."""
    layers = {**fp32.float_layers, **fp32.int8_layers, **fp32.unknown_layers}
    return {
        name: macs
        for name, macs in layers.items()
        if not any(each == name or each.startswith(f"{name}.") for each in busy)
    }
