"""A model as a list of steps and the values they read, so that those upstream of a changed layer can be reused."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg

from quantbench.quant.switchable import WholeModel

# The name of the value that a model is given.
INPUT = "input"
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One call, and what it reads.

    Attributes:
        name: of the value it gives.
        inputs: names of the values it reads.
        compute: those values, and maybe others, by name → its value.
        layer: name of the switchable layer that it calls; empty for other steps.
    """

    name: str
    inputs: tuple[str, ...]
    compute: Callable[[Values], Any]
    layer: str = ""


class NotReplayableError(Exception):
    """A model whose forward is not a fixed list of calls without side effects; the text says why."""


def checked_steps(
    model: nn.Module, layers: Collection[str], sample: torch.Tensor, settings: Iterable[Callable[[], None]] = ()
) -> tuple[list[Step], str]:
    """The steps of a model's forward, seen to give what it gives; or the whole model as one step, and why.

    Args:
        model: in eval mode.
        layers: names of the switchable ones.
        sample: `[n ≥ 2, channels, …]`; run whole and its first sample alone, since a traced forward may have kept the
            size of a batch.
        settings: set the layers to widths under which the steps must give what the model gives as well, since a traced
            forward has decided once and for all whatever it asked of a width outside of the layer.

    Returns:
        The steps, the last of which gives the logits, and a reason, empty where values can be reused.
    """
    if isinstance(model, WholeModel):
        return [_whole(model)], model.reason
    with torch.no_grad():
        try:
            steps = _without_side_effects(_traced(model, layers), sample)
            _check(steps, model, sample)
            _check(steps, model, sample[:1])
            for change in settings:
                change()
                _check(steps, model, sample)
        except NotReplayableError as error:
            return [_whole(model)], str(error)
    return steps, ""


def _whole(model: nn.Module) -> Step:
    return Step("output", (INPUT,), lambda values: model(values[INPUT]))


def _check(steps: list[Step], model: nn.Module, inputs: torch.Tensor) -> None:
    if not _is_same(run_all(steps, inputs)[steps[-1].name], model(inputs)):
        raise NotReplayableError("its traced forward gives other values than itself")


def run_all(steps: list[Step], inputs: torch.Tensor) -> dict[str, Any]:
    """The value of every step, by name, and the input."""
    values: dict[str, Any] = {INPUT: inputs}
    for step in steps:
        values[step.name] = step.compute(values)
    return values


def _traced(model: nn.Module, layers: Collection[str]) -> list[Step]:
    """The calls of a model's forward in order.

    Raises:
        NotReplayableError: if it depends on values (a branch, a loop), takes or gives more than one tensor, or
            passes by a layer.
    """
    graph = _graph(model, layers)
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    result = next(node for node in graph.nodes if node.op == "output").args[0]
    if len(placeholders) != 1 or not isinstance(result, fx.Node) or result is placeholders[0]:
        raise NotReplayableError("it takes or gives something else than one tensor")
    calls = [node for node in graph.nodes if node.op not in ("placeholder", "output")]
    called = {str(node.target) for node in calls if node.op == "call_module"}
    if missing := [name for name in layers if name not in called]:
        raise NotReplayableError(f"its forward does not call {missing[0]} as a module")
    names = {node: INPUT if node is placeholders[0] else node.name for node in graph.nodes}
    # Nobody reads what comes after the result.
    return [_step(model, node, names, layers) for node in calls[: calls.index(result) + 1]]


def _graph(model: nn.Module, layers: Collection[str]) -> fx.Graph:
    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
            # Only what holds layers is looked into: nothing starts inside of any other module, whatever it does there.
            return not any(name.startswith(f"{module_qualified_name}.") for name in layers)

    try:
        return Tracer().trace(model)
    except Exception as error:  # the model's own code runs here, on stand-ins for tensors, and may raise anything
        line = str(error).partition("\n")[0]
        raise NotReplayableError(f"its forward cannot be traced ({type(error).__name__}: {line})") from None


def _step(model: nn.Module, node: fx.Node, names: dict[fx.Node, str], layers: Collection[str]) -> Step:
    call = _callable(model, node)

    def compute(values: Values) -> Any:
        args, kwargs = map_arg((node.args, node.kwargs), lambda read: values[names[read]])
        return call(*args, **kwargs)

    layer = str(node.target) if node.op == "call_module" and str(node.target) in layers else ""
    return Step(node.name, tuple(names[read] for read in node.all_input_nodes), compute, layer)


def _callable(model: nn.Module, node: fx.Node) -> Callable[..., Any]:
    target = node.target
    if node.op == "call_module":
        return model.get_submodule(str(target))
    if node.op == "get_attr":
        return lambda: operator.attrgetter(str(target))(model)
    if node.op == "call_method":
        return lambda owner, *args, **kwargs: getattr(owner, str(target))(*args, **kwargs)
    if not callable(target):
        raise NotReplayableError(f"its forward calls {target}, which is no function")
    return target


def _without_side_effects(steps: list[Step], sample: torch.Tensor) -> list[Step]:
    """Steps that change what they read in place, as `ReLU(inplace=True)`, made to change a copy of it.

    Values are kept between forwards and must stay what they are.

    Raises:
        NotReplayableError: if the changed value is read again, or is a part of another one.
    """
    readers = Counter(name for step in steps for name in step.inputs)
    values: dict[str, Any] = {INPUT: sample.clone()}
    pure = []
    for step in steps:
        before = _versions(values)
        values[step.name] = step.compute(values)
        changed = [name for name, version in _versions(values).items() if before.get(name, version) != version]
        if len(changed) > 1 or (changed and readers[changed[0]] > 1):
            raise NotReplayableError(f"'{step.name}' changes a value in place that is read again")
        pure.append(_on_a_copy(step, changed[0]) if changed else step)
    return pure


def _on_a_copy(step: Step, of: str) -> Step:
    return replace(step, compute=lambda values: step.compute({**values, of: values[of].clone()}))


def _versions(values: Values) -> dict[str, int]:
    # Counted by torch; raised by every change in place, of a tensor and of all views of it alike.
    return {name: value._version for name, value in values.items() if isinstance(value, torch.Tensor)}


def _is_same(one: Any, other: Any) -> bool:
    tensors = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return tensors and one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
