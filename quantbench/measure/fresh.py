"""Work done in a process of its own, which knows nothing of what this one has loaded, cached or warmed up."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.context
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from quantbench.errors import CheckpointError
from quantbench.foreign import calling

Result = TypeVar("Result")
# Loads whatever artifact it is given.
LOADER, BACKENDS = "quantbench.measure.reload", "quantbench.backends."


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
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh_context()) as pool:
        try:
            return pool.submit(_worded, work, *args).result()
        except BrokenProcessPool:
            raise CheckpointError(died) from None


def _worded(work: Callable[..., Result], *args: object) -> Result:
    """Runs the work there; an exception of somebody's own may not survive the way back, so its line takes it.

    What a library says of its future was said by the process that began this one, which did the same before.
    """
    with calling("the fresh process"), warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        return work(*args)


@functools.cache
def fresh_context() -> multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext:
    """Starts processes from a server that has imported the backends that this process has imported, and nothing else,
    forked once per job: fresh, without seconds of import each."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([LOADER, *sorted(name for name in sys.modules if name.startswith(BACKENDS))])
    return context
