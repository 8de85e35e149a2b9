"""Code that ends the process past the run does not."""

import os
import subprocess
import sys
import threading

import pytest

from quantbench.errors import ForeignError
from quantbench.exits import ENDING, refuse_exits
from quantbench.foreign import calling


@pytest.fixture(autouse=True)
def refused(monkeypatch):
    """Lets nothing end the process while a test runs; ends are noted."""
    ended = []
    for name in ENDING:
        monkeypatch.setattr(os, name, lambda *args: ended.append(args))
    refuse_exits()
    return ended


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (lambda: os._exit(0), "os._exit(0)"),
        (lambda: os._exit(1), "os._exit(1)"),
        (lambda: os.execv("/bin/true", ["true"]), "os.execv('/bin/true')"),  # noqa: S606 — refused
        (lambda: os.execl("/bin/true", "true"), "os.execv('/bin/true')"),  # noqa: S606 — refused
        (lambda: os.execve("/bin/true", ["true"], {}), "os.execve('/bin/true')"),  # noqa: S606 — refused
    ],
)
def test_an_end_of_the_process_is_an_error_of_what_asked_for_it(refused, end, shown):
    with pytest.raises(ForeignError) as raised, calling("the forward"):
        end()
    assert str(raised.value).startswith(f"the forward raised SystemExit: {shown} would have ended the run, at ")
    assert refused == []


def test_a_time_limit_in_a_thread_of_its_own_ends_the_process_but_with_no_success(refused):
    raised = []

    def work():
        os._exit(1)
        try:
            os._exit(256)
        except SystemExit as error:
            raised.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (refused, raised) == ([(1,)], ["os._exit(256) would have ended the run"])


def test_a_child_process_ends_as_it_likes(refused, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: -1)
    os._exit(0)
    assert refused == [(0,)]


def test_it_is_refused_once(refused):
    before = os._exit
    refuse_exits()
    assert os._exit is before


def test_what_waits_for_the_end_of_python_changes_no_status():
    program = (
        "import os, sys; from quantbench.exits import refuse_exits; refuse_exits(); import atexit;"
        "atexit.register(os._exit, 0); sys.exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 3
