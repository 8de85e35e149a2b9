"""A QDQ model cut into its layers: each reads what it is given instead of what the layer before it made.

In one session every layer computes, in floating point and with the candidate's weights, from given inputs, and gives
its results before they are rounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantbench.backends.onnx_runtime.put_back import Edited, dropped_activation
from quantbench.backends.onnx_runtime.qdq_layers import PRODUCTS, QdqGraph, QdqLayer

if TYPE_CHECKING:
    from onnx import ModelProto

# Ends the name of a value that is given.
GIVEN = "__given"


@dataclass(frozen=True)
class CutLayer:
    """One layer in the models that are run.

    Attributes:
        layer: of the candidate.
        twin: the reference's.
        value: in the cut model: what it gives before it is rounded.
        reference: the same value in the reference.
        shown: what shows its results in the candidate: their codes, or the value itself.
    """

    layer: QdqLayer
    twin: QdqLayer
    value: str
    reference: str
    shown: str


@dataclass(frozen=True)
class Cut:
    """A model cut into its layers.

    Attributes:
        model: gives the `value` of each layer, and takes it under another name, see `GIVEN`.
        layers: in the order of the graph.
        unmatched: names of the candidate's layers that the reference has not in the same place.
    """

    model: ModelProto
    layers: tuple[CutLayer, ...]
    unmatched: tuple[str, ...]


def cut(candidate: ModelProto, reference: ModelProto) -> Cut:
    """Cuts a candidate at the results of each layer that the reference has too.

    Raises:
        QuantizationError: if nothing of the candidate is a pair of QDQ operators.
    """
    edited = Edited(candidate, reference)
    edited.check(())
    found, unmatched = list[CutLayer](), list[str]()
    for layer in edited.graph.layers:
        if layer.op not in PRODUCTS and not layer.is_quantized:
            continue
        twin = edited.twins.get(layer.name)
        where = None if twin is None else _reference_value(edited, layer, twin)
        value = layer.output
        for at, each in enumerate(layer.results):
            source = edited.put_back_results(layer, each)
            value = source if at == 0 else value
        if twin is None or where is None:
            unmatched.append(layer.name)
        else:
            shown = layer.results[0].codes if layer.results else layer.output
            found.append(CutLayer(layer, twin, value, where, shown))
    model = edited.model()
    _give(model, [each.value for each in found])
    return Cut(model, tuple(found), tuple(unmatched))


def _reference_value(edited: Edited, layer: QdqLayer, twin: QdqLayer) -> str | None:
    """The value of the reference that a layer's quantizer rounds; None where its graph goes on otherwise there."""
    if not layer.results:
        return twin.output
    graph, first = edited.graph, layer.results[0].value
    operators: list[str] = []
    value = first
    while value != layer.output:
        node = graph.nodes[graph.producer[value]]
        operators.insert(0, node.op_type)
        value = node.input[0]
    if (dropped := dropped_activation(graph, layer, edited.reference, twin, first)) is not None:
        operators.append(dropped.op_type)
    return _along(edited.reference, twin.output, operators)


def _along(graph: QdqGraph, value: str, operators: Iterable[str]) -> str | None:
    """The value after some operators, one behind the other."""
    for op in operators:
        taker = next((graph.nodes[at] for at in graph.takers[value] if graph.nodes[at].op_type == op), None)
        if taker is None:
            return None
        value = taker.output[0]
    return value


def _give(model: ModelProto, values: list[str]) -> None:
    """Makes the readers of these values read inputs of the model, and the values its outputs."""
    from onnx import TensorProto, helper

    given = {value: f"{value}{GIVEN}" for value in values}
    for node in model.graph.node:
        node.input[:] = [given.get(name, name) for name in node.input]
    own = [each for each in model.graph.input if each.name in given]
    # What is rounded at once is a result of this model as it is.
    for each in own:
        model.graph.node.insert(0, helper.make_node("Identity", [given[each.name]], [each.name]))
        model.graph.input.remove(each)
    used = {name for node in model.graph.node for name in node.input}
    for name in given.values():
        if name in used:
            model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    del model.graph.output[:]
    model.graph.output.extend([helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in values])
