"""Messages of ONNX read whole and written as one file: the same bytes for the same model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.backends.onnx_file import (
    DEFAULT_DOMAINS,
    LARGEST,
    external_location,
    files_of,
    read_external,
    read_proto,
)
from quantbench.backends.onnx_messages import nodes_of, tensors_of
from quantbench.errors import QuantizationError
from quantbench.files import replacing

if TYPE_CHECKING:
    from onnx import ModelProto


def whole(path: Path) -> ModelProto:
    """A model with all its values in one message.

    Raises:
        CheckpointError: as `files_of`.
        QuantizationError: if it is too large for that.
    """
    size = sum(each.stat().st_size for each in files_of(path))
    if size > LARGEST:
        raise QuantizationError(
            f"{path}: {size:,} bytes with its values are more than one file of ONNX holds; quantize it elsewhere, and "
            "name the result (recipe: {name: ready_made, path: …})"
        )
    proto = read_proto(path)
    for tensor in tensors_of(proto):
        if external_location(tensor) is not None:
            tensor.raw_data = read_external(tensor, path)
            tensor.data_location = tensor.DEFAULT
            del tensor.external_data[:]
    return proto


def write(proto: ModelProto, path: Path) -> bytes:
    """Writes a model without what tells of the machine and the tools; gives the bytes."""
    graph = proto.graph
    for each in (proto, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del each.metadata_props[:]
        each.ClearField("doc_string")
    # Tools add every domain that they know.
    used = {*DEFAULT_DOMAINS, *(node.domain for node in nodes_of(proto))}
    for each in [each for each in proto.opset_import if each.domain not in used]:
        proto.opset_import.remove(each)
    content: bytes = proto.SerializeToString(deterministic=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return content
