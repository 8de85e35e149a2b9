"""Work in a process of its own: it knows nothing of this one, and its errors and its death come back as words."""

import importlib
import os
import signal
import time
from types import SimpleNamespace

import pytest

from quantbench.errors import CheckpointError, ForeignError, MeasurementError
from quantbench.measure import fresh
from quantbench.measure.fresh import TERMINATED, in_fresh_process, start

WORK = """\
import os
import threading
import warnings
from quantbench.measure.fresh import in_fresh_process
from quantbench.errors import MeasurementError

TOLD = []

def tell(job):
    TOLD.append(job)
    return os.getpid(), list(TOLD)

def fail(job):
    raise MeasurementError(f"no measurement of {job}")

class TwoArgumentsError(Exception):
    # Cannot be made again from its message alone, as the way back would.
    def __init__(self, place, what):
        super().__init__(f"{what} at {place}")

def raise_own(job):
    raise TwoArgumentsError("here", job)

def leave(status):
    raise SystemExit(status)

def die(status):
    os._exit(status)

def warn(category):
    with warnings.catch_warnings(record=True) as caught:
        warnings.warn("of the future", category)
    return [each.category.__name__ for each in caught]

def places(job):
    from quantbench.files import cache_dir, data_dir
    return cache_dir(), data_dir()

def refuse_to_travel(job):
    return lambda: job

class NoWayBackError(MeasurementError):
    def __init__(self, place, what):
        super().__init__(f"{what} at {place}")

def raise_ours(job):
    raise NoWayBackError("here", job)

def wait(path, connection=None):
    with open(path + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".part", path)
    threading.Event().wait()

def measure(path, connection=None):
    in_fresh_process(wait, path, died="it died")
"""
# Seconds that tests wait in vain before they fail.
PATIENCE_S = 60.0


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A user's own module of functions, on a path that only this test has."""
    (tmp_path / "work_of_a_user.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("work_of_a_user")


def test_its_cache_and_data_are_those_of_this_process_wherever_the_server_began(work, tmp_path, monkeypatch):
    for folder in ("first", "second"):
        monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / folder))
        monkeypatch.setenv("QUANTBENCH_DATA", str(tmp_path / "data"))
        assert in_fresh_process(work.places, None, died="it died") == (tmp_path / folder, tmp_path / "data")
    monkeypatch.delenv("QUANTBENCH_DATA")
    assert in_fresh_process(work.places, None, died="it died")[1] == tmp_path / "second" / "raw"


def test_each_job_runs_in_another_process_that_knows_of_no_other(work):
    work.TOLD.append("said here")
    first, second = (in_fresh_process(work.tell, job, died="it died") for job in ("one", "two"))
    assert (first[1], second[1]) == (["one"], ["two"])
    assert len({os.getpid(), first[0], second[0]}) == 3
    assert work.TOLD == ["said here"]


def test_the_server_imports_what_was_foreseen_beside_the_backends_of_this_process(monkeypatch):
    preloaded = []
    context = SimpleNamespace(set_forkserver_preload=preloaded.extend)
    monkeypatch.setattr(fresh.multiprocessing, "get_context", lambda _: context)
    monkeypatch.setattr(fresh, "_FORESEEN", {})
    fresh.foresee(["colorsys", "wave"])
    assert fresh.fresh_context.__wrapped__() is context
    assert preloaded[0] == "quantbench.measure.reload"
    assert preloaded[-2:] == ["colorsys", "wave"]


@pytest.mark.parametrize(("category", "shown"), [(FutureWarning, []), (UserWarning, ["UserWarning"])])
def test_what_libraries_say_of_their_future_is_not_said_again(work, category, shown):
    assert in_fresh_process(work.warn, category, died="it died") == shown


def test_an_error_of_the_work_comes_back_as_it_was_raised(work):
    with pytest.raises(MeasurementError) as error:
        in_fresh_process(work.fail, "this", died="it died")
    assert str(error.value) == "no measurement of this"


@pytest.mark.parametrize(
    ("name", "job", "cause"),
    [("raise_own", "nothing", "TwoArgumentsError: nothing at here"), ("leave", 0, "SystemExit: 0")],
)
def test_whatever_the_work_raises_comes_back_as_a_line(work, name, job, cause):
    with pytest.raises(ForeignError) as error:
        in_fresh_process(getattr(work, name), job, died="it died")
    assert str(error.value).startswith(f"the fresh process raised {cause}, at ")


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_that_ends_without_a_result_is_told_in_the_given_words(work, status):
    with pytest.raises(CheckpointError) as error:
        in_fresh_process(work.die, status, died="a.pt: the fresh process died")
    assert str(error.value) == "a.pt: the fresh process died"


def test_the_process_after_one_that_died_works(work):
    with pytest.raises(CheckpointError):
        in_fresh_process(work.die, 3, died="it died")
    assert in_fresh_process(work.tell, "next", died="it died")[1] == ["next"]


def test_a_result_that_cannot_travel_is_no_death(work):
    with pytest.raises(Exception, match="pickle") as error:
        in_fresh_process(work.refuse_to_travel, "job", died="it died")
    assert "it died" not in str(error.value)


def test_an_error_of_ours_that_cannot_be_made_again_comes_back_as_its_line(work):
    with pytest.raises(ForeignError, match=r"^nothing at here$"):
        in_fresh_process(work.raise_ours, "nothing", died="it died")


def test_the_traceback_of_the_other_process_is_kept_for_those_who_ask(work):
    with pytest.raises(ForeignError) as error:
        in_fresh_process(work.raise_own, "nothing", died="it died")
    assert "in raise_own" in str(error.value.__cause__)
    assert "TwoArgumentsError: nothing at here" in str(error.value.__cause__)


def test_no_semaphore_is_needed_which_some_systems_have_no_place_for(work, monkeypatch):
    import _multiprocessing

    def no_place(*_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(_multiprocessing, "SemLock", no_place)
    assert in_fresh_process(work.tell, "job", died="it died")[1] == ["job"]


def until(condition):
    """Waits for it."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "nothing has happened"
        time.sleep(0.01)


def is_gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_ends_with_the_one_that_started_it_however_that_is_killed(work, tmp_path):
    file = tmp_path / "number"
    connection, process = start(work.measure, str(file))
    until(file.exists)
    measuring = int(file.read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    connection.close()
    until(lambda: is_gone(measuring))


def test_a_process_ends_when_nobody_waits_for_its_result_any_more(work, tmp_path):
    file = tmp_path / "number"
    connection, process = start(work.wait, str(file))
    until(file.exists)
    connection.close()
    process.join(PATIENCE_S)
    assert process.exitcode in (-signal.SIGTERM, TERMINATED)


def test_an_interruption_ends_the_process_at_once(work, tmp_path, monkeypatch):
    from multiprocessing.connection import Connection

    file = tmp_path / "number"

    def interrupted(_):
        until(file.exists)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "recv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            in_fresh_process(work.wait, str(file), died="it died")
    assert is_gone(int(file.read_text()))
