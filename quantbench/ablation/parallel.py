"""Several long jobs, each in a process of its own, some of them at once: shown together, stopped together."""

from __future__ import annotations

import multiprocessing.connection
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from quantbench.errors import QuantbenchError
from quantbench.foreign import cause_of, traceback_of
from quantbench.measure.fresh import STOP_S, TERMINATED, start
from quantbench.progress import Progress

Job = TypeVar("Job")
Result = TypeVar("Result")
# Seconds between two messages of a job on how far it is.
REPORT_INTERVAL_S = 0.5


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """Outcome of a job.

    Attributes:
        result: what its work returned, or None if it failed.
        failed: why, in words.
        traceback: of what should never have been raised, a mistake in someone's code.
    """

    result: Result | None
    failed: str | None = None
    traceback: str | None = None


@dataclass
class _Running:
    name: str
    process: BaseProcess
    done: int = 0


def run_each(
    work: Callable[[Job, Progress], Result],
    jobs: Mapping[str, Job],
    sizes: Mapping[str, int],
    at_once: int,
    show: Progress,
) -> dict[str, Ended[Result]]:
    """Runs `work(job, progress)` for each job in a new process; one that fails or dies stops no other.

    Args:
        work: a function of a module; it, the jobs and the results must be picklable.
        jobs: by name, started in order.
        sizes: steps of each job, for the display.
        at_once: processes that run at the same time.
        show: the display, in steps of all jobs together.

    Raises:
        KeyboardInterrupt: when interrupted, once all processes are stopped.
    """
    waiting, running, ended = list(jobs.items()), dict[Connection, _Running](), dict[str, Ended[Result]]()
    steps = dict.fromkeys(jobs, 0)
    total = sum(sizes.values())
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name, job = waiting.pop(0)
                connection, process = _start(work, job)
                running[connection] = _Running(name, process)
            for ready in multiprocessing.connection.wait(list(running)):
                connection = ready  # type: ignore[assignment]
                own = running[connection]
                message: Ended[Result] | tuple[int, str] = _receive(connection, own.process)
                if isinstance(message, Ended):
                    if message.traceback:
                        print(message.traceback, file=sys.stderr)
                    own.process.join()
                    del running[connection]
                    ended[own.name], steps[own.name] = message, sizes[own.name]
                else:
                    steps[own.name] = message[0]
                note = "" if isinstance(message, Ended) else f"{own.name} {message[1]}"
                show.update(sum(steps.values()), total, f"{len(ended)} of {len(jobs)} done; {note}".rstrip("; "))
    finally:
        _stop([each.process for each in running.values()])
    return {name: ended[name] for name in jobs}


def _start(work: Callable[[Job, Progress], Result], job: Job) -> tuple[Connection, BaseProcess]:
    return start(_in_child, work, job, daemon=True)


def _receive(connection: Connection, process: BaseProcess) -> Ended[Result] | tuple[int, str]:
    """Next message of a process: its progress, or its end."""
    try:
        message: Ended[Result] | tuple[int, str] = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        code = process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        hint = "; where memory ran out, run fewer at once: --jobs" if code == -signal.SIGKILL else ""
        return Ended(None, f"its process {how} and left no result{hint}")
    return message


def _stop(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(STOP_S)
        if process.is_alive():
            process.kill()
            process.join()


class _Reporting(Progress):
    """Sends how far the job is, now and then; ends the process when nobody is left to read it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__("")
        self._connection = connection
        self._sent = -REPORT_INTERVAL_S

    def update(self, done: int, total: int, note: str = "") -> None:  # noqa: ARG002 — the display knows it
        now = time.monotonic()
        if now - self._sent < REPORT_INTERVAL_S:
            return
        self._sent = now
        try:
            self._connection.send((done, note))
        except (BrokenPipeError, ConnectionResetError):
            sys.exit(TERMINATED)


def _in_child(work: Callable[[Job, Progress], Result], job: Job, connection: Connection) -> None:
    # An exception, where the default would end the process in the middle of writing a file.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        connection.send(Ended(work(job, _Reporting(connection))))
    except QuantbenchError as error:
        connection.send(Ended(None, str(error)))
    except Exception as error:
        connection.send(Ended(None, cause_of(error), traceback_of(error)))
