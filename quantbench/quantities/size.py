"""Bytes of the saved file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.quantities.bounds import Positive
from quantbench.quantities.interface import Column, Quantity
from quantbench.records.run import Size
from quantbench.stats.verdicts import Verdict, at_least

if TYPE_CHECKING:
    from quantbench.experiment.run import Run


class SizeRatio(Quantity[Size]):
    """Smallest accepted fp32 bytes / quantized bytes of the saved files."""

    name = "size_ratio"
    part = "size"
    record = Size
    bound = Positive
    smaller_is_looser = True
    columns = (Column("size ×", lambda s: f"{s.ratio:.2f}", of_reference=False),)

    def measure(self, run: Run) -> Size:
        """Bytes of both files."""
        fp32, quantized = run.baseline.size_bytes, run.artifact.size_bytes
        return Size(fp32_bytes=fp32, quantized_bytes=quantized, ratio=fp32 / quantized)

    def judge(self, run: Run, measured: Size, bound: float) -> Verdict:
        """Exact."""
        s = measured
        text = f"{s.ratio:.3f}× ({s.fp32_bytes:,} → {s.quantized_bytes:,} bytes)"
        return at_least(self.name, s.ratio, None, bound, 1, text, "×")


SIZE = SizeRatio()
