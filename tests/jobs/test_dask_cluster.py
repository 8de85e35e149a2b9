"""Workers of a Dask cluster: the same results, also where one is killed; what would compute otherwise is refused."""

import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import long_jobs
import pytest

import quantbench
from quantbench.errors import ConfigError, QuantbenchError
from quantbench.jobs.sweep import run_each
from quantbench.progress import Progress

distributed = pytest.importorskip("distributed", reason="extra 'dask'")

from quantbench.jobs import dask_cluster  # noqa: E402 — needs it

pytestmark = pytest.mark.usefixtures("kept_processes")

# Its scheduler listens where the system finds room, and says so in a file; each worker is a process of its own.
START = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler with two workers; its address as `--jobs` has it."""
    folder = tmp_path_factory.mktemp("cluster")
    program = folder / "cluster.py"
    program.write_text(START)
    paths = os.pathsep.join([str(Path(quantbench.__file__).parents[1]), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=folder, env={**os.environ, "PYTHONPATH": paths},
    ) as process:  # fmt: skip
        yield f"dask:{process.stdout.readline().strip()}"
        process.stdin.close()
        process.wait(60)


def ended(work, jobs, where):
    return run_each(work, jobs, dict.fromkeys(jobs, 1), Progress("test"), where)


def test_a_worker_that_is_killed_in_the_middle_costs_no_cell_and_changes_no_result(cluster, tmp_path):
    jobs = {name: (str(tmp_path / "killed"), name) for name in "abcde"}
    found = ended(long_jobs.die_once, jobs, cluster)
    assert (tmp_path / "killed").exists()
    assert {name: each.result for name, each in found.items()} == {name: name for name in "abcde"}


def test_cells_compute_here_what_they_compute_there(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = dict.fromkeys("abc", 0)
    assert ended(long_jobs.draw, jobs, cluster) == ended(long_jobs.draw, jobs, "1")


@pytest.fixture
def backend(monkeypatch):
    """Joblib's way to a cluster of which nobody is there."""
    found = dask_cluster.Watched.__new__(dask_cluster.Watched)
    found._where, found._pending, found._over = "x", set(), threading.Event()
    found.client = SimpleNamespace(nthreads=dict)
    return found


def test_a_cell_that_is_lost_is_told_to_joblib_which_would_wait_for_ever(backend):
    future, told = Future(), []
    future.set_exception(distributed.KilledWorker("cell", None, []))
    backend._ended(future, told.append)
    assert told == [future.exception()]
    with pytest.raises(distributed.KilledWorker):
        backend.retrieve_result_callback(told[0])


def test_a_scheduler_that_is_gone_is_one_line(backend):
    with pytest.raises(QuantbenchError, match=r"^x: the scheduler is gone; finished cells are kept$"):
        backend.retrieve_result_callback((ValueError, ValueError(), None))


def test_a_cluster_without_any_worker_is_given_up(backend, monkeypatch):
    monkeypatch.setattr(dask_cluster, "ALONE_S", 0.0)
    monkeypatch.setattr(dask_cluster, "LOOK_S", 0.01)
    backend._pending.add(future := Future())
    backend._watch()
    assert str(future.exception()) == "x: no worker was there for 0 s; start some, and run again"


def version(**changes):
    """Facts of this process, some of them changed."""
    return dask_cluster._facts_of_this_process() | changes


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (None, "worker w cannot import quantbench; install there what is installed here"),
        ({"quantbench": "0.0.1"}, "worker w has quantbench 0.0.1, and this process"),
        ({"source": "0"}, f"worker w has quantbench {quantbench.__version__} of other source; install the same there"),
        ({"torch": "1.0"}, "worker w has torch 1.0, and this process"),
    ],
)
def test_a_worker_that_would_compute_something_else_is_refused_by_name(facts, line):
    with pytest.raises(ConfigError, match=r"^worker w ") as raised:
        dask_cluster._compare("worker w", None if facts is None else version(**facts), version())
    assert str(raised.value).startswith(line)


def test_a_worker_without_the_package_says_so(tmp_path):
    """Sent as it is written, the question needs nothing of ours."""
    sent = distributed.protocol.pickle.dumps(dask_cluster._asking())
    # Where only what unpickles it is found.
    (tmp_path / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)
    code = "import sys, pickle; print(pickle.loads(sys.stdin.buffer.read())())"
    without = subprocess.run(
        [sys.executable, "-S", "-c", code],
        input=sent, capture_output=True, check=True, cwd="/", env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert without.stdout == b"None\n"


class Cluster:
    """A scheduler's client, as far as workers are asked about."""

    def __init__(self, python=None, threads=1):
        self.python, self.threads = python or sys.version.split()[0] + ".final.0", threads

    def get_versions(self):
        return {"workers": {"w": {"host": {"python": self.python}}}}

    def nthreads(self):
        return {"w": self.threads}


@pytest.mark.parametrize(
    ("client", "line"),
    [
        (Cluster(python="3.1.4.final.0"), "x: worker w runs Python 3.1, and this process "),
        (Cluster(threads=4), "x: worker w has 4 threads, and cells in one process would share its random state; start"),
    ],
)
def test_a_worker_of_another_kind_is_refused_by_name(client, line):
    with pytest.raises(ConfigError) as raised:
        dask_cluster._check_workers("x", client)
    assert str(raised.value).startswith(line)


def test_a_scheduler_without_workers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "ANSWER_S", 1.0)
    program = tmp_path / "alone.py"
    program.write_text(START.replace("n_workers=2", "n_workers=0"))
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        address = process.stdout.readline().strip()
        with pytest.raises(ConfigError, match=r"the scheduler has no workers; start them with: dask worker tcp://"):
            ended(long_jobs.tell, {"a": 1}, f"dask:{address}")
        process.stdin.close()
