"""Standard streams take any text: in ASCII where the terminal has nothing else, in vain where nobody reads it."""

import io
import os
import subprocess
import sys

import pytest

from quantbench import streams
from quantbench.streams import close_output, degrade, open_all

TABLE = "size ×  −0.02 → +1.33 [95 %], ε ≤ 1 … ±2\n┏━━┳━━┓\n┃ é┃ä \udcff┃\n"
IN_ASCII = "size x  -0.02 -> +1.33 [95 %], epsilon <= 1 ... +-2\n+--+--+\n| \\xe9|\\xe4 \\udcff|\n"


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def test_what_an_encoding_lacks_is_written_in_ascii_line_by_line():
    narrow = stream("ascii")
    degrade(narrow)
    narrow.write(TABLE)
    narrow.flush()
    assert narrow.buffer.getvalue().decode("ascii") == IN_ASCII


def test_what_an_encoding_has_stays_as_it_is():
    wide = stream("utf-8")
    degrade(wide)
    wide.write("2.00× é")
    wide.flush()
    assert wide.buffer.getvalue() == "2.00× é".encode()


def test_the_command_line_lets_both_streams_degrade(monkeypatch):
    narrow = {name: stream("ascii") for name in ("stdout", "stderr")}
    for name, each in narrow.items():
        monkeypatch.setattr(sys, name, each)
    open_all()
    for each in narrow.values():
        each.write("2.00×")
        each.flush()
        assert each.buffer.getvalue() == b"2.00x"


def test_a_stream_that_is_no_file_is_left_alone():
    text = io.StringIO()
    degrade(text)
    degrade(None)
    text.write("2.00×")
    assert text.getvalue() == "2.00×"


def test_streams_that_were_closed_before_the_start_take_text_in_vain(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    open_all()
    with sys.stdout as out, sys.stderr as err:
        assert (out.write("×"), err.write("×"), out.isatty()) == (1, 1, False)
        assert close_output() is None


def test_a_pipe_that_nobody_reads_is_told_once(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        print("a table")
        assert isinstance(close_output(), BrokenPipeError)
        # What is still buffered goes nowhere.
        assert close_output() is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")  # noqa: PTH110
def test_a_full_disk_is_told_with_status_1_and_ascii_is_enough_for_every_text():
    command = [sys.executable, "-c", "from quantbench.cli import main; main()", "list", "models"]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environ, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "quantbench: standard output: cannot be written (No space left on device)\n"


def test_no_character_of_our_own_tables_is_left_to_an_escape():
    assert all(streams.ascii_of(each).isascii() for each in streams.IN_ASCII)
    assert "\\" not in "".join(streams.ascii_of(each) for each in "×→–−…±≤≥·┏━┳┓┃╇┡─│└┘")
