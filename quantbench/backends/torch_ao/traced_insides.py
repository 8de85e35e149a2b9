"""Places in a converted graph of FX mode where values can be looked at, and where a layer can be put back to fp32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.ao.nn import quantized as nnq
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional
from torch.utils import _pytree as pytree

from quantbench.backends.insides import INPUT
from quantbench.backends.module_insides import Log, Wrapped
from quantbench.backends.torch_ao.insides import wrapped
from quantbench.backends.torch_ao.sites import FunctionSite, Held, Real, Scaled, Site, real

# Operators with a scale → the same on real numbers.
FLOATING: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "add_relu": lambda one, two: functional.relu(one + two),
    "mul": torch.mul,
    "mul_relu": lambda one, two: functional.relu(one * two),
    "matmul": torch.matmul,
    "elu": functional.elu,
    "hardswish": functional.hardswish,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
}
# Names of scale and zero point, for operators that are given them by name.
NAMES = ("output_scale", "output_zero_point")


def wrapped_graph(converted: Any, fused: nn.Module, is_trained: bool, log: Log) -> Wrapped:
    """Puts a site in the place of each quantizer, quantized module and quantized operator of a graph.

    Args:
        converted: the candidate, a `GraphModule`; it is changed.
        fused: the reference as FX mode fuses it; its modules have the candidate's names.
        is_trained: see `ModuleInsides`.
        log: of the sites.
    """
    made = wrapped(converted, fused, is_trained, log)
    sites, unmatched = list[Any](made.sites), list(made.unmatched)
    for node in list(converted.graph.nodes):
        operator = _operator(node)
        if node.op == "call_method" and node.target == "dequantize":
            _replace(converted, node, f"{node.name}_real", Real(), node.args[:1])
        elif node.target is torch.quantize_per_tensor:
            scale, zero_point = (_number(converted, each) for each in node.args[1:3])
            quantize = nnq.Quantize(scale, zero_point, node.args[3])
            kind = INPUT if node.args[0].op == "placeholder" else "quantizer"
            sites.append(Site(_name(node.args[0]), quantize, nn.Identity(), False, log, kind))
            _replace(converted, node, f"{node.name}_site", sites[-1], node.args[:1])
        elif operator is not None and (own := _scaled(converted, node, operator)) is not None:
            floating = partial(FLOATING[operator], **_others(node))
            sites.append(FunctionSite(str(node.name), own, floating, log))
            _replace(converted, node, f"{node.name}_site", sites[-1], node.args[: 1 if node.kwargs else -2], {})
        elif operator is not None:
            _replace(converted, node, f"{node.name}_held", Held(node.target), node.args)
            unmatched.append(str(node.name))
    converted.graph.eliminate_dead_code()
    converted.recompile()
    return Wrapped(Alike(converted), sites, tuple(unmatched))


class Alike(nn.Module):
    """A graph run node by node, so that no operator is given integers beside real numbers.

    Args:
        graph: with sites.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph_module = graph

    def forward(self, *inputs: Any) -> Any:
        """As the graph."""
        return _Runner(self.graph_module).run(*inputs)


class _Runner(Interpreter):
    def fetch_args_kwargs_from_env(self, n: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        tensors = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        kinds = {each.is_quantized for each in tensors if each.is_quantized or each.is_floating_point()}
        if len(kinds) < 2 or (n.op == "call_module" and isinstance(self.fetch_attr(str(n.target)), Held)):
            return args, kwargs
        both: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_map(real, (args, kwargs))
        return both


def _operator(node: Node) -> str | None:
    """Name of one of torch's quantized operators; None for any other node."""
    name = str(getattr(node.target, "_qualified_op_name", node.target))
    namespace, _, operator = name.replace("::", ".").partition(".")
    return operator.partition(".")[0] if node.op == "call_function" and namespace == "quantized" else None


def _scaled(graph: GraphModule, node: Node, operator: str) -> Scaled | None:
    """The operator with its scale; None where it has none, or its form on real numbers is not known."""
    target: Any = node.target
    if operator not in FLOATING:
        return None
    if set(NAMES) <= set(node.kwargs) and len(node.args) == 1:
        scale, zero_point = (_number(graph, node.kwargs[name]) for name in NAMES)
        return Scaled(operator, partial(target, **_others(node)), scale, zero_point, NAMES)
    if len(node.args) != 4 or node.kwargs:
        return None
    return Scaled(operator, target, *(_number(graph, each) for each in node.args[-2:]))


def _others(node: Node) -> dict[str, Any]:
    """Options of an operator beside its scale."""
    return {name: value for name, value in node.kwargs.items() if name not in NAMES}


def _number(graph: GraphModule, given: Any) -> Any:
    """A number, or that of a constant of the graph."""
    if not isinstance(given, Node):
        return given
    # Scales that FX mode wrote are constants of the graph.
    return graph.get_buffer(str(given.target)).item()


def _name(source: Any) -> str:
    """Name of what a quantizer rounds: an input, or the results of a module or operator."""
    return str(source.target) if source.op in ("call_module", "placeholder") else str(source.name)


def _replace(graph: Any, node: Node, name: str, module: nn.Module, args: Any, kwargs: Any = None) -> None:
    graph.add_submodule(name, module)
    with graph.graph.inserting_before(node):
        new = graph.graph.call_module(name, tuple(args), dict(node.kwargs if kwargs is None else kwargs))
    node.replace_all_uses_with(new)
    graph.graph.erase_node(node)
