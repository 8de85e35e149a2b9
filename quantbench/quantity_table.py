"""The table of quantities: name → "module:attribute"; an entry is imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from quantbench.errors import ConfigError
from quantbench.registry import unknown_name


class ColumnEntry(Protocol):
    """A column of the results table, for readers that may not import quantities."""

    header: str
    cell: Callable[[Any], str]
    of_reference: bool


class QuantityEntry(Protocol):
    """A quantity, for folders that may not import `quantities`."""

    name: str
    part: str
    record: Any
    bound: Any
    timed: bool
    columns: Sequence[ColumnEntry]

    def measure(self, run: Any) -> Any: ...
    def why_not(self, experiment: Any) -> str | None: ...


class Table:
    def __init__(self, kind: str, table: dict[str, str]) -> None:
        self.kind = kind
        self.table = table

    def names(self) -> list[str]:
        return list(self.table)

    def check(self, name: str, where: str) -> None:
        if name not in self.table:
            raise ConfigError(f"{where}: {unknown_name(self.kind, name, sorted(self.table))}")

    def get(self, name: str, where: str) -> Any:
        self.check(name, where)
        module, _, attribute = self.table[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def all(self) -> list[QuantityEntry]:
        return [self.get(name, self.kind) for name in self.names()]


_Q = "quantbench.quantities"
# In the order in which they are judged and in which their columns stand.
QUANTITIES = Table("quantity", {
    "accuracy_drop_pp": f"{_Q}.accuracy_drop:ACCURACY_DROP",
    "block_drop_pp": f"{_Q}.block_drop:BLOCK_DROP",
    "size_ratio": f"{_Q}.size:SIZE",
    "memory_ratio": f"{_Q}.memory:MEMORY",
    "speedup": f"{_Q}.speedup:SPEEDUP",
    "int8_share": f"{_Q}.int8_share:INT8_SHARE",
    "card_drift_pp": f"{_Q}.card_drift:CARD_DRIFT",
    "search_drop_pp": f"{_Q}.search_drop:SEARCH_DROP",
    "reload": f"{_Q}.reload:RELOAD",
    "determinism": f"{_Q}.determinism:DETERMINISM",
    "checkpoint": f"{_Q}.checkpoint:CHECKPOINT",
    "accuracy_vs_accepted": f"{_Q}.accuracy_vs_accepted:ACCURACY_VS_ACCEPTED",
    "speedup_vs_accepted": f"{_Q}.speedup_vs_accepted:SPEEDUP_VS_ACCEPTED",
    "search": f"{_Q}.search:SEARCH",
})  # fmt: skip
