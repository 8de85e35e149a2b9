"""Workers of a Dask cluster: refused where they would compute something else, and missed where they are gone."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from joblib._dask import DaskDistributedBackend

import quantbench
from quantbench.errors import ConfigError, QuantbenchError
from quantbench.experiment.built import source_digest
from quantbench.extras import require
from quantbench.foreign import first_line
from quantbench.jobs import worker
from quantbench.jobs.places import Place
from quantbench.measure.environment import environment

if TYPE_CHECKING:
    from distributed import Client

# Seconds for a scheduler to answer and to have a worker; after so many without any worker a sweep is given up.
ANSWER_S = 10.0
ALONE_S = 60.0
# Between two looks for workers.
LOOK_S = 1.0
# As text, so that workers without the package can be asked too, and that nothing of a tool that rewrites functions, as
# one of coverage does, has to be sent.
ASKED = """
def facts():
    try:
        from quantbench.jobs import dask_cluster
    except ImportError:
        try:
            import quantbench
        except ImportError:
            return None
        return {"quantbench": str(quantbench.__version__)}
    return dask_cluster._facts_of_this_process()
"""


@contextmanager
def cluster(address: str, n_cells: int, threads: int) -> Iterator[Place]:  # noqa: ARG001 — cells set them
    """The workers of a scheduler, one cell at a time in each.

    Args:
        address: of the scheduler.
        n_cells: no more run at once.
        threads: as the work says.

    Raises:
        ExtraMissingError: if `distributed` is not installed.
        ConfigError: in one line, if no scheduler answers in time, it has no workers, or one of them cannot compute the
            same.
    """
    where = f"--jobs dask:{address}" if address else "--jobs dask"
    require(where, "distributed")
    if "://" not in address:
        raise ConfigError(
            f"{where}: is no address; write dask:tcp://HOST:PORT, which the scheduler says when it starts"
        )
    client = _connected(where, address)
    try:
        _check_workers(where, client)
        backend = Watched(where, client)
        yield Place(
            min(len(client.nthreads()), n_cells),
            {"backend": backend},
            lambda sweep: _stop(client, sweep),
        )
    finally:
        with suppress(Exception):
            client.close(timeout=ANSWER_S)


def _connected(where: str, address: str) -> Client:
    from distributed import Client

    try:
        client = Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{where}: no scheduler answers within {ANSWER_S:.0f} s ({first_line(error)}); start one with: dask "
            "scheduler"
        ) from None
    try:
        client.wait_for_workers(1, timeout=ANSWER_S)
    except (OSError, TimeoutError):
        client.close()
        raise ConfigError(
            f"{where}: the scheduler has no workers; start them with: dask worker {address} --nthreads 1"
        ) from None
    return client


def _check_workers(where: str, client: Client) -> None:
    """Refuses a worker by name that does not compute as this process would."""
    python = platform.python_version()
    minor = python.rpartition(".")[0]
    for name, each in sorted(client.get_versions()["workers"].items()):
        # Before anything is asked of it: a function is sent as this Python's code.
        if (theirs := ".".join(each["host"]["python"].split(".")[:2])) != minor:
            raise ConfigError(f"{where}: worker {name} runs Python {theirs}, and this process {minor}; use one version")
    for name, n in sorted(client.nthreads().items()):
        if n != 1:
            raise ConfigError(
                f"{where}: worker {name} has {n} threads, and cells in one process would share its random state; "
                "start workers with: --nthreads 1"
            )
    ours = _facts_of_this_process()
    for name, theirs in sorted(client.run(_asking()).items()):
        _compare(f"{where}: worker {name}", theirs, ours)


def _compare(who: str, theirs: dict[str, str] | None, ours: dict[str, str]) -> None:
    if theirs is None:
        raise ConfigError(f"{who} cannot import quantbench; install there what is installed here")
    for fact, here in ours.items():
        if (there := theirs.get(fact, "none")) == here:
            continue
        if fact == "source":
            raise ConfigError(
                f"{who} has quantbench {theirs['quantbench']} of other source; install the same there, and restart it"
            )
        raise ConfigError(f"{who} has {fact} {there}, and this process {here}; install the same there, and restart it")


def _facts_of_this_process() -> dict[str, str]:
    return {"quantbench": quantbench.__version__, "source": source_digest(), **environment().versions}


def _asking() -> Callable[[], dict[str, str] | None]:
    found: dict[str, Any] = {"__name__": "asked"}
    exec(ASKED, found)  # noqa: S102 — a constant of this module
    facts: Callable[[], dict[str, str] | None] = found["facts"]
    return facts


def _stop(client: Client, sweep: str) -> None:
    # Some may be gone, or the scheduler.
    with suppress(Exception):
        client.run(worker.stop, sweep, on_error="ignore")


class Watched(DaskDistributedBackend):
    """Joblib's backend, which waits for ever for a cell without a result: where its worker died, or none is left.

    Args:
        where: for messages.
        client: of the scheduler.
    """

    def __init__(self, where: str, client: Client) -> None:
        super().__init__(client=client)
        self._where = where
        self._pending: set[Future[Any]] = set()
        self._over = threading.Event()

    def effective_n_jobs(self, n_jobs: int) -> int:
        """As many as there are workers; of one joblib would compute here."""
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def start_call(self) -> None:
        """Begins to look for workers."""
        super().start_call()
        self._over.clear()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop_call(self) -> None:
        """Looks no longer."""
        self._over.set()
        super().stop_call()

    def submit(self, func: Any, callback: Callable[[Any], None]) -> Any:
        """Submits a cell; the callback gets the error of one that is lost."""
        future = super().submit(func, callback)
        self._pending.add(future)
        future.add_done_callback(lambda done: self._ended(done, callback))
        return future

    def _ended(self, future: Future[Any], callback: Callable[[Any], None]) -> None:
        self._pending.discard(future)
        if (error := future.exception()) is not None:
            callback(error)

    def retrieve_result_callback(self, out: Any) -> Any:
        """The result of a cell.

        Raises:
            Exception: if there is none.
        """
        if isinstance(out, BaseException):
            raise out
        # Of one that was cancelled, since the scheduler is gone: kind of an exception, exception, traceback.
        if isinstance(out, tuple):
            raise QuantbenchError(f"{self._where}: the scheduler is gone; finished cells are kept")
        return super().retrieve_result_callback(out)

    def _watch(self) -> None:
        seen = time.monotonic()
        while not self._over.wait(LOOK_S):
            with suppress(Exception):
                if self.client.nthreads():
                    seen = time.monotonic()
            if time.monotonic() - seen > ALONE_S:
                line = f"{self._where}: no worker was there for {ALONE_S:.0f} s; start some, and run again"
                for future in list(self._pending):
                    future.set_exception(QuantbenchError(line))
                return
