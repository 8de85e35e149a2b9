"""Settings that decide the outcome of a search, beside model and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SearchSettings:
    """Settings by which layers are accepted and rejected.

    Attributes:
        epsilon_pp: total drop that is accepted, percentage points.
        mode: see `quantbench.search.search.search`.
        delta: in adaptive mode, the risk of any wrong decision outside the indifference zone.
        seed: of the samples drawn in adaptive mode.
    """

    epsilon_pp: float
    mode: Literal["exact", "adaptive"] = "exact"
    delta: float = 0.05
    seed: int = 0
