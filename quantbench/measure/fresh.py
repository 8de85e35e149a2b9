"""Work done in a process of its own, which knows nothing of what this one has loaded, cached or warmed up.

Such a process ends with the one that started it: it watches a pipe whose other end only that one holds. No semaphores
are needed, which some systems have no place for (`/dev/shm`).
"""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from quantbench.errors import CheckpointError, ForeignError, QuantbenchError
from quantbench.foreign import calling, traceback_of

# Variables that say where the cache and the user's data are.
PLACES = ("QUANTBENCH_CACHE", "QUANTBENCH_DATA")
Result = TypeVar("Result")
# Loads whatever artifact it is given.
LOADER, BACKENDS = "quantbench.measure.reload", "quantbench.backends."
# Modules that the server imports too, see `foresee`.
_FORESEEN: dict[str, None] = {}
# Seconds that a process which is told to end may take to finish its step and clean up.
STOP_S = 10.0
# Exit status of a process ended by SIGTERM, as a shell has it.
TERMINATED = 128 + signal.SIGTERM


class RemoteTraceback(Exception):  # noqa: N818 — no error, but where one was raised
    """The traceback of an error in its own process, which is the error's cause here."""


def in_fresh_process(work: Callable[..., Result], *args: object, died: str) -> Result:
    """Runs `work(*args)` in a process of its own.

    Args:
        work: a function of a module; it, its arguments and the result must be picklable.
        args: its arguments, such as an artifact, which it loads there from its files.
        died: the message if the process ends without a result.

    Raises:
        CheckpointError: with that message.
        ForeignError: if the work raises anything but an error of ours.
    """
    connection, process = start(_work, work, args)
    try:
        found, error, text = connection.recv()
        process.join()
    except (EOFError, ConnectionResetError):
        raise CheckpointError(died) from None
    finally:
        # Where this process was interrupted, the other one sees it and ends.
        connection.close()
        process.join()
    if error is not None:
        raise error from RemoteTraceback(text)
    result: Result = found
    return result


def start(target: Callable[..., None], *args: object, daemon: bool = False) -> tuple[Connection, BaseProcess]:
    """Starts `target(*args, connection)` in a process that ends when this one closes its end, or ends.

    Args:
        target: a function of a module; it sends what it has to say.
        args: picklable.
        daemon: whether it may start no processes, and is ended at this one's regular end.

    Returns:
        This process's end of the connection, on which it only receives, and the process.
    """
    ours, theirs = multiprocessing.connection.Pipe()
    # The process may stem from a server that was started with other surroundings.
    places = {name: os.environ.get(name) for name in PLACES}
    process = fresh_context().Process(target=_begin, args=(target, args, theirs, places), daemon=daemon)
    process.start()
    # Kept open here, it would hide that the process has died.
    theirs.close()
    return ours, process


def _begin(
    target: Callable[..., None], args: tuple[object, ...], connection: Connection, places: Mapping[str, str | None]
) -> None:
    for name, place in places.items():
        if place is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = place
    # Ctrl-C reaches every process of a terminal; which of them stop, and when, is for the first one to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    target(*args, connection)


def _end_with(connection: Connection) -> None:
    """Ends this process as SIGTERM does once the other end of a connection is closed; at last whatever it is doing."""
    # Nothing is ever sent this way.
    with suppress(OSError):
        connection.poll(None)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_S)
    os._exit(TERMINATED)


def _work(work: Callable[..., Any], args: tuple[object, ...], connection: Connection) -> None:
    """Sends the result, or an error in a form that survives the way back, with its traceback.

    What a library says of its future was said by the process that began this one, which did the same before.
    """
    try:
        with calling("the fresh process"), warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
                warnings.simplefilter("ignore", category)
            sent = pickle.dumps((work(*args), None, ""))
    except QuantbenchError as error:
        sent = pickle.dumps((None, _portable(error), traceback_of(error)))
    connection.send_bytes(sent)


def _portable(error: QuantbenchError) -> QuantbenchError:
    """The error itself, or its line where its class cannot be made again from its arguments."""
    try:
        found = pickle.loads(pickle.dumps(error))  # noqa: S301 — of this process's own
    except Exception:
        return ForeignError(str(error))
    return found if isinstance(found, QuantbenchError) else ForeignError(str(error))


def foresee(modules: Iterable[str]) -> None:
    """Lets the server import modules that fresh processes will need, and that take each of them seconds otherwise.

    Said before the first of them starts; a module that cannot be imported is left for the process that needs it.

    Args:
        modules: names.
    """
    _FORESEEN.update(dict.fromkeys(modules))


@functools.cache
def fresh_context() -> multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext:
    """Starts processes from a server that has imported torch and the backends that this process has imported, what was
    foreseen, and nothing else, forked once per job: fresh, without seconds of import each."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    imported = sorted(name for name in sys.modules if name == "torch" or name.startswith(BACKENDS))
    context.set_forkserver_preload([LOADER, *imported, *_FORESEEN])
    return context
