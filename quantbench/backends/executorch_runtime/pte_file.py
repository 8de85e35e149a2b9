"""A `.pte` file read by its bytes: its methods, what each of them calls, and the constants.

ExecuTorch's own reader follows the offsets of what delegates hold without checking them. A file is therefore read here
before the runtime is given it; no code of it runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from quantbench.backends.executorch_runtime.flatbuffer import DamagedError, FlatBuffer, Table
from quantbench.backends.executorch_runtime.xnnpack_graph import Graph, graph_of
from quantbench.errors import CheckpointError
from quantbench.files import printable, read_bytes, short_name

IDENTIFIER = "ET12"
# Of the header behind the mark, and the places of its numbers.
HEADER, HEADER_END = b"eh00", 40
# Of files, and of what a method may allocate before its first forward.
LARGEST, MOST_MEMORY = 1 << 33, 1 << 34
METHOD, XNNPACK = "forward", "XnnpackBackend"
# The method that gives what quantbench wrote about a file as JSON.
NAMES = "quantbench_names"
# Numbers of types in the schema → numpy's names, and bytes of one value.
DTYPES = {
    0: ("uint8", 1), 1: ("int8", 1), 2: ("int16", 2), 3: ("int32", 4), 4: ("int64", 8), 5: ("float16", 2),
    6: ("float32", 4), 7: ("float64", 8), 11: ("bool", 1), 15: ("bfloat16", 2), 27: ("uint16", 2), 28: ("uint32", 4),
    29: ("uint64", 8),
}  # fmt: skip
# Numbers of the kinds of values and of instructions in the schema.
INT, TENSOR, STRING = 2, 5, 6
BOOL = 3
KERNEL, DELEGATE, JUMP = 1, 2, 4
EXTERNAL = 1


@dataclass(frozen=True)
class Tensor:
    """A value of a method.

    Attributes:
        dtype: numpy's name.
        shape: the largest sizes.
        is_open: True if sizes may be smaller.
        order: of axes in memory.
        name: of the model's, where the file has one.
        values: bytes of a constant; None for others.
    """

    dtype: str
    shape: tuple[int, ...]
    is_open: bool
    order: tuple[int, ...]
    name: str = ""
    values: bytes | None = None


@dataclass(frozen=True)
class Call:
    """An instruction.

    Attributes:
        at: its place.
        operator: name of a kernel, such as `aten::mean.out`; empty for a delegate.
        args: places of its values.
        graph: what XNNPACK runs in its place.
    """

    at: int
    operator: str
    args: tuple[int, ...]
    graph: Graph | None = None


@dataclass(frozen=True)
class Method:
    """A method of a file.

    Attributes:
        values: a tensor, a number, a text, or None for what is none of these.
        inputs: places of the values that are given.
        outputs: places of those that are given back.
        calls: in their order.
        jumps: True if what runs depends on values.
        keeps_state: True if a forward leaves something for the next.
        output_tree: structure of the outputs, as JSON.
    """

    values: tuple[Tensor | int | str | None, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    jumps: bool = False
    keeps_state: bool = False
    output_tree: str = ""

    def tensors(self, places: Sequence[int]) -> list[Tensor | None]:
        """The tensors at places; None for other values."""
        found = [self.values[at] if 0 <= at < len(self.values) else None for at in places]
        return [each if isinstance(each, Tensor) else None for each in found]

    @property
    def outside(self) -> Counter[str]:
        """Operators that XNNPACK does not run, with how often each is called."""
        return Counter(each.operator for each in self.calls if each.graph is None)


@dataclass(frozen=True)
class PteFile:
    """A whole file.

    Attributes:
        version: of its schema.
        method: the one that is the model.
        names: what quantbench wrote about the file; empty of files made elsewhere.
        named: constants of delegates, by their keys.
    """

    version: int
    method: Method
    names: str = ""
    named: dict[str, bytes] = field(default_factory=dict)


def read_pte(path: Path) -> PteFile:
    """Reads a file.

    Raises:
        CheckpointError: in one line, if it is missing, damaged, of another version, or needs what is not there.
    """
    try:
        content = read_bytes(path, LARGEST)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    _check_mark(content, path)
    try:
        return _Reader(content, path).read()
    except DamagedError as error:
        reason = printable(error)[:100]
        raise CheckpointError(f"{path}: not a whole .pte file ({reason}); copy or export it again") from None


def _check_mark(content: bytes, path: Path) -> None:
    mark = content[4:8].decode("latin-1")
    if mark == IDENTIFIER:
        return
    if re.fullmatch(r"ET\d\d", mark):
        raise CheckpointError(
            f"{path}: is of version {mark} of the format, and {IDENTIFIER} is what is read; export it again, or update "
            "quantbench"
        )
    raise CheckpointError(f"{path}: is no .pte file: it lacks the mark {IDENTIFIER} of that format")


class _Reader:
    """Reads a program's tables, by the numbers of their fields in ExecuTorch's `program.fbs`.

    Args:
        content: of the file.
        path: for messages.
    """

    def __init__(self, content: bytes, path: Path) -> None:
        self._content, self._path = content, path
        self._base = self._segments_begin()
        self._program = FlatBuffer(content).root(IDENTIFIER)
        self._segments = [(each.integer(0, "Q"), each.integer(1, "Q")) for each in self._program.tables(4)]
        found = [(each.text(0), self._segment(each.integer(1))) for each in self._program.tables(7)]
        self._named = dict(found)

    def read(self) -> PteFile:
        """The file."""
        version = self._program.integer(0)
        plans = {each.text(0): each for each in self._program.tables(1)}
        if METHOD not in plans:
            has = ", ".join(map(short_name, plans)) or "none"
            raise CheckpointError(f"{self._path}: has no method '{METHOD}' (it has {has}); export one of that name")
        names = self._method(plans[NAMES]).values if NAMES in plans else ()
        told = next((each for each in names if isinstance(each, str)), "")
        return PteFile(version, self._method(plans[METHOD]), told, self._named)

    def _segments_begin(self) -> int:
        """The place from which segments are counted.

        Raises:
            DamagedError: if the file is shorter than it says.
        """
        content = self._content
        if content[8:12] != HEADER:
            return len(content)
        header = FlatBuffer(content)
        size, begin = header.number(16, "Q"), header.number(24, "Q")
        values = header.number(32, "Q") if header.number(12, "I") >= HEADER_END else 0
        if max(size, begin + values) > len(content):
            raise DamagedError(f"{max(size, begin + values):,} bytes, of which {len(content):,} are there")
        return begin

    def _segment(self, index: int) -> bytes:
        if index >= len(self._segments):
            raise DamagedError(f"segment {index} of {len(self._segments)}")
        start, size = self._segments[index]
        if self._base + start + size > len(self._content):
            raise DamagedError(f"segment {index} ends beyond the file")
        return self._content[self._base + start : self._base + start + size]

    def _method(self, plan: Table) -> Method:
        memory = sum(abs(size) for size in plan.numbers(8, "q"))
        if memory > MOST_MEMORY:
            raise CheckpointError(f"{self._path}: asks for {memory:,} bytes; more than {MOST_MEMORY:,} are refused")
        chains = plan.tables(5)
        if len(chains) != 1:
            raise DamagedError(f"{len(chains)} chains of instructions")
        operators = [_name(each) for each in plan.tables(6)]
        delegates = [self._delegate(each) for each in plan.tables(7)]
        values = tuple(map(self._value, plan.tables(2)))
        calls, jumps = [], False
        for at, instruction in enumerate(chains[0].tables(2)):
            kind, table = instruction.union(0)
            jumps |= kind == JUMP
            if table is None or kind not in (KERNEL, DELEGATE):
                continue
            known, index = operators if kind == KERNEL else delegates, table.integer(0, "i")
            if not 0 <= index < len(known):
                raise DamagedError(f"instruction {at} calls {index} of {len(known)}")
            name, graph = (operators[index], None) if kind == KERNEL else ("", delegates[index])
            calls.append(Call(at, name, table.numbers(1, "i"), graph))
        tree = plan.table(1)
        return Method(
            values,
            plan.numbers(3, "i"),
            plan.numbers(4, "i"),
            tuple(calls),
            jumps,
            bool(self._program.tables(6)),
            tree.text(1) if tree else "",
        )

    def _delegate(self, table: Table) -> Graph:
        name, place = table.text(0), table.table(1)
        if name != XNNPACK:
            raise CheckpointError(
                f"{self._path}: a part of it is for {short_name(name)}, and only XNNPACK's are run; lower it with "
                "XnnpackPartitioner alone"
            )
        if place is None:
            raise DamagedError("a delegate without data")
        index = place.integer(1)
        if place.integer(0, "b"):
            return graph_of(self._segment(index), self._named)
        held = self._program.tables(3)
        if index >= len(held):
            raise DamagedError(f"a delegate's data {index} of {len(held)}")
        return graph_of(held[index].bytes(0), self._named)

    def _value(self, table: Table) -> Tensor | int | str | None:
        kind, held = table.union(0)
        if held is None:
            return None
        if kind == TENSOR:
            return self._tensor(held)
        if kind == INT:
            return held.integer(0, "q")
        if kind == BOOL:
            return held.integer(0, "?")
        return held.text(0) if kind == STRING else None

    def _tensor(self, table: Table) -> Tensor:
        dtype, size = DTYPES.get(table.integer(0, "b"), ("unknown", 0))
        shape, more, index = table.numbers(2, "i"), table.table(9), table.integer(5)
        if any(each < 0 for each in shape):
            raise DamagedError(f"a tensor of shape {list(shape)}")
        if more is not None and more.integer(2, "b") == EXTERNAL:
            raise CheckpointError(
                f"{self._path}: its weights lie in another file (.ptd), which is not read; export it with them inside"
            )
        is_constant = index > 0 and table.table(6) is None
        values = self._constant(index, prod(shape) * size) if is_constant else None
        order = table.numbers(3, "B") or tuple(range(len(shape)))
        if sorted(order) != list(range(len(shape))):
            raise DamagedError(f"axes in the order {list(order)[:8]}")
        return Tensor(dtype, shape, table.integer(8, "b") != 0, order, more.text(1) if more else "", values)

    def _constant(self, index: int, size: int) -> bytes:
        place = self._program.table(5)
        if place is None:
            held = self._program.tables(2)
            values = held[index].bytes(0) if index < len(held) else b""
            start = 0
        else:
            offsets = place.numbers(1, "Q")
            values = self._segment(place.integer(0)) if index < len(offsets) else b""
            start = offsets[index] if index < len(offsets) else 0
        if start + size > len(values):
            raise DamagedError(f"constant {index} ends beyond its segment")
        return values[start : start + size]


def _name(operator: Table) -> str:
    overload = operator.text(1)
    return printable(f"{operator.text(0)}.{overload}" if overload else operator.text(0))
