"""Progress is a live bar on a terminal and few plain lines elsewhere, and never on stdout."""

import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from quantbench import progress as module
from quantbench.progress import PLAIN_INTERVAL_S, progress

ON_A_TERMINAL = """
from quantbench.progress import progress
with progress("training a/b") as show:
    show.update(3, 8, "epoch 1/2 loss 0.500 accuracy 12.00 %")
"""


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_plain_line_has_label_counts_note_and_the_time_that_is_left(clock, capsys):
    with progress("training a") as show:
        clock.now += 30
        show.update(1_000, 4_000, "loss 0.500")
    out, err = capsys.readouterr()
    assert err == "training a: 1,000/4,000 loss 0.500 ETA 90 s\n"
    assert out == ""


def test_a_count_without_a_note_is_a_line_without_a_gap(clock, capsys):
    with progress("making shapes") as show:
        clock.now += 20
        show(1, 3)
    assert capsys.readouterr().err == "making shapes: 1/3 ETA 40 s\n"


def test_plain_lines_come_one_per_interval_however_often_progress_is_made(clock, capsys):
    with progress("training a") as show:
        for step in range(1, 301):
            clock.now += PLAIN_INTERVAL_S / 100
            show.update(step, 300)
    assert len(capsys.readouterr().err.splitlines()) == pytest.approx(3, abs=1)


def test_a_task_within_one_interval_is_silent(clock, capsys):
    with progress("training a") as show:
        clock.now += PLAIN_INTERVAL_S - 1
        show.update(300, 300)
    assert capsys.readouterr().err == ""


def test_nothing_done_yet_is_no_division_by_zero(clock, capsys):
    with progress("training a") as show:
        clock.now += 20
        show.update(0, 2)
    assert "0/2" in capsys.readouterr().err


def test_an_error_passes_through(clock):
    with pytest.raises(KeyboardInterrupt), progress("training a"):
        raise KeyboardInterrupt


def test_on_a_terminal_there_is_a_bar_with_counts_note_and_eta_that_leaves_stdout_alone():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    environment.pop("NO_COLOR", None)
    child = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL], env=environment, stdout=subprocess.PIPE, stderr=theirs, check=True
    )
    os.close(theirs)
    try:
        shown = os.read(ours, 1 << 16).decode()
    except OSError:  # Linux's word for a terminal that nobody wrote to
        shown = ""
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"training a/b .*3/8 epoch 1/2 loss 0\.500 accuracy 12\.00 % .*ETA", text)
    assert child.stdout == b""
