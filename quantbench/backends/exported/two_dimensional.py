"""1-D convolutions of a graph as 2-D ones of height 1: torchao quantizes no others, and inductor has no int8 kernel.

What stands between them and keeps positions apart is made 2-D as well, so that a batch norm stays next to its
convolution and can be folded into it.
"""

from __future__ import annotations

from typing import Any

HEIGHT = 2


def as_2d(graph_module: Any) -> bool:
    """Rewrites a graph in place.

    Args:
        graph_module: of `torch.export`, whose weights are attributes.

    Returns: True if something was rewritten.
    """
    import torch

    aten = torch.ops.aten
    graph, done = graph_module.graph, False
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target == aten.conv1d.default and node.args[1].op == "get_attr" and _is_alone(node.args[1]):
            _unsqueeze_weight(graph_module, str(node.args[1].target))
            _replace(graph, node, aten.conv2d.default, _conv_args(node))
            done = True
        elif done and _squeezed(node.args[0] if node.args else None) is not None:
            if node.target in (aten.batch_norm.default, aten.relu.default, aten.relu_.default, aten.dropout.default):
                _replace(graph, node, node.target, node.args[1:])
            elif node.target == aten.max_pool1d.default:
                _replace(graph, node, aten.max_pool2d.default, _pool_args(node))
    if done:
        graph.eliminate_dead_code()
        graph.lint()
        graph_module.recompile()
    return done


def _is_alone(weight: Any) -> bool:
    return len(weight.users) == 1


def _squeezed(node: Any) -> Any:
    """The 2-D values that a node made 1-D again; None where it is another node."""
    import torch

    is_ours = getattr(node, "target", None) == torch.ops.aten.squeeze.dim and node.args[1:] == (HEIGHT,)
    return node.args[0] if is_ours else None


def _replace(graph: Any, node: Any, target: Any, rest: tuple[Any, ...]) -> None:
    """Puts a 2-D operator in the place of a 1-D one: on values made 2-D before, or taken from before they were 1-D."""
    import torch

    aten = torch.ops.aten
    with graph.inserting_before(node):
        given = _squeezed(node.args[0])
        if given is None:
            given = _like(node, graph.call_function(aten.unsqueeze.default, (node.args[0], HEIGHT)))
        wide = _like(node, graph.call_function(target, (given, *rest), dict(node.kwargs)))
        flat = _like(node, graph.call_function(aten.squeeze.dim, (wide, HEIGHT)))
    node.replace_all_uses_with(flat)
    graph.erase_node(node)


def _like(node: Any, new: Any) -> Any:
    """A new node with the layer of the one that it stands for."""
    new.meta["nn_module_stack"] = node.meta.get("nn_module_stack", {})
    return new


def _unsqueeze_weight(graph_module: Any, name: str) -> None:
    parent, _, last = name.rpartition(".")
    owner = graph_module.get_submodule(parent)
    weight = getattr(owner, last)
    weight.data = weight.data.unsqueeze(HEIGHT)


def _conv_args(node: Any) -> tuple[Any, ...]:
    """Weight, bias, stride, padding, dilation, groups."""
    defaults: tuple[Any, ...] = (None, [1], [0], [1], 1)
    weight, bias, stride, padding, dilation, groups = [
        each for part in (node.args[1:], defaults[len(node.args) - 2 :]) for each in part
    ]
    return (weight, bias, _pair(stride, 1), _pair(padding, 0), _pair(dilation, 1), groups)


def _pool_args(node: Any) -> tuple[Any, ...]:
    """Kernel, stride, padding, dilation, ceil_mode."""
    defaults: tuple[Any, ...] = ([], [0], [1], False)
    kernel, stride, padding, dilation, ceil_mode = [
        each for part in (node.args[1:], defaults[len(node.args) - 2 :]) for each in part
    ]
    return (_pair(kernel, 1), _pair(stride or kernel, 1), _pair(padding, 0), _pair(dilation, 1), ceil_mode)


def _pair(value: Any, height: int) -> list[Any]:
    return [height, value[0] if isinstance(value, list | tuple) else value]
