"""JSON of files as the suite reads all of it: one value for each key, finite numbers, within bounds.

A file of another program, an edit by hand or a damaged disk may hold anything; a parser that takes it all in gives
numbers that nobody wrote, or takes the memory of the machine.
"""

from __future__ import annotations

import json
import math
import re
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from quantbench.files import printable, read_bytes

# The records of 60 experiments with 10,000 samples and 1,000 rounds each take 12 MB and 250,000 values.
MAX_BYTES = 1 << 26
MAX_VALUES = 4_000_000
# A record has eight levels.
MAX_DEPTH = 64
# Digits of a whole number; one of 64 bits has 20.
MAX_DIGITS = 20
# Characters of a key or number that a message shows.
SHOWN = 60
# Half a character: it cannot be written again.
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """A text that is not the JSON that is read here; the words complete "<file>: …"."""


def read_json_value(path: Path, most: int = MAX_BYTES, any_name: bool = False) -> Any:
    """The value in a JSON file.

    Args:
        path: an ordinary file in UTF-8.
        most: bytes; a larger file is refused before it is read.
        any_name: see `parse`.

    Raises:
        OSError: as `quantbench.files.read_bytes`.
        JsonError: as `parse`.
    """
    return parse(read_bytes(path, most), any_name)


def parse(text: bytes, any_name: bool = False) -> Any:
    """The value of a JSON text in UTF-8.

    Args:
        text: of a file.
        any_name: it holds names of files, whose bytes that are not UTF-8 Python keeps as halves of characters.

    Raises:
        JsonError: if it is not JSON, gives a key twice, or holds a number that is not finite or has more digits than
            any of ours, half a character, more values or more levels than any file of ours.

    Example:
        >>> parse(b'{"n": 8, "n": 9}')
        Traceback (most recent call last):
        ...
        quantbench.strict_json.JsonError: the key 'n' is given twice
    """
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise JsonError(f"holds more than {MAX_VALUES:,} values")
    try:
        value = _DECODER.decode(text.decode("utf-8"))
        if not any_name and SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except JsonError:
        raise
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except UnicodeEncodeError:
        raise JsonError("holds half a character (a lone surrogate)") from None
    except ValueError as error:
        raise JsonError(f"not valid JSON ({error})") from None
    _check_depth(value)
    return value


class _WrongNumber(float):
    """Stands for a number that is refused once its place is known, whose text it keeps."""

    text = ""


def _wrong(text: str) -> float:
    number = _WrongNumber("nan")
    number.text = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return number


def _float(text: str) -> float:
    number = float(text)
    is_lost = number == 0.0 and any(each in "123456789" for each in text.lower().partition("e")[0])
    return _wrong(text) if is_lost or not math.isfinite(number) else number


def _integer(text: str) -> float:
    return int(text) if len(text) <= MAX_DIGITS else _wrong(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonError(f"the key {twice[:SHOWN]!r} is given twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_integer, parse_constant=_wrong)


def _check_depth(value: Any) -> None:
    """Refuses what is nested too deeply, and numbers that stand for others."""
    depth, kinds = 0, (dict, list, _WrongNumber)
    level = [value] if type(value) in kinds else []
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise JsonError("nested too deeply")
        if any(type(each) is _WrongNumber for each in level):
            _refuse_number(value)
        inner = (each.values() if type(each) is dict else each for each in level)
        level = [each for each in chain.from_iterable(inner) if type(each) in kinds]


def _refuse_number(value: Any) -> NoReturn:
    """Names the first number that stands for another by its place."""
    waiting = [("", value)]
    while waiting:
        place, each = waiting.pop()
        if isinstance(each, _WrongNumber):
            subject = f"{printable(place)[:SHOWN]}: " if place else ""
            raise JsonError(f"{subject}{each.text} is no finite number, or has more than {MAX_DIGITS} digits")
        items = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        waiting += reversed([(f"{place}.{key}" if place else str(key), inner) for key, inner in items])
    raise AssertionError("no number was refused")
