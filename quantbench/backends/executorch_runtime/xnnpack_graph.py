"""The part of a `.pte` file that XNNPACK runs, read by its bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

from quantbench.backends.executorch_runtime.flatbuffer import DamagedError, FlatBuffer, Table

IDENTIFIERS = ("XN01", "XN00")
HEADER = b"XH00"
# Of values that are not there.
NONE = 0xFFFFFFFF
# Of an offset that a name stands for.
BY_NAME = (1 << 64) - 1
# Numbers of the kinds of scales.
PER_CHANNEL, PER_TENSOR, PER_BLOCK = 1, 2, 4
# Numbers of types → their names.
DTYPES = (
    "invalid", "float32", "float16", "int8", "uint8", "int32", "int8", "int32", "int4", "int8", "int4", "int8", "int32",
    "float32", "bfloat16",
)  # fmt: skip
# Those that are quantized batch by batch while it runs.
DYNAMIC = (9, 11)
# Kinds of nodes by their number, from 1.
KINDS = (
    "Add", "FullyConnected", "Softmax", "Sigmoid", "StaticTranspose", "Clamp", "Conv2d", "Div",
    "StaticResizeBilinear2D", "StaticConstantPad", "AvgPooling2d", "Minimum", "DepthwiseConv2d", "MaxPooling2d",
    "Multiply", "Subtract", "Floor", "Convert", "GlobalAvgPooling2d", "StaticReshape", "ArgMaxPooling2d", "SquareRoot",
    "Ceiling", "Hardswish", "LeakyReLU", "Maximum", "Negate", "Square", "ELU", "Abs", "PReLU", "Concatenate2",
    "Concatenate3", "Concatenate4", "StaticSlice", "ScaledDotProductAttention", "BatchMatrixMultiply", "Concatenate5",
    "ConvTranspose2d", "ReciprocalSquareRoot", "Log", "Gelu", "Tanh", "Exp", "Sin", "Copy", "Cos",
)  # fmt: skip


class Fields(NamedTuple):
    """Places of a kind's values among the fields of its table."""

    inputs: tuple[int, ...]
    output: int


CONVOLUTION = Fields((15, 16, 17), 18)
CONVOLUTIONS = ("Conv2d", "DepthwiseConv2d", "ConvTranspose2d")
# Places in tables of convolutions of kernel height and width, and of channels of a group.
KERNEL, GROUP_INPUTS, GROUP_OUTPUTS = (4, 5), 10, 11
ONE, TWO = Fields((0,), 1), Fields((0, 1), 2)
FIELDS = {
    "FullyConnected": Fields((0, 1, 2), 3), "StaticTranspose": Fields((2,), 3),
    "StaticResizeBilinear2D": Fields((2,), 3),
    "StaticConstantPad": Fields((3,), 4), "AvgPooling2d": Fields((10,), 11), "MaxPooling2d": Fields((10,), 11),
    "StaticReshape": Fields((2,), 3), "ArgMaxPooling2d": Fields((6,), 7), "LeakyReLU": Fields((1,), 2),
    "ELU": Fields((1,), 2), "StaticSlice": Fields((3,), 4), "ScaledDotProductAttention": Fields((0, 1, 2, 3, 4), 5),
    "Concatenate2": Fields((1, 2), 5), "Concatenate3": Fields((1, 2, 3), 5), "Concatenate4": Fields((1, 2, 3, 4), 5),
    "Concatenate5": Fields((1, 2, 3, 4, 7), 5), **dict.fromkeys(CONVOLUTIONS, CONVOLUTION),
    **dict.fromkeys(("Add", "Div", "Minimum", "Multiply", "Subtract", "Maximum", "PReLU", "BatchMatrixMultiply"), TWO),
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A tensor of XNNPACK.

    Attributes:
        dtype: of what is stored or computed with.
        shape: the largest sizes.
        is_dynamic: quantized batch by batch.
        scales: bytes of scales and zero points; empty where there are none.
        axis: of scales per channel; None for one scale per tensor.
        zero_point: of one scale per tensor.
        is_blockwise: a scale for each block of weights.
        values: bytes of a constant; None for others.
    """

    dtype: str
    shape: tuple[int, ...]
    is_dynamic: bool = False
    scales: bytes = b""
    axis: int | None = None
    zero_point: int = 0
    is_blockwise: bool = False
    values: bytes | None = None


@dataclass(frozen=True)
class Node:
    """An operator of XNNPACK.

    Attributes:
        kind: such as `Conv2d`.
        inputs: places of its values; −1 for one that is left out.
        output: place of its result.
        kernel: height and width of a convolution.
        group: input and output channels of a group of a convolution.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    kernel: tuple[int, int] = (1, 1)
    group: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Graph:
    """Operators of one call of XNNPACK.

    Attributes:
        nodes: in their order.
        values: by their numbers.
        inputs: numbers of the values that are given.
        outputs: of those that are given back.
    """

    nodes: tuple[Node, ...]
    values: dict[int, Value]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


def graph_of(payload: bytes, named: dict[str, bytes]) -> Graph:
    """Reads the data of a delegate.

    Args:
        payload: of the delegate.
        named: constants of the file by their keys.

    Raises:
        DamagedError: if it is no whole graph.
    """
    header, content, constants = FlatBuffer(payload), payload, b""
    if payload[4:8] == HEADER:
        start, size, data = (header.number(at, "I") for at in (10, 14, 18))
        length = header.number(22, "Q")
        content, constants = header.take(start, size), header.take(data, length)
    return _Reader(FlatBuffer(content).root(*IDENTIFIERS), constants, named).read()


class _Reader:
    """Reads a graph's tables, by the numbers of their fields in `runtime_schema.fbs`.

    Args:
        root: of the graph.
        constants: that follow it.
        named: of the file.
    """

    def __init__(self, root: Table, constants: bytes, named: dict[str, bytes]) -> None:
        self._root, self._constants, self._named = root, constants, named
        self._inside = root.tables(6)
        self._places = [(each.integer(0, "Q"), each.integer(1, "Q"), each.text(2)) for each in root.tables(8)]

    def read(self) -> Graph:
        """The graph."""
        values = dict(map(self._value, self._root.tables(2)))
        nodes = tuple(map(_node, self._root.tables(1)))
        for node in nodes:
            for place in {*node.inputs, node.output} - {-1}:
                if place not in values:
                    raise DamagedError(f"{node.kind} of value {place}, which is not there")
        return Graph(nodes, values, self._root.numbers(4, "I"), self._root.numbers(5, "I"))

    def _value(self, table: Table) -> tuple[int, Value]:
        kind, held = table.union(0)
        tensor = held.table(0) if kind == 2 and held is not None else held
        if tensor is None:
            raise DamagedError("a value without a tensor")
        number = tensor.integer(0, "h")
        if not 0 <= number < len(DTYPES):
            raise DamagedError(f"type {number} of a value")
        index = tensor.integer(3)
        value = Value(
            DTYPES[number],
            tensor.numbers(2, "I"),
            number in DYNAMIC,
            values=self._constant(index) if index else None,
        )
        scaled = self._with_scales(value, held) if kind == 2 and held is not None else value
        return tensor.integer(6), scaled

    def _with_scales(self, value: Value, table: Table) -> Value:
        kind, held = table.union(1)
        if held is None:
            return value
        if kind == PER_TENSOR:
            scale, zero_point = held.number(0, "f"), held.integer(1, "i")
            return replace(value, scales=struct.pack("<fi", scale, zero_point), zero_point=zero_point)
        if kind in (PER_CHANNEL, PER_BLOCK):
            index, own = held.integer(2 if kind == PER_CHANNEL else 4), held.numbers(0, "f")
            scales = self._constant(index) if index else struct.pack(f"<{len(own)}f", *own)
            return replace(value, scales=scales, axis=held.integer(1, "i"), is_blockwise=kind == PER_BLOCK)
        return value

    def _constant(self, index: int) -> bytes:
        if not self._places:
            if index >= len(self._inside):
                raise DamagedError(f"constant {index} of {len(self._inside)}")
            return self._inside[index].bytes(0)
        if index >= len(self._places):
            raise DamagedError(f"constant {index} of {len(self._places)}")
        offset, size, key = self._places[index]
        if key or offset == BY_NAME:
            if key not in self._named:
                raise DamagedError("a constant by a name that is not there")
            return self._named[key]
        if offset + size > len(self._constants):
            raise DamagedError(f"constant {index} ends beyond its data")
        return self._constants[offset : offset + size]


def _node(table: Table) -> Node:
    number, held = table.union(0)
    if held is None or not 0 < number <= len(KINDS):
        raise DamagedError(f"an operator of number {number}")
    kind = KINDS[number - 1]
    fields = FIELDS.get(kind, ONE)
    inputs = tuple(_place(held.integer(at)) for at in fields.inputs)
    if kind not in CONVOLUTIONS:
        return Node(kind, inputs, held.integer(fields.output))
    kernel, group = (tuple(map(held.integer, each)) for each in (KERNEL, (GROUP_INPUTS, GROUP_OUTPUTS)))
    return Node(kind, inputs, held.integer(fields.output), kernel, group)  # type: ignore[arg-type]


def _place(number: int) -> int:
    return -1 if number == NONE else number
