"""Jobs in processes of their own: as many at once as asked for, none stopped by another's failure, all by Ctrl-C."""

import os
import signal
from multiprocessing import Pipe
from types import SimpleNamespace

import long_jobs
import pytest

from quantbench.ablation import parallel
from quantbench.ablation.parallel import run_each
from quantbench.progress import Progress


class Shown(Progress):
    """Keeps what is shown."""

    def __init__(self):
        super().__init__("test")
        self.seen = []

    def update(self, done, total, note=""):
        self.seen.append((done, total, note))


class Interrupted(Progress):
    """Ctrl-C, as soon as a job has said something."""

    def update(self, *_):
        raise KeyboardInterrupt


def ended(work, jobs, at_once=2, show=None):
    return run_each(work, jobs, dict.fromkeys(jobs, 1), at_once, show or Progress("test"))


def test_every_job_runs_in_a_process_of_its_own_and_results_come_in_the_order_of_the_jobs():
    found = ended(long_jobs.tell, {"b": 1, "a": 2, "c": 3})
    assert list(found) == ["b", "a", "c"]
    assert [each.result[1] for each in found.values()] == [1, 2, 3]
    assert len({each.result[0] for each in found.values()} | {os.getpid()}) == 4


def test_as_many_run_at_once_as_asked_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    jobs = {mode: (str(tmp_path / "pipe"), mode) for mode in "wr"}
    assert [each.result for each in ended(long_jobs.meet, jobs, at_once=2).values()] == ["met", "met"]


@pytest.mark.parametrize("at_once", [1, 2])
def test_never_more_run_at_once_than_asked_for(monkeypatch, at_once):
    own, started, alive = parallel._start, [], []

    def start(work, job):
        alive.append(sum(process.is_alive() for process in started))
        connection, process = own(work, job)
        started.append(process)
        return connection, process

    monkeypatch.setattr(parallel, "_start", start)
    ended(long_jobs.tell, dict.fromkeys("abcd", 1), at_once)
    assert len(alive) == 4
    assert max(alive) <= at_once - 1


def test_a_job_that_fails_stops_no_other_and_its_words_come_back():
    found = ended(long_jobs.fail, {"a": "", "b": "row b", "c": ""})
    assert (found["b"].result, found["b"].failed) == (None, "the loss is nan in row b")
    assert [found[name].result for name in "ac"] == ["done", "done"]


def test_a_mistake_in_the_work_is_one_line_here_and_a_traceback_on_standard_error(capfd):
    assert ended(long_jobs.stumble, {"a": "x"})["a"].failed == "KeyError: 'x'"
    assert "in stumble" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3, "its process ended with status 3 and left no result"),
        (0, "its process ended with status 0 and left no result"),
        (-signal.SIGSEGV, "its process was killed by SIGSEGV and left no result"),
        (-signal.SIGKILL, "its process was killed by SIGKILL and left no result; where memory ran out, run few"),
    ],
)
def test_a_process_that_dies_without_a_word_is_told_with_how(status, words):
    found = ended(long_jobs.die, {"a": status})
    assert found["a"].failed.startswith(words)


def test_the_display_counts_the_steps_of_all_jobs_and_the_jobs_that_are_done():
    show = Shown()
    run_each(long_jobs.count, {"a": 4, "b": 6}, {"a": 4, "b": 6}, 1, show)
    assert {total for _, total, _ in show.seen} == {10}
    assert show.seen[0] == (1, 10, "0 of 2 done; a step 1")
    assert show.seen[-1] == (10, 10, "2 of 2 done")
    done = [each for each, _, _ in show.seen]
    assert done == sorted(done)


def test_an_interruption_stops_every_process_after_it_has_cleaned_up(tmp_path):
    jobs = {name: str(tmp_path / name) for name in "ab"}
    with pytest.raises(KeyboardInterrupt):
        ended(long_jobs.wait, jobs, show=Interrupted("test"))
    begun = [path.read_text() for path in tmp_path.iterdir()]
    assert begun
    assert set(begun) == {"cleaned up"}


def test_a_process_whose_parent_is_gone_ends_itself_at_its_next_step():
    ours, theirs = Pipe()
    ours.close()
    with pytest.raises(SystemExit) as exited:
        parallel._Reporting(theirs).update(1, 2)
    assert exited.value.code == 128 + signal.SIGTERM


def test_a_process_whose_parent_is_gone_cleans_up_at_once_even_where_it_has_nothing_to_tell(tmp_path):
    path = tmp_path / "a"
    connection, process = parallel._start(long_jobs.wait, str(path))
    assert connection.recv() == (1, "waiting")
    assert path.read_text() == "begun"
    connection.close()
    process.join(long_jobs.PATIENCE_S)
    assert path.read_text() == "cleaned up"
    assert process.exitcode == 128 + signal.SIGTERM


def test_a_job_does_not_tell_of_every_step(monkeypatch):
    clock = SimpleNamespace(monotonic=iter([0.0, 0.1, 0.4, 0.6, 0.7]).__next__)
    monkeypatch.setattr(parallel, "time", clock)
    ours, theirs = Pipe()
    reporting = parallel._Reporting(theirs)
    for step in range(5):
        reporting.update(step, 5)
    theirs.close()
    told = []
    while ours.poll():
        try:
            told.append(ours.recv()[0])
        except EOFError:
            break
    assert told == [0, 3]
