"""Messages inside of a model of ONNX: its graphs, nodes and tensors, wherever they are nested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto


def tensors_of(proto: ModelProto) -> Iterator[TensorProto]:
    """Every tensor that a model holds."""
    for graph in graphs_of(proto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes_of(proto):
        yield from _held(node.attribute)


def _held(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        yield from attribute.tensors


def graphs_of(proto: ModelProto) -> Iterator[GraphProto]:
    """The graph and those inside of its control flow and of functions; protobuf bounds their depth."""
    stack = [proto.graph, *(graph for function in proto.functions for node in function.node for graph in _inner(node))]
    while stack:
        graph = stack.pop(0)
        yield graph
        stack += [inner for node in graph.node for inner in _inner(node)]


def nodes_of(proto: ModelProto) -> Iterator[NodeProto]:
    """The nodes of all graphs, then those of functions."""
    for graph in graphs_of(proto):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def _inner(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
