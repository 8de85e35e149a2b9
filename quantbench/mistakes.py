"""Lines about names that do not exist and values that are wrong, as messages of every kind show them."""

from __future__ import annotations

import difflib
import reprlib

from pydantic import ValidationError

from quantbench.files import LONGEST_NAME, printable, short_name

# What was given is quoted in messages; a whole document in the place of a number must not fill the terminal.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 2
# More names than this are not read; the nearest few are shown instead.
MOST_NAMES, NEAREST_NAMES = 36, 6


def unknown_name(what: str, name: str, known: list[str]) -> str:
    """The message for a name that does not exist: nearest match first, then what is allowed, if not too much."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    shown = short_name(name)
    if len(known) > MOST_NAMES:
        closest = difflib.get_close_matches(name, known, n=NEAREST_NAMES, cutoff=0.0)
        return f"unknown {what} '{shown}'.{hint} Nearest of {len(known)} known: {', '.join(closest)}"
    return f"unknown {what} '{shown}'.{hint} Known: {', '.join(known) or '(none)'}"


def validation_lines(error: ValidationError, where: str, joint: str = ": ") -> list[str]:
    """One line per mistake that pydantic found: place, what is wrong, what was given.

    Args:
        error: what pydantic raised.
        where: begins every line.
        joint: between `where` and the place below it: `.` where `where` is itself a place in a file.
    """
    lines = []
    for item in error.errors(include_url=False):
        # Keys of a damaged file may be of any length, and hold anything.
        keys = ".".join(printable(part)[:LONGEST_NAME] for part in item["loc"])
        place = joint.join(part for part in (where, keys) if part)
        given = "" if item["type"].startswith("missing") else f" (given: {_SHORT.repr(item['input'])})"
        # pydantic would name a class of ours, which says nothing to who writes the file.
        message = "Input should be a mapping of keys to values" if item["type"] == "model_type" else item["msg"]
        lines.append(f"{place}: {message}{given}")
    return lines
