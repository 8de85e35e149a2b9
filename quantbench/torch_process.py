"""Settings of the whole process that torch keeps: its threads and its random state. Without torch there are none.

Where torch is installed it is imported here when one of them is asked for. A runtime of files takes its threads with
each model that it loads, and needs nothing of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantbench.extras import installed

SIBLINGS = "sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
ROOT = Path("/")


# Set where there is no torch to set them in.
_threads: list[int] = []


def get_threads() -> int:
    """Threads of a model that is evaluated: torch's, or where it is not installed as many as it would take."""
    if not installed("torch"):
        return _threads[0] if _threads else default_threads()
    import torch

    return torch.get_num_threads()


def set_threads(n: int) -> None:
    """Sets the threads of models that are evaluated from now on."""
    if not installed("torch"):
        _threads[:] = [n]
        return
    import torch

    torch.set_num_threads(n)


def default_threads(root: Path = ROOT) -> int:
    """Threads by the rule of torch: as the environment says, or one for each physical core that may be used.

    Args:
        root: of the file system that tells which cores share a physical one.
    """
    for name in ("MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        # Of nested parallel regions the first number is the outermost one's.
        given = os.environ.get(name, "").partition(",")[0].strip()
        if given.isdecimal() and int(given):
            return int(given)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len({_physical(core, root) for core in usable})


def _physical(core: int, root: Path) -> str:
    """A name that all logical cores of a physical one share; of its own where the system does not tell."""
    try:
        return (root / SIBLINGS.format(core=core)).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return str(core)


@contextmanager
def computing(n: int) -> Iterator[None]:
    """That many threads, and no autograd; both as before at the end."""
    if not installed("torch"):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def seed(n: int) -> None:
    """Sets torch's random state, where torch is installed."""
    if installed("torch"):
        import torch

        torch.manual_seed(n)


@contextmanager
def random_state_kept(another: bool = False) -> Iterator[None]:
    """Restores torch's random state.

    Args:
        another: begin with one that is never the same.
    """
    if not installed("torch"):
        yield
        return
    import torch

    state = torch.get_rng_state()
    if another:
        torch.default_generator.seed()
    try:
        yield
    finally:
        torch.set_rng_state(state)
