"""FlatBuffers read by their bytes: every offset is checked, so that a damaged file is told and never followed."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# Of what a buffer may be asked for: offsets may point at one vector many times, which would take for ever.
ELEMENTS_PER_BYTE, LEAST_ELEMENTS = 4, 1 << 16
# Sizes of numbers by their letter of `struct`.
NUMBERS = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8, "d": 8}


class DamagedError(ValueError):
    """Bytes that are no whole FlatBuffer."""


class FlatBuffer:
    """Bytes with a budget of elements.

    Args:
        content: the whole buffer.

    Example:
        >>> FlatBuffer(b"short").root("ABCD")
        Traceback (most recent call last):
        quantbench.backends.executorch_runtime.flatbuffer.DamagedError: 4 bytes at 4 of 5
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = max(LEAST_ELEMENTS, ELEMENTS_PER_BYTE * len(content))

    def root(self, *identifiers: str) -> Table:
        """The root table.

        Args:
            identifiers: marks of the format, one of which the buffer has.

        Raises:
            DamagedError: if it has none of them, or ends too early.
        """
        mark = bytes(self.take(4, 4))
        if mark not in [each.encode() for each in identifiers]:
            raise DamagedError(f"the mark {mark!r} instead of {identifiers[0]}")
        return Table(self, self.number(0, "I"))

    def take(self, start: int, size: int) -> bytes:
        """Bytes at a place.

        Raises:
            DamagedError: if they are not there.
        """
        if start < 0 or size < 0 or start + size > len(self.content):
            raise DamagedError(f"{size} bytes at {start} of {len(self.content)}")
        return self.content[start : start + size]

    def number(self, at: int, letter: str) -> int:
        """An integer at a place, by its letter of `struct`."""
        found: int = struct.unpack("<" + letter, self.take(at, NUMBERS[letter]))[0]
        return found

    def spend(self, elements: int) -> None:
        """Takes elements off the budget.

        Raises:
            DamagedError: if it is used up.
        """
        self._left -= elements
        if self._left < 0:
            raise DamagedError("vectors that are used over and over")


@dataclass(frozen=True)
class Table:
    """A table of a buffer; its fields are known by their place in the schema.

    Attributes:
        buffer: it lies in.
        at: where.
    """

    buffer: FlatBuffer
    at: int

    def number(self, field: int, letter: str, default: float = 0) -> float:
        """A number, by its letter of `struct`."""
        at = self._place(field)
        if at is None:
            return default
        found: float = struct.unpack("<" + letter, self.buffer.take(at, NUMBERS[letter]))[0]
        return found

    def integer(self, field: int, letter: str = "I", default: int = 0) -> int:
        """An integer, by its letter of `struct`."""
        return int(self.number(field, letter, default))

    def table(self, field: int) -> Table | None:
        """Another table; None where the field is left out."""
        at = self._followed(field)
        return None if at is None else Table(self.buffer, at)

    def union(self, field: int) -> tuple[int, Table | None]:
        """Number of the type, 0 for none, and the table; a union takes this field for the type and the next one."""
        return self.integer(field, "B"), self.table(field + 1)

    def bytes(self, field: int) -> bytes:
        """A vector of bytes."""
        at = self._followed(field)
        return b"" if at is None else self.buffer.take(at + 4, self.buffer.number(at, "I"))

    def text(self, field: int) -> str:
        """A text; bytes that are none are replaced."""
        return self.bytes(field).decode("utf-8", "replace")

    def numbers(self, field: int, letter: str) -> tuple[int, ...]:
        """A vector of numbers."""
        at = self._followed(field)
        if at is None:
            return ()
        n = self.buffer.number(at, "I")
        self.buffer.spend(n)
        return struct.unpack(f"<{n}{letter}", self.buffer.take(at + 4, n * NUMBERS[letter]))

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        at = self._followed(field)
        if at is None:
            return []
        n = self.buffer.number(at, "I")
        self.buffer.spend(n)
        offsets = struct.unpack(f"<{n}I", self.buffer.take(at + 4, 4 * n))
        return [Table(self.buffer, at + 4 + 4 * i + offset) for i, offset in enumerate(offsets)]

    def _place(self, field: int) -> int | None:
        """The place of a field; None where it is left out, or unknown to who wrote the buffer."""
        at = self.at - self.buffer.number(self.at, "i")
        entry = 4 + 2 * field
        if entry + 2 > self.buffer.number(at, "H"):
            return None
        offset = self.buffer.number(at + entry, "H")
        return self.at + offset if offset else None

    def _followed(self, field: int) -> int | None:
        at = self._place(field)
        return None if at is None else at + self.buffer.number(at, "I")
