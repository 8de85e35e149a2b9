"""The ledger of a search: what earlier runs of it wrote down, what this one adds, and how far it is."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.progress import Progress
from quantbench.search.engine import Engine
from quantbench.search.problem import Entry, Journal


class Ledger:
    """Keeps a journal and a progress bar up to date.

    Args:
        engine: whose work is counted.
        journal: of earlier runs; None to begin anew and keep nothing.
        show: progress, in passes of the published way.
        total: of these passes.

    Attributes:
        macs: multiply-accumulates of all runs, up to the last entry.
        seconds: the same of time.
        passes: of the published way that are done.
    """

    def __init__(self, engine: Engine, journal: Journal | None, show: Progress | None, total: int) -> None:
        self._engine, self._journal, self._show, self._total = engine, journal, show, total
        self._earlier = journal.entries() if journal is not None else []
        self._macs, self._started = engine.macs, time.monotonic()
        self.macs, self.seconds, self.passes = 0, 0.0, 0.0

    def earlier(self, kind: str, key: Any) -> Entry | None:
        """Entry of an earlier run, so that it is not computed again; counted as done."""
        for entry in self._earlier:
            if entry["kind"] == kind and entry["key"] == key:
                self.macs += entry["macs"]
                self.seconds += entry["seconds"]
                return entry
        return None

    def add(self, kind: str, key: Any, found: Entry) -> None:
        """Writes down what was found since the last entry."""
        now = time.monotonic()
        macs, seconds = self._engine.macs - self._macs, now - self._started
        self._macs, self._started = self._engine.macs, now
        self.macs += macs
        self.seconds += seconds
        if self._journal is not None:
            self._journal.append({"kind": kind, "key": key, "macs": macs, "seconds": seconds, **found})

    def done(self, passes: float) -> None:
        """Shows that much more of the published way's work as done."""
        self.passes += passes
        if self._show is not None:
            whole = self._engine.replay.macs * self._engine.n
            saved = self.passes - (self.macs + self._engine.macs - self._macs) / whole
            why = self._engine.replay.not_replayable
            note = f"{max(saved, 0.0):.1f} passes saved" + (f", few since {why}" if why else "")
            self._show.update(round(self.passes), self._total, note)


def packed(values: NDArray[Any]) -> str:
    """An array as base64 of its bytes, for JSON."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def unpacked(text: str, dtype: Any) -> NDArray[Any]:
    """The reverse of `packed`."""
    return np.frombuffer(base64.b64decode(text), dtype=dtype).copy()
