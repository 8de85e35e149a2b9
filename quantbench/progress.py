"""Progress for people: a live bar on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds between plain lines, so that a log of CI stays short.
PLAIN_INTERVAL_S = 15.0


class Progress:
    """Counts of one task; `update` may be called as often as one likes."""

    def __init__(self, label: str) -> None:
        self.label = label

    def update(self, done: int, total: int, note: str = "") -> None:
        """Shows `done` of `total`, with a short note such as a loss."""

    def __call__(self, done: int, total: int) -> None:
        self.update(done, total)


# The display in the place of any other, of a process whose progress another one shows.
_instead: list[Progress] = []


@contextmanager
def shown_by(show: Progress) -> Iterator[None]:
    """Lets one display show whatever is computed meanwhile."""
    _instead.append(show)
    try:
        yield
    finally:
        _instead.remove(show)


class _Plain(Progress):
    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._started = self._shown = time.monotonic()

    def update(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        # A task that ends within one interval is not worth a line.
        if now - self._shown < PLAIN_INTERVAL_S:
            return
        self._shown = now
        eta_s = (now - self._started) / max(done, 1) * (total - done)
        print(
            f"{self.label}: {done:,}/{total:,} {note} ETA {eta_s:.0f} s".replace("  ", " "), file=sys.stderr, flush=True
        )


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A progress display for one task."""
    if _instead:
        yield _instead[-1]
        return
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Plain(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with RichProgress(
        *columns,
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Twice a second: a thread that draws more often would disturb the forwards that are timed meanwhile.
        refresh_per_second=2,
    ) as bar:
        task = bar.add_task(label, total=None, note="")

        class Live(Progress):
            def update(self, done: int, total: int, note: str = "") -> None:
                bar.update(task, completed=done, total=total, note=note)

        yield Live(label)
