"""Work done in a process of its own, which knows nothing of what this one has loaded, cached or warmed up."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.context
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from quantbench.errors import CheckpointError

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_fresh_process(work: Callable[[Job], Result], job: Job, died: str) -> Result:
    """Runs `work(job)` in a process of its own.

    Args:
        work: a function of a module; it, the job and the result must be picklable.
        job: its only argument.
        died: the message if the process ends without a result.

    Raises:
        CheckpointError: with that message.
        Exception: whatever the work raises.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh_context()) as pool:
        try:
            return pool.submit(work, job).result()
        except BrokenProcessPool:
            raise CheckpointError(died) from None


@functools.cache
def fresh_context() -> multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext:
    """Starts processes from a server that has imported torch and nothing else, forked once per job: fresh, without
    seconds of import each."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["quantbench.measure.reload", "quantbench.backends.torch_ao.eager"])
    return context
