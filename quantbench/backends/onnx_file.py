"""An `.onnx` file read without its runtime: nodes, initializers, and the other files that hold its values.

Files may come from anywhere. Sizes are bounded, values are read only when they are asked for, and data outside of the
file itself must lie in its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.backends.onnx_messages import graphs_of, nodes_of, tensors_of
from quantbench.errors import CheckpointError
from quantbench.files import is_inside, open_file, printable, read_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

# What a message of protobuf can hold; a larger model has its values in other files.
LARGEST = 2**31 - 1
ADVICE = "export it again"
# Bits of types of which several values share a byte.
PACKED_BITS = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}
ADDED = re.compile(r"(_token_\d+|_nhwc|_MatMul_quant|_quant|/\w+Fusion/)+$")
ANY_SHAPE = "of any shape"
# Domains that are written as no domain at all.
DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Tensor:
    """A constant of a file: its type and shape, and its values where they are asked for.

    Attributes:
        dtype: numpy's name, or `string`.
        shape: of the values.
        proto: as the file holds it.
        path: of the file, for values that are kept beside it.
    """

    dtype: str
    shape: tuple[int, ...]
    proto: TensorProto = field(repr=False, compare=False)
    path: Path = field(repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Bytes of its values; none of texts, whose bytes are no numbers."""
        import numpy as np

        count = int(np.prod(self.shape, dtype=object)) if self.shape else 1
        if self.dtype == "string":
            return 0
        bits = PACKED_BITS.get(self.dtype) or 8 * _numpy_dtype(self.proto.data_type).itemsize
        return (count * bits + 7) // 8

    def values(self) -> NDArray[np.generic]:
        """Its values.

        Raises:
            CheckpointError: if they are not as many as its shape tells, or their file is not as it must be.
        """
        from onnx import numpy_helper

        proto = self.proto
        if external_location(proto) is not None:
            proto = type(self.proto)()
            proto.CopyFrom(self.proto)
            proto.raw_data = read_external(self.proto, self.path)
            proto.data_location = proto.DEFAULT
            del proto.external_data[:]
        try:
            return numpy_helper.to_array(proto)
        # Counts, sizes and types of a damaged file trip the reader anywhere.
        except Exception as error:
            raise CheckpointError(
                f"{self.path}: '{printable(self.proto.name)}' does not hold {self.dtype} {list(self.shape)} "
                f"({printable(error)[:120]}); {ADVICE}"
            ) from None


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        name: may be empty, and need not be the only one of that name.
        op: with its domain, unless that is ONNX's own.
        inputs: names of values; empty for one that is left out.
        outputs: the same.
        attributes: numbers, texts, lists of them, and constants.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxModel:
    """A model as its file holds it, the graphs inside of control flow and functions laid flat beside the outer one.

    Attributes:
        path: of the file.
        nodes: in the file's order.
        constants: initializers, and what nodes `Constant` hold, by name.
        sparse: names of initializers that are kept sparsely, which have no entry among `constants`.
        inputs: name → type and shape in words, without those that are initializers.
        outputs: the same.
        opset: domain → version.
        locations: names of the other files that hold values of its constants.
    """

    path: Path
    nodes: tuple[Node, ...]
    constants: dict[str, Tensor]
    sparse: tuple[str, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]
    opset: dict[str, int]
    locations: tuple[str, ...]

    @property
    def producers(self) -> dict[str, Node]:
        """Name of a value → the node that computes it."""
        return {name: node for node in self.nodes for name in node.outputs if name}


def read_onnx(path: Path) -> OnnxModel:
    """Reads a file; values stay where they are until they are asked for.

    Raises:
        CheckpointError: in one line, if it is missing, no ordinary file, larger than 2 GB, or no whole ONNX model.
    """
    return model_of(read_proto(path), path)


def read_proto(path: Path) -> ModelProto:
    """The message that a file holds, without the values in other files.

    Raises:
        CheckpointError: as `read_onnx`.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        content = read_bytes(path, LARGEST)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {ADVICE}") from None
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise CheckpointError(f"{path}: no whole ONNX model ({printable(error)[:120]}); {ADVICE}") from None
    # Many a short file parses as a message in which nothing that a model needs is said.
    if not model.ir_version or not model.opset_import or not model.graph.output:
        raise CheckpointError(
            f"{path}: no ONNX model: it names no version, no operator set or no output; give the file that an "
            "exporter wrote"
        )
    # Where bytes are no text, protobuf gives them as they are.
    if (odd := next((name for name in _names(model) if not isinstance(name, str)), None)) is not None:
        raise CheckpointError(f"{path}: holds the name {printable(odd)[:80]}, which is no text; {ADVICE}")
    return model


def _names(proto: ModelProto) -> Iterator[object]:
    """Every name and other text by which parts of a model refer to each other."""
    for graph in graphs_of(proto):
        yield from (each.name for each in (*graph.initializer, *graph.input, *graph.output, *graph.value_info))
        for value in (*graph.input, *graph.output):
            yield from (size.dim_param for size in value.type.tensor_type.shape.dim)
        yield from (each.values.name for each in graph.sparse_initializer)
    for node in nodes_of(proto):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (each.name for each in node.attribute)
    yield from (each.domain for each in proto.opset_import)
    for tensor in tensors_of(proto):
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


def model_of(proto: ModelProto, path: Path) -> OnnxModel:
    """A message in plain words; `path` tells the folder of its values."""
    graphs, nodes = list(graphs_of(proto)), list(nodes_of(proto))
    constants: dict[str, Tensor] = {}
    for graph in graphs:
        for tensor in graph.initializer:
            _add(constants, tensor.name, tensor, path)
    for node in nodes:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value" and node.output:
                _add(constants, node.output[0], attribute.t, path)
    held = {each.name for each in proto.graph.initializer}
    return OnnxModel(
        path=path,
        nodes=tuple(_node(node, path) for node in nodes),
        constants=constants,
        sparse=tuple(each.values.name for graph in graphs for each in graph.sparse_initializer),
        inputs={each.name: _words(each.type) for each in proto.graph.input if each.name not in held},
        outputs={each.name: _words(each.type) for each in proto.graph.output},
        opset={_domain(each.domain): each.version for each in proto.opset_import},
        locations=tuple(dict.fromkeys(_locations(proto))),
    )


def layer_name(node: Node) -> str:
    """Name of the layer that a node computes, without what runtimes and their tools add where they rewrite a graph.

    Example:
        >>> layer_name(Node("fc_MatMul_quant", "MatMulInteger", (), (), {}))
        'fc'
    """
    return ADDED.sub("", node.name) or node.op


def files_of(path: Path) -> tuple[Path, ...]:
    """All files of a model: its own, then those with values of its initializers.

    Raises:
        CheckpointError: as `read_onnx`, or if such a file is missing, no ordinary one, too short, or outside of the
            model's folder.
    """
    proto = read_proto(path)
    for tensor in tensors_of(proto):
        if external_location(tensor) is not None:
            _check_external(tensor, path)
    return path, *(path.parent / each for each in dict.fromkeys(_locations(proto)))


def external_location(tensor: TensorProto) -> str | None:
    """The file that a tensor says its values are in; None for one that holds them itself."""
    if tensor.data_location != tensor.EXTERNAL:
        return None
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def read_external(tensor: TensorProto, path: Path) -> bytes:
    """The bytes of a tensor of a model that are in another file.

    Raises:
        CheckpointError: as `files_of`.
    """
    offset, length = _check_external(tensor, path)
    with open_file(path.parent / (external_location(tensor) or "")) as file:
        file.seek(offset)
        return file.read(length)


def _check_external(tensor: TensorProto, path: Path) -> tuple[int, int]:
    """Offset and length of a tensor's values in the file that holds them."""
    location = external_location(tensor) or ""
    whose = f"{path}: the values of '{printable(tensor.name)}' are in '{printable(location)}'"
    folder = path.parent
    if not is_inside(location) or not (folder / location).resolve().is_relative_to(folder.resolve()):
        raise CheckpointError(f"{whose}, outside of the model's folder; put them beside the model, and {ADVICE}")
    try:
        with open_file(folder / location) as file:
            size = file.seek(0, 2)
    except FileNotFoundError:
        raise CheckpointError(f"{whose}, which is not there; copy it beside the model") from None
    except OSError as error:
        raise CheckpointError(f"{whose}, which cannot be read ({error.strerror}); {ADVICE}") from None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or size - offset)
    except ValueError:
        raise CheckpointError(f"{whose}, at no place in it that is a number; {ADVICE}") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise CheckpointError(
            f"{whose}, bytes {offset:,} to {offset + length:,}, and that file has {size:,}; it was cut short or "
            f"belongs to another model: {ADVICE}"
        )
    return offset, length


def _locations(proto: ModelProto) -> Iterator[str]:
    for tensor in tensors_of(proto):
        if (location := external_location(tensor)) is not None:
            yield location


def _node(node: NodeProto, path: Path) -> Node:
    domain = _domain(node.domain)
    return Node(
        name=node.name,
        op=f"{domain}.{node.op_type}" if domain not in DEFAULT_DOMAINS else node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={each.name: _value(each, path) for each in node.attribute if not each.HasField("g")},
    )


def _value(attribute: AttributeProto, path: Path) -> Any:
    """The number, text, list or constant of an attribute."""
    match attribute.type:
        case attribute.FLOAT:
            return attribute.f
        case attribute.INT:
            return attribute.i
        case attribute.STRING:
            return attribute.s.decode("utf-8", "replace")
        case attribute.TENSOR:
            return _tensor(attribute.t, path)
        case attribute.FLOATS:
            return list(attribute.floats)
        case attribute.INTS:
            return list(attribute.ints)
        case attribute.STRINGS:
            return [each.decode("utf-8", "replace") for each in attribute.strings]
        case _:
            return None


def _add(constants: dict[str, Tensor], name: str, tensor: TensorProto, path: Path) -> None:
    """Graphs inside of others may use a name again."""
    free, count = name, 1
    while free in constants:
        count += 1
        free = f"{name}#{count}"
    constants[free] = _tensor(tensor, path)


def _tensor(tensor: TensorProto, path: Path) -> Tensor:
    return Tensor(_dtype_name(tensor.data_type), tuple(tensor.dims), tensor, path)


def _domain(domain: str) -> str:
    return "" if domain in DEFAULT_DOMAINS else domain


def _numpy_dtype(data_type: int) -> np.dtype[Any]:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(data_type)


def _dtype_name(data_type: int) -> str:
    """Numpy's name of a type, `string`, or its number where this version of onnx has none for it."""
    from onnx import TensorProto

    if data_type == TensorProto.STRING:
        return "string"
    try:
        return str(_numpy_dtype(data_type))
    # Of a newer version, or undefined.
    except (KeyError, ValueError, TypeError):
        return f"type {data_type}"


def _words(kind: Any) -> str:
    """The type of an input or output in words: `float32 [batch, 3, 32, 32]`."""
    which = kind.WhichOneof("value")
    if which != "tensor_type":
        return str(which or "of no type").removesuffix("_type")
    dtype = _dtype_name(kind.tensor_type.elem_type)
    if not kind.tensor_type.HasField("shape"):
        return f"{dtype} {ANY_SHAPE}"
    sizes = [str(each.dim_value) if each.HasField("dim_value") else each.dim_param or "?"
             for each in kind.tensor_type.shape.dim]  # fmt: skip
    return f"{dtype} [{', '.join(sizes)}]"
