"""Places where the cells of a sweep are computed, as `--jobs` names them: `4`, `dask:tcp://host:8786`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from quantbench.errors import ConfigError
from quantbench.extras import installed, require
from quantbench.jobs.worker import Asked
from quantbench.measure.load import usable_cores
from quantbench.mistakes import unknown_name
from quantbench.registry import Registry

# Scheme → function(rest of the text, number of cells, threads) that is a context manager and gives a place. Joblib's
# other backends are added by entry points of this group.
PLACES: Registry[Callable[[str, int, int], AbstractContextManager[Place]]] = Registry(
    "scheme",
    "quantbench.jobs",
    {"loky": "quantbench.jobs.places:processes", "dask": "quantbench.jobs.dask_cluster:cluster"},
)
ALLOWED = "write how many run at once, or dask:tcp://HOST:PORT"


def _nothing(_: str) -> None:
    """Stops nothing: processes of this machine see the file that stops them."""


@dataclass(frozen=True)
class Place:
    """Workers that joblib reaches.

    Attributes:
        at_once: cells that run at the same time.
        settings: of `joblib.parallel_config`; None for this very process, without joblib.
        stop: tells workers on other machines that a sweep of that name is stopped.
    """

    at_once: int
    settings: Mapping[str, Any] | None
    stop: Callable[[str], None] = field(default=_nothing)

    def each(self, call: Callable[..., Any], work: object, cells: Iterable[tuple[str, Any]], asked: Asked) -> Any:
        """Results of `call(work, name, job, asked)`, in the order in which they come.

        Args:
            call: made in a worker.
            work: its first argument.
            cells: names and jobs; asked for when there is room for one more.
            asked: its last argument.
        """
        if self.settings is None:
            return (call(work, name, job, asked) for name, job in cells)
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(**self.settings):
            # Of one process joblib makes none: of two, one waits. What is large is sent, not mapped into memory, and
            # joblib's folder is in ours, so that a process that is killed leaves nothing that no later one sweeps.
            parallel = Parallel(
                n_jobs=max(2, self.at_once), pre_dispatch=self.at_once, batch_size=1,
                return_as="generator_unordered", max_nbytes=None, temp_folder=str(asked.folder),
            )  # fmt: skip
            return parallel(delayed(call)(work, name, job, asked) for name, job in cells)


@contextmanager
def opened(text: str | None, n_cells: int, threads: int) -> Iterator[Place]:
    """A place, ready to compute.

    Args:
        text: as `--jobs` has it; None for one process for each core.
        n_cells: cells that there are.
        threads: that libraries take in each worker.

    Raises:
        ConfigError: if there is no such place, or nobody is there.
        ExtraMissingError: if it needs a library that is not installed.
    """
    scheme, rest = parsed(text)
    if scheme == "loky" and rest in ("", "1") and not installed("joblib"):
        print(
            "joblib is not installed: one is computed after the other, in this process; for more at once "
            "pip install 'quantbench-suite[jobs]'",
            file=sys.stderr,
        )
        yield Place(1, None)
        return
    require("--jobs", "joblib")
    with PLACES.get(scheme, "--jobs")(rest, n_cells, threads) as place:
        yield place


def check_jobs(text: str | None) -> None:
    """Refuses what `--jobs` cannot say, before anything is opened.

    Raises:
        ConfigError: as `parsed`.
        ExtraMissingError: if it needs a library that is not installed.
    """
    scheme, rest = parsed(text)
    if scheme != "loky" or int(rest or 1) > 1:
        require("--jobs", "joblib")
        PLACES.get(scheme, "--jobs")


def parsed(text: str | None) -> tuple[str, str]:
    """Scheme and rest of what `--jobs` says.

    Raises:
        ConfigError: if it says neither a number above zero nor a scheme that is known.

    Example:
        >>> parsed("2"), parsed("dask:tcp://localhost:8786"), parsed(None)
        (('loky', '2'), ('dask', 'tcp://localhost:8786'), ('loky', ''))
    """
    scheme, _, rest = (text or "loky").partition(":")
    if scheme.isdecimal():
        scheme, rest = "loky", scheme + rest
    if scheme not in PLACES.names():
        raise ConfigError(f"--jobs {text!r:.60}: {unknown_name('scheme', scheme, PLACES.names())}; {ALLOWED}")
    if scheme == "loky" and rest and not (rest.isdecimal() and 0 < int(rest) < 10_000):
        raise ConfigError(f"--jobs {text!r:.60}: is no number above zero; {ALLOWED}")
    return scheme, rest


@contextmanager
def processes(rest: str, n_cells: int, threads: int) -> Iterator[Place]:
    """Processes of this machine, which end with the sweep, since they keep what was imported.

    Args:
        rest: how many; empty for one for each core.
        n_cells: more are not started.
        threads: of the libraries in each.
    """
    at_once = max(1, min(int(rest) if rest else usable_cores(), n_cells))
    try:
        yield Place(at_once, {"backend": "loky", "inner_max_num_threads": threads})
    finally:
        end_processes()


def end_processes() -> None:
    """Ends the processes that joblib would keep for the next sweep."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)
