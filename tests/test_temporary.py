"""Temporary files tell who writes them: those of killed writers are swept, and no other."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from quantbench import temporary
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.files import cache_dir, write_text
from quantbench.temporary import is_abandoned, sweep, sweep_all, temporary_folder, temporary_name


@pytest.fixture
def ended():
    """The number of a process that was killed, and that nobody has asked how it ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.communicate()


def written_by(folder, process, name="a.json"):
    """A temporary file that another process of this machine writes."""
    path = folder / temporary_name(name).replace(f"-{os.getpid()}-", f"-{process}-")
    path.write_text("half")
    return path


def test_what_killed_writers_left_is_swept_and_what_others_write_is_not(tmp_path, ended):
    written_by(tmp_path, ended)
    (tmp_path / temporary_name("entry").replace(f"-{os.getpid()}-", f"-{ended}-")).mkdir()
    kept = {written_by(tmp_path, each) for each in (os.getpid(), os.getppid())}
    kept |= {tmp_path / name for name in ("a.json", ".a.json.abcd1234", ".git")}
    for path in kept:
        path.touch()
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == kept
    assert os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT).si_pid == ended, "killed, but nobody has asked so far"


def test_a_writer_on_another_machine_is_taken_for_dead_after_a_day(tmp_path, monkeypatch):
    path = tmp_path / temporary_name("a.json")
    path.write_text("half")
    monkeypatch.setattr(temporary, "_machine", lambda: "0123abcd")
    for age_s, is_kept in ((0, True), (temporary.ABANDONED_S - 60, True), (temporary.ABANDONED_S + 60, False)):
        os.utime(path, (time.time() - age_s,) * 2)
        sweep(tmp_path)
        assert path.exists() == is_kept


def test_folders_below_are_swept_as_deep_as_asked_for(tmp_path, ended):
    folder = tmp_path / "results" / "tiny"
    folder.mkdir(parents=True)
    path = written_by(folder, ended)
    sweep(tmp_path, 2)
    assert path.exists()
    sweep(tmp_path, 3)
    assert not path.exists()
    sweep(tmp_path / "none")


def test_a_run_sweeps_cache_goldens_and_the_systems_temporary_folder(tmp_path, ended, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    folders = [cache_dir() / "training", tmp_path / "golden" / "results" / "tiny", tmp_path / "tmp"]
    for folder in folders:
        folder.mkdir(parents=True)
        written_by(folder, ended)
    sweep_all(cache_dir(), tmp_path / "golden")
    assert [list(folder.iterdir()) for folder in folders] == [[], [], []]


def test_every_command_that_opens_experiments_sweeps(project, ended, quantbench):
    folders = [project.golden / "baselines", cache_dir() / "training", cache_dir()]
    for begin in (lambda: Runs(Settings(project.golden)), lambda: quantbench("adopt", "tiny", "none.safetensors")):
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        left = [written_by(folder, ended) for folder in folders]
        begin()
        assert not any(path.exists() for path in left)


def test_whoever_writes_into_a_folder_sweeps_it_first(tmp_path, ended):
    written_by(tmp_path, ended)
    write_text(tmp_path / "a.txt", "whole")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_temporary_folder_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert temporary.TEMPORARY.fullmatch(Path(folder).name)
        assert not is_abandoned(Path(folder))
    assert list(tmp_path.iterdir()) == []
