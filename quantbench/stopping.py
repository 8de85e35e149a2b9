"""Runs that are stopped from outside: by Ctrl-C, or by SIGTERM as a CI service sends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Exit status of what SIGTERM has ended.
TERMINATED = 128 + signal.SIGTERM
HINT = "interrupted; what was finished is kept, and the same command goes on from it"
# By which this process was stopped last; both look the same to code, which knows KeyboardInterrupt.
_received: list[int] = []


@contextmanager
def stoppable() -> Iterator[None]:
    """Lets SIGTERM stop a run as Ctrl-C does, so that it tells what it has found."""
    _received.clear()
    # Only the main thread of a process may ask for signals; who has asked for this one already keeps it.
    is_free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread() or not is_free:
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, _: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt


def status() -> int:
    """Exit status of a command that was stopped, as a shell has it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (_received[-1] if _received else signal.SIGINT)
