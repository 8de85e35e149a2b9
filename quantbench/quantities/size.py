"""Bytes of the saved file."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantbench.quantities.bounds import Positive
from quantbench.quantities.interface import Column, Quantity
from quantbench.records.run import Size
from quantbench.stats.verdicts import Outcome, Verdict, at_least

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

# Keys that are named where a file is too large: the largest, and only those that matter.
SHOWN_KEYS, SHOWN_SHARE = 3, 0.05


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
        fp32, quantized = run.counterpart.size_bytes, run.artifact.size_bytes
        return Size(fp32_bytes=fp32, quantized_bytes=quantized, ratio=fp32 / quantized)

    def judge(self, run: Run, measured: Size, bound: float) -> Verdict:
        """Exact; a FAIL names the largest keys that are the same in both files."""
        s = measured
        text = f"{s.ratio:.3f}× ({s.fp32_bytes:,} → {s.quantized_bytes:,} bytes)"
        verdict = at_least(self.name, s.ratio, None, bound, 1, text, "×")
        if verdict.outcome is Outcome.FAIL and (kept := _unshrunk(run)):
            text += "; did not shrink: " + ", ".join(f"'{key}' ({size:,} bytes)" for key, size in kept[:SHOWN_KEYS])
        return replace(verdict, measured=text)


SIZE = SizeRatio()


def _unshrunk(run: Run) -> list[tuple[str, int]]:
    """Keys of the quantized file that have dtype and shape of one of the fp32 file, with their bytes, largest first.

    Names may differ, since those of fused layers do.
    """
    fp32 = run.counterpart
    before = list(fp32.backend.describe(fp32.artifact).keys.values())
    after = run.backend.describe(run.artifact).keys
    kept = [(key, _bytes(entry)) for key, entry in after.items() if entry in before]
    return sorted(
        ((key, size) for key, size in kept if size > SHOWN_SHARE * run.artifact.size_bytes), key=lambda item: -item[1]
    )


def _bytes(entry: dict[str, Any]) -> int:
    """Bytes of an entry by its dtype, such as `float32`, and shape; 0 where it has none, or one of unknown width."""
    bits = re.search(r"\d+$", str(entry.get("dtype", "")))
    return math.prod(entry.get("shape", [])) * int(bits[0]) // 8 if bits else 0
