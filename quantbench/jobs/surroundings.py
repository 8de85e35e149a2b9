"""Surroundings that the code of one experiment may change, put back before the next one."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from quantbench.backends.process_settings import kept
from quantbench.torch_process import random_state_kept

# Signals that end a run, or a test that takes too long.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name))


@contextmanager
def restored() -> Iterator[None]:
    """Restores whatever could change another experiment's results, or what is told of them.

    That is torch's settings, random states, numpy's errors, the current folder, the environment, the folder and mode of
    new files, standard streams, warning filters, signal handlers, and limits that were lowered. Imported and patched
    modules, `sys.path`, levels of loggers, the locale and running threads stay as they are.
    """
    states = np.random.get_state(), random.getstate()
    with ExitStack() as stack:
        for each in (_streams, _signals, _filters, _limits, _files, _environment, kept, random_state_kept):
            stack.enter_context(each())
        stack.enter_context(np.errstate(**np.geterr()))
        try:
            yield
        finally:
            np.random.set_state(states[0])
            random.setstate(states[1])


@contextmanager
def _environment() -> Iterator[None]:
    folder, environment = Path.cwd(), dict(os.environ)
    try:
        yield
    finally:
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
        # A folder that is gone cannot be gone back to.
        with suppress(OSError):
            os.chdir(folder)


@contextmanager
def _files() -> Iterator[None]:
    """Restores the folder of temporary files and the permissions of new ones."""
    folder, mask = tempfile.tempdir, os.umask(0)
    os.umask(mask)
    try:
        yield
    finally:
        tempfile.tempdir = folder
        os.umask(mask)


@contextmanager
def _streams() -> Iterator[None]:
    streams = sys.stdin, sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams


@contextmanager
def _filters() -> Iterator[None]:
    """Restores the filters of warnings and the function that shows them, only where they changed.

    Else each warning that is shown once would be shown after every claim anew.
    """
    filters, content, show = warnings.filters, list(warnings.filters), warnings.showwarning
    try:
        yield
    finally:
        warnings.showwarning = show
        if warnings.filters is not filters or list(filters) != content:
            warnings.resetwarnings()
            warnings.filters = filters
            filters[:] = content  # type: ignore[index]


@contextmanager
def _signals() -> Iterator[None]:
    handlers = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in handlers.items():
            is_changed = signal.getsignal(each) is not handler
            # Only the main thread may set one, and one that Python did not set cannot be set again.
            if is_changed and handler is not None and threading.current_thread() is threading.main_thread():
                signal.signal(each, handler)


@contextmanager
def _limits() -> Iterator[None]:
    """Raises limits again that were lowered; one that was raised, as a deep model needs it, harms nobody."""
    depth, of_system = sys.getrecursionlimit(), _system_limits()
    try:
        yield
    finally:
        if sys.getrecursionlimit() < depth:
            sys.setrecursionlimit(depth)
        _raise_again(of_system)


def _system_limits() -> dict[int, tuple[int, int]]:
    try:
        import resource
    # Not on Windows.
    except ImportError:
        return {}
    kinds = [value for name, value in vars(resource).items() if name.startswith("RLIMIT_")]
    return {kind: resource.getrlimit(kind) for kind in kinds}


def _raise_again(limits: dict[int, tuple[int, int]]) -> None:
    for kind, (soft, _) in limits.items():
        import resource

        now, hard = resource.getrlimit(kind)
        if now != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or now < soft):
            # Not beyond a hard limit, which may only be lowered.
            with suppress(OSError, ValueError):
                resource.setrlimit(kind, (soft, hard))
