"""Commands that are stopped say how far they are and how to go on, with the status that a shell knows."""

import json
import os
import signal
from pathlib import Path

import pytest

from quantbench.experiment import adoption, run
from quantbench.stopping import stoppable
from quantbench.training import loop as training
from quantbench.training import state

HINT = "quantbench: interrupted; what was finished is kept, and the same command goes on from it\n"
STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Ctrl-C is one, also where whoever started the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stopping(number, calls, own):
    """Sends this process a signal at so many calls."""
    made = []

    def call(*args):
        made.append(args)
        if len(made) == calls:
            os.kill(os.getpid(), number)
        return own(*args)

    return call


@pytest.mark.parametrize(("number", "expected"), STOPS)
def test_a_training_that_is_stopped_tells_its_last_epoch_and_where_it_goes_on(
    project, quantbench, monkeypatch, number, expected
):
    before = project.weights.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(training, "_epoch", stopping(number, 3, training._epoch))
        status, out, err = quantbench("train", "tiny")
    assert (status, out) == (expected, "")
    (path,) = (project.root / "cache" / "training").iterdir()
    assert err.startswith(f"{path}: interrupted: 2 of 3 epochs are done and kept, the last ")
    assert err.endswith(f" % right of training samples; the same command goes on from there\n{HINT}")
    assert quantbench("train", "tiny")[0] == 0
    assert project.weights.read_bytes() == before


@pytest.mark.parametrize(("number", "expected"), STOPS)
def test_a_run_that_is_stopped_writes_its_records(project, quantbench, monkeypatch, number, expected):
    monkeypatch.setattr(run.Run, "measured", stopping(number, 2, run.Run.measured))
    status, out, _ = quantbench("run", "tiny/ptq_static*", "--json", "records.json")
    assert status == expected
    assert "tiny/ptq_static_int8_per_channel" in out
    (record,) = json.loads((project.root / "records.json").read_text())["records"]
    assert record["accuracy"] is not None


def test_any_other_command_ends_with_one_line(project, quantbench, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(adoption, "adopt", interrupted)
    assert quantbench("adopt", "tiny", project.weights) == (130, "", HINT)


def test_whoever_had_asked_for_the_signal_before_gets_it_again():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_epoch_that_cannot_be_kept_is_one_line_and_leaves_those_before(project, quantbench, monkeypatch):
    def full(_, path):
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file\nmore")

    with monkeypatch.context() as patch:
        patch.setattr(state.torch, "save", full)
        status, _, err = quantbench("train", "tiny")
    path = Path(err.removeprefix("quantbench: ").partition(": cannot ")[0])
    assert path.parent == project.root / "cache" / "training"
    assert status == 2
    assert err.splitlines() == [
        f"quantbench: {path}: cannot be written ([enforce fail at inline_container.cc:672] . PytorchStreamWriter "
        "failed writing file); the epochs before the last are kept: free some space, or name another folder with "
        "QUANTBENCH_CACHE, and go on with the same command"
    ]
    assert list(path.parent.iterdir()) == []
