"""Cells of a sweep in workers: as many at once as asked for, none stopped by another's failure, all by Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import long_jobs
import pytest

from quantbench.errors import ConfigError
from quantbench.jobs import places, worker
from quantbench.jobs.sweep import died, run_each
from quantbench.jobs.worker import Asked
from quantbench.progress import Progress

END_PROCESSES = places.end_processes
pytestmark = pytest.mark.usefixtures("kept_processes")


class Shown(Progress):
    """Keeps what is shown."""

    def __init__(self):
        super().__init__("test")
        self.seen = []

    def update(self, done, total, note=""):
        self.seen.append((done, total, note))


class InterruptedOnce(Progress):
    """Ctrl-C, as soon as so many files are in a folder."""

    def __init__(self, folder, n):
        super().__init__("test")
        self.folder, self.n = folder, n

    def update(self, *_):
        if len(list(self.folder.iterdir())) >= self.n:
            raise KeyboardInterrupt


def ended(work, jobs, where="2", show=None):
    return run_each(work, jobs, dict.fromkeys(jobs, 1), show or Progress("test"), where)


def in_this_process(work, jobs, monkeypatch, where=None):
    """The same where joblib is not installed."""
    monkeypatch.setattr(places, "installed", lambda *_: False)
    return ended(work, jobs, where)


def test_results_come_in_the_order_of_the_jobs_from_processes_that_are_not_this_one():
    found = ended(long_jobs.tell, {"b": 1, "a": 2, "c": 3})
    assert list(found) == ["b", "a", "c"]
    assert [each.result[1] for each in found.values()] == [1, 2, 3]
    assert os.getpid() not in {each.result[0] for each in found.values()}


def test_processes_end_with_the_sweep(monkeypatch):
    monkeypatch.setattr(places, "end_processes", END_PROCESSES)
    found = ended(long_jobs.tell, {"a": 1})["a"].result[0]
    deadline = time.monotonic() + long_jobs.PATIENCE_S
    while Path(f"/proc/{found}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{found}").exists()


def test_as_many_run_at_once_as_asked_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    jobs = {mode: (str(tmp_path / "pipe"), mode) for mode in "wr"}
    assert [each.result for each in ended(long_jobs.meet, jobs).values()] == ["met", "met"]


@pytest.mark.parametrize("at_once", [1, 2])
def test_never_more_run_at_once_than_asked_for(tmp_path, at_once):
    found = ended(long_jobs.count_beside, dict.fromkeys("abcdef", str(tmp_path)), str(at_once))
    assert max(each.result for each in found.values()) == at_once


def test_a_worker_that_computes_one_cell_after_another_begins_each_as_the_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = ended(long_jobs.change_surroundings, dict.fromkeys("abc", 0), "1")
    assert len({each.result for each in found.values()}) == 1
    assert found["a"].result[0] == str(tmp_path)


def test_a_job_that_fails_stops_no_other_and_its_words_come_back():
    found = ended(long_jobs.fail, {"a": "", "b": "row b", "c": ""})
    assert (found["b"].result, found["b"].failed) == (None, "the loss is nan in row b")
    assert [found[name].result for name in "ac"] == ["done", "done"]


def test_a_mistake_in_the_work_is_one_line_here_and_a_traceback_on_standard_error(capfd):
    assert ended(long_jobs.stumble, {"a": "x"})["a"].failed == "KeyError: 'x'"
    assert "in stumble" in capfd.readouterr().err


def test_a_process_that_is_killed_once_costs_no_cell_and_changes_no_result(tmp_path):
    jobs = {name: (str(tmp_path / "killed"), name) for name in "abcde"}
    found = ended(long_jobs.die_once, jobs)
    assert (tmp_path / "killed").exists()
    assert {name: each.result for name, each in found.items()} == {name: name for name in "abcde"}


def test_a_process_that_is_killed_again_is_its_own_cell_s_failure_and_no_other_s():
    found = ended(long_jobs.die_or_tell, {"a": 1, "b": -signal.SIGKILL, "c": 3})
    assert found["b"].failed == (
        "its process was killed by SIGKILL and left no result, when it ran once more alone too; "
        "where memory ran out, it needs more than there is"
    )
    assert {name: each.result for name, each in found.items() if name != "b"} == {"a": 1, "c": 3}


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ("EXIT(3)", "its process ended with status 3 and left"),
        ("SIGSEGV(-11)", "its process was killed by SIGSEGV and"),
    ],
)
def test_a_process_that_dies_without_a_word_is_told_with_how(codes, words):
    assert died(RuntimeError(f"lost.\n\nThe exit codes of the workers are {{{codes}}}")).startswith(words)
    assert died(ValueError("no such thing\nmore")) == (
        "its worker was lost and left no result, when it ran once more alone too (ValueError: no such thing)"
    )


def test_a_result_that_cannot_be_sent_is_its_cell_s_failure():
    found = ended(long_jobs.unsendable, {"a": False, "b": True})
    assert found["a"].result == "sent"
    assert "its worker was lost" in found["b"].failed


def test_the_display_counts_the_steps_of_all_jobs_and_the_jobs_that_are_done(tmp_path):
    show = Shown()
    run_each(long_jobs.count, {"a": 4, "b": 6}, {"a": 4, "b": 6}, show, "1")
    assert {total for _, total, _ in show.seen} == {10}
    assert show.seen[-1] == (10, 10, "2 of 2 done")
    done = [each for each, _, _ in show.seen]
    assert done == sorted(done)


def test_the_display_shows_how_far_a_running_job_is(tmp_path):
    """It stops once that was shown."""

    class Awaited(Shown):
        def update(self, done, total, note=""):
            super().update(done, total, note)
            if note == "0 of 1 done; a waiting":
                raise KeyboardInterrupt

    show = Awaited()
    with pytest.raises(KeyboardInterrupt):
        run_each(long_jobs.wait, {"a": str(tmp_path / "a")}, {"a": 2}, show, "1")
    assert show.seen[-1] == (1, 2, "0 of 1 done; a waiting")


def test_an_interruption_stops_every_process_after_it_has_cleaned_up_and_begins_no_other(tmp_path):
    jobs = {name: str(tmp_path / name) for name in "abc"}
    with pytest.raises(KeyboardInterrupt):
        ended(long_jobs.wait, jobs, show=InterruptedOnce(tmp_path, 2))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "cleaned up", "b": "cleaned up"}


SWEEP = """
import sys
sys.path[:0] = {paths!r}
import long_jobs
from quantbench.jobs.sweep import run_each
from quantbench.progress import Progress
run_each(long_jobs.wait, {{"a": sys.argv[1]}}, {{"a": 1}}, Progress("test"), "1")
"""


def test_a_worker_whose_parent_is_killed_cleans_up_even_where_it_has_nothing_to_tell(tmp_path):
    path = tmp_path / "a"
    code = SWEEP.format(paths=sys.path)
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.DEVNULL) as parent:
        assert read_within(path, "begun")
        parent.kill()
    assert read_within(path, "cleaned up")


def read_within(path, text):
    """Waits for a file to hold that text."""
    deadline = time.monotonic() + long_jobs.PATIENCE_S
    while time.monotonic() < deadline:
        if path.exists() and path.read_text() == text:
            return True
        time.sleep(0.05)
    return False


def test_a_job_does_not_tell_of_every_step_and_ends_where_it_is_stopped(tmp_path, monkeypatch):
    clock = iter([0.0, 0.1, 0.4, 0.6, 0.7, 2.0])
    monkeypatch.setattr(worker.time, "monotonic", clock.__next__)
    asked = Asked.by_this_process(tmp_path)
    reporting, told = worker._Reporting("a", asked), []
    for step in range(5):
        reporting.update(step, 5)
        told.append(json.loads(worker.note_of("a", tmp_path).read_text())[0])
    assert told == [0, 0, 0, 3, 3]
    monkeypatch.setattr(worker, "_stopped", {tmp_path.name})
    with pytest.raises(SystemExit) as exited:
        reporting.update(5, 5)
    assert exited.value.code == 128 + signal.SIGTERM
    assert worker.in_worker(long_jobs.tell, "a", 1, asked)[1].failed == "it was stopped"


def test_without_joblib_cells_are_computed_here_one_after_the_other_and_that_is_told(monkeypatch, capsys):
    found = in_this_process(long_jobs.tell, {"a": 1, "b": 2}, monkeypatch)
    assert {name: each.result for name, each in found.items()} == {"a": (os.getpid(), 1), "b": (os.getpid(), 2)}
    assert capsys.readouterr().err == (
        "joblib is not installed: one is computed after the other, in this process; for more at once "
        "pip install 'quantbench-suite[jobs]'\n"
    )


def test_a_worker_on_a_machine_without_the_project_s_folder_is_told(tmp_path):
    asked = Asked.by_this_process(tmp_path)
    elsewhere = Asked(asked.process, tmp_path, tmp_path / "none", {}, {})
    before = Path.cwd()
    assert "must see this folder" in worker.in_worker(long_jobs.tell, "a", 1, elsewhere)[1].failed
    assert Path.cwd() == before


def test_a_worker_that_has_loaded_other_code_is_told(tmp_path, monkeypatch):
    asked = Asked.by_this_process(tmp_path)
    monkeypatch.setattr(worker, "loaded_code", lambda: {"mine": ("/a/mine.py", "2")})
    stale = Asked(asked.process, tmp_path, asked.here, {}, {"mine": ("/a/mine.py", "1")})
    failed = worker.in_worker(long_jobs.tell, "a", 1, stale)[1].failed
    assert failed.endswith(
        "has loaded other code: /a/mine.py changed since, or is of another project; restart the workers"
    )


MISTAKES = {
    "0": "--jobs '0': is no number above zero; write how many run at once, or dask:tcp://HOST:PORT",
    "-1": "--jobs '-1': unknown scheme '-1'",
    "dusk:tcp://a:1": "--jobs 'dusk:tcp://a:1': unknown scheme 'dusk'. Did you mean 'dask'? Known: loky, dask; write",
    "dask": "--jobs dask: is no address; write dask:tcp://HOST:PORT",
    "dask:tcp://127.0.0.1:1": "--jobs dask:tcp://127.0.0.1:1: no scheduler answers within 1 s (",
}


@pytest.mark.parametrize("where", MISTAKES)
def test_a_place_that_is_none_is_one_line(where, monkeypatch):
    if where.startswith("dask"):
        pytest.importorskip("distributed")
        from quantbench.jobs import dask_cluster

        monkeypatch.setattr(dask_cluster, "ANSWER_S", 1.0)
    with pytest.raises(ConfigError) as raised:
        ended(long_jobs.tell, {"a": 1}, where)
    assert str(raised.value).startswith(MISTAKES[where])
    assert "\n" not in str(raised.value)
