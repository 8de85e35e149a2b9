"""Standard streams that take any text: what an encoding lacks is written in ASCII, a closed one takes it in vain."""

from __future__ import annotations

import codecs
import io
import os
import sys
from pathlib import Path
from typing import TextIO

HANDLER = "quantbench_ascii"
# The few characters of our own tables and sentences that ASCII lacks.
IN_ASCII = {
    "×": "x", "→": "->", "–": "-", "—": "-", "−": "-", "…": "...", "±": "+-", "≤": "<=", "≥": ">=", "≈": "~", "·": ".",
    "ε": "epsilon", "δ": "delta", "τ": "tau", "σ": "sigma", "µ": "u", "“": '"', "”": '"', "’": "'", "‘": "'",
    "─": "-", "━": "-", "═": "=", "│": "|", "┃": "|", "║": "|",
}  # fmt: skip
# All others of Unicode's lines for tables are corners and crossings.
LINES = range(0x2500, 0x2580)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(ascii_of, error.object[error.start : error.end])), error.end


def ascii_of(character: str) -> str:
    """A character in ASCII, by its looks or as Python escapes it.

    Example:
        >>> "".join(map(ascii_of, "2.00×→é"))
        '2.00x->\\\\xe9'
    """
    known = IN_ASCII.get(character, "+" if ord(character) in LINES else None)
    return known if known is not None else ascii(character)[1:-1]


codecs.register_error(HANDLER, _in_ascii)


def degrade(stream: object) -> None:
    """Lets a text stream write what its encoding lacks in ASCII, in the place of an error."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=HANDLER)


def open_all() -> None:
    """Makes standard output and standard error usable, closed ones too."""
    # Python has none where the descriptor was closed before it began.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        degrade(stream)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def close_output(end: str = "") -> OSError | None:
    """Writes what standard output still holds; gives the error if nobody reads it any more, or its disk is full.

    Args:
        end: written too, such as a line end, to find out whether it was standard output that an error was about.
    """
    try:
        sys.stdout.write(end)
        sys.stdout.flush()
    except OSError as error:
        _give_up_output()
        return error
    return None


def _give_up_output() -> None:
    """Leads standard output nowhere, so that the interpreter does not try once more at its end."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except OSError:
        sys.stdout = _nowhere()
