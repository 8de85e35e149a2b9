"""Problem and result of a sensitivity analysis or a search, and the journal that lets them go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import nn

from quantbench.data.splits import Split
from quantbench.records.search import Decision, LayerSensitivity

Mode = Literal["exact", "adaptive"]
# One line of a journal: strings, numbers, lists and mappings of them, as JSON has them.
Entry = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One model, one split, and the two widths that its layers are tried at.

    Attributes:
        model: in eval mode, with switchable layers; their widths are as they were once a function has returned.
        split: on which accuracy is measured.
        low: width that layers are tried at.
        high: width of every layer at the start.
        layers: names of those to be tried, in the model's order; empty for all of them.
    """

    model: nn.Module
    split: Split
    low: int
    high: int
    layers: tuple[str, ...] = ()


class Journal(Protocol):
    """Store of what a search must not lose; the caller keys it by everything that decides the result."""

    def entries(self) -> list[Entry]:
        """All that was appended, in order; empty at the first start."""

    def append(self, entry: Entry) -> None:
        """Keeps one more, safely: it must be there after a kill."""


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes:
        names: of the layers, in the model's order.
        bits: what was found, one width per layer.
        n: samples of the split.
        correct: packed bits of per-sample correctness with all layers high, base64.
        accuracy: the same as a share, 0..1.
        sensitivities: one per layer, in the model's order.
        decisions: one per layer, in the order of the search.
        layer_macs: multiply-accumulates of each layer for one sample.
        macs_spent: multiply-accumulates really performed, in all runs of a resumed search.
        macs_naive: of the published way: one pass, one for each sensitivity and one for each decision.
        seconds: in all runs of it.
        memory_bytes: most that cached values took.
        full_passes: why every forward was a whole one; empty where values upstream of a changed layer were reused.
    """

    names: tuple[str, ...]
    bits: list[int]
    n: int
    correct: str
    accuracy: float
    sensitivities: list[LayerSensitivity]
    decisions: list[Decision]
    layer_macs: dict[str, int]
    macs_spent: int
    macs_naive: int
    seconds: float
    memory_bytes: int
    full_passes: str
