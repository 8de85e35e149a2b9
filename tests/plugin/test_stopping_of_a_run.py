"""A run of experiments that is stopped writes what it has found, and leaves the signals of others alone."""

import json
import os
import signal
from pathlib import Path

import pytest

from quantbench.experiment import run


@pytest.fixture(autouse=True)
def _usual_signals():
    """Both signals are as at the start of a program, also where whoever started the tests has them otherwise."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def stopped(monkeypatch):
    """Sends this process a signal at the third look at what was measured."""

    def stop_by(number):
        own, made = run.Run.measured, []

        def measured(*args):
            made.append(args)
            if len(made) == 3:
                os.kill(os.getpid(), number)
            return own(*args)

        monkeypatch.setattr(run.Run, "measured", measured)

    return stop_by


def test_a_run_that_is_terminated_writes_its_records_and_table(bench, project, stopped):
    stopped(signal.SIGTERM)
    result = bench("-q", "-m", "not latency", "--experiment", "tiny/ptq_static*", "--json", "records.json")
    assert result.ret == 143
    (record,) = json.loads((project.root / "records.json").read_text())["records"]
    assert record["experiment"] == "tiny/ptq_static_int8_per_channel"
    assert "tiny/ptq_static_int8_per_channel" in result.stdout.str().partition("= quantbench =")[2]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "as before the run"


def test_ctrl_c_writes_them_too_and_stays_pytests_own(bench, project, stopped):
    stopped(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        bench("-q", "-m", "not latency", "--experiment", "tiny/ptq_static*", "--json", "records.json")
    assert len(json.loads((project.root / "records.json").read_text())["records"]) == 1


def test_a_run_that_is_terminated_accepts_nothing(bench, project, stopped):
    stopped(signal.SIGTERM)
    update = ("--update-golden", "--reason", "first", "--experiment", "tiny/ptq_static*")
    assert bench("-q", "-m", "not latency", *update).ret == 143
    assert not (project.golden / "checkpoints").exists()


def test_whoever_has_asked_for_the_signal_keeps_it(bench, project):
    heard = (
        "import pathlib, signal\nsignal.signal(signal.SIGTERM, lambda *_: pathlib.Path('heard').write_text('yes'))\n"
    )
    sent = "import os, signal\n\ndef pytest_runtest_setup():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    (project.root / "conftest.py").write_text(heard + sent)
    assert bench("-q", "-m", "not latency", "-k", "size", "--experiment", "tiny/ptq_static*").ret == 0
    assert Path("heard").exists()


def test_a_run_without_experiments_ends_at_once(pytester):
    pytester.makepyfile("import os, signal\n\ndef test_it():\n    os.kill(os.getpid(), signal.SIGTERM)\n")
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").ret == -signal.SIGTERM
