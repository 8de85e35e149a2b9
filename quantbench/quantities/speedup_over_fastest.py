"""Speed-up of a forward over the fastest fp32 form at hand, of all runtimes that are installed."""

from __future__ import annotations

from typing import Any, ClassVar

from quantbench.quantities.interface import Column
from quantbench.quantities.speedup import SpeedupOverFp32


class SpeedupOverFastest(SpeedupOverFp32):
    """Smallest accepted median of the fastest fp32 form's time / int8 time over interleaved pairs.

    Another runtime may run the fp32 model twice as fast as its own one does; int8 is worth its loss in accuracy only
    where it is faster than that.
    """

    name = "speedup_over_fastest"
    over: ClassVar[str] = "fp32_fastest"
    columns: ClassVar[tuple[Column[Any], ...]] = (
        Column("over fastest fp32", lambda t: f"{t.speedup_over_fastest:.2f} ({t.fastest_form})"),
    )


SPEEDUP_OVER_FASTEST = SpeedupOverFastest()
