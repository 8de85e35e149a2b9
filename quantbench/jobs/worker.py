"""One cell of a sweep in a worker: computed as in a process of its own, stopped with the process that asked for it."""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from quantbench.errors import QuantbenchError
from quantbench.foreign import cause_of, traceback_of
from quantbench.jobs.surroundings import restored
from quantbench.measure.fresh import PLACES, STOP_S, TERMINATED
from quantbench.progress import Progress, shown_by
from quantbench.provenance import Code, differing_code, loaded_code
from quantbench.torch_process import seed

Job = TypeVar("Job")
Result = TypeVar("Result")
# Seconds between two notes of a cell on how far it is, and between two looks of a worker at who asked for it.
REPORT_INTERVAL_S = 0.5
LOOK_S = 0.2
# The file that stops all workers of a sweep on this machine.
STOP = "stop"
STOPPED = "it was stopped"
# Sweeps that were stopped, where the workers are on other machines.
_stopped: set[str] = set()


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """Outcome of a cell.

    Attributes:
        result: what its work returned, or None if it failed.
        failed: why, in words.
        traceback: of what should never have been raised, a mistake in someone's code.
    """

    result: Result | None
    failed: str | None = None
    traceback: str | None = None


@dataclass(frozen=True)
class Asked:
    """The process that asks, as far as a worker has to know it.

    Attributes:
        process: its number.
        folder: where workers on its machine tell how far they are; its name is the sweep's.
        here: its current folder, in which relative paths are looked for.
        places: variables that say where the cache and the user's data are.
        code: the user's modules that it has loaded.
    """

    process: int
    folder: Path
    here: Path
    places: Mapping[str, str]
    code: Code

    @classmethod
    def by_this_process(cls, folder: Path) -> Asked:
        """This process, with a folder for one sweep."""
        places = {name: os.environ[name] for name in PLACES if name in os.environ}
        return cls(os.getpid(), folder, Path.cwd(), places, loaded_code())

    def is_stopped(self) -> bool:
        """True once nobody waits for the sweep."""
        return self.folder.name in _stopped or (self.folder / STOP).exists()


def in_worker(work: Callable[[Job, Progress], Result], name: str, job: Job, asked: Asked) -> tuple[str, Ended[Result]]:
    """Calls `work(job, progress)` and gives the cell's name with whatever came of it; raises nothing.

    Args:
        work: a function of a module; it, the job and the result must be picklable.
        name: of the cell.
        job: its input.
        asked: who asks.
    """
    if asked.is_stopped():
        return name, Ended(None, STOPPED)
    try:
        with restored(), _stopping_with(asked):
            _enter(asked)
            with shown_by(show := _Reporting(name, asked)):
                return name, Ended(work(job, show))
    except QuantbenchError as error:
        return name, Ended(None, str(error))
    except SystemExit as error:
        words = STOPPED if asked.is_stopped() else f"its code asked for the end of its process with {error.code}"
        return name, Ended(None, words)
    except Exception as error:
        return name, Ended(None, cause_of(error), traceback_of(error))


def stop(sweep: str) -> None:
    """Stops a sweep in this worker, each cell at its next step.

    Args:
        sweep: its name.
    """
    _stopped.add(sweep)


def _enter(asked: Asked) -> None:
    """Makes the surroundings those of the process that asks, and refuses what cannot be made so."""
    try:
        os.chdir(asked.here)
    except OSError as error:
        raise QuantbenchError(
            f"worker on {platform.node()}: {asked.here}: {error.strerror}; its machine must see this folder, with the "
            "project in it, under the same name"
        ) from None
    for name in PLACES:
        os.environ.pop(name, None)
    os.environ.update(asked.places)
    # Of a model that draws from them without a seed of its own: the same in whichever worker, after whichever cell.
    random.seed(0)
    np.random.seed(0)
    seed(0)
    if changed := differing_code(asked.code, loaded_code()):
        raise QuantbenchError(
            f"worker on {platform.node()}: has loaded other code: {', '.join(changed)} changed since, or is of another "
            "project; restart the workers"
        )


@contextmanager
def _stopping_with(asked: Asked) -> Iterator[None]:
    """Ends the cell soon after the process that asks is gone or wants it to stop, even where it has nothing to tell.

    A worker that is not a child of that process has its own way to be stopped, see `stop`.
    """
    if os.getppid() != asked.process or threading.current_thread() is not threading.main_thread():
        yield
        return
    # An exception, where the default would end the process in the middle of writing a file.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    # Ctrl-C reaches every process of a terminal; which of them stop, and when, is for the first one to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    over = threading.Event()
    threading.Thread(target=_watch, args=(asked, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(asked: Asked, over: threading.Event) -> None:
    while not over.wait(LOOK_S):
        if os.getppid() != asked.process or asked.is_stopped():
            os.kill(os.getpid(), signal.SIGTERM)
            if not over.wait(STOP_S):
                os._exit(TERMINATED)
            return


class _Reporting(Progress):
    """Writes now and then how far the cell is, where whoever shows it can read that; ends it where it is stopped."""

    def __init__(self, name: str, asked: Asked) -> None:
        super().__init__("")
        self._path, self._asked = note_of(name, asked.folder), asked
        self._written = -REPORT_INTERVAL_S

    def update(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._written < REPORT_INTERVAL_S:
            return
        self._written = now
        if self._asked.is_stopped():
            sys.exit(TERMINATED)
        # On another machine there is no such folder.
        with suppress(OSError):
            self._path.write_text(json.dumps([done, total, note]), encoding="utf-8")


def note_of(name: str, folder: Path) -> Path:
    """The file in which a cell notes how far it is."""
    return folder / f"{name.encode().hex()[:200]}.json"
