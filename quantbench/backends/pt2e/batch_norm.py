"""Batch norms of a graph in training: beside the convolutions into which they are folded, and folded again at the end.

torchao finds its places for fake quantizers in a graph without batch norms, as after training, so that both quantize
the same layers. For training each batch norm comes back behind its convolution, whose weight is quantized as it will be
folded. torchao's own way replaces patterns with literals: any epsilon becomes 1e-5, any momentum 0.1, batch norms of
layers that stay fp32 are taken apart too, and each conversion exports 96 patterns, which takes half a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.nn.functional import batch_norm

from quantbench.backends.exported.graphs import layer_of
from quantbench.backends.pt2e.constants import get_constant, set_constant
from quantbench.errors import QuantizationError

BATCH_NORM, CONVOLUTION = torch.ops.aten.batch_norm.default, torch.ops.aten.conv2d.default
# Of the arguments of a batch norm in a graph: the flag, and what follows it.
TRAINING, MOMENTUM, EPS = 5, 6, 7


def _scale(gamma: torch.Tensor | None, variance: torch.Tensor, eps: float) -> torch.Tensor:
    """The factor of each output channel."""
    deviation = torch.sqrt(variance + eps)
    return 1 / deviation if gamma is None else gamma / deviation


class ScaledWeight(nn.Module):
    """A weight `[channels, …]` as it is after folding with the running statistics.

    Args:
        eps: of the batch norm.

    Source:
        Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2, with the running statistics in every step, as torch.ao's
        fused modules for training have it.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, weight: torch.Tensor, gamma: torch.Tensor | None, variance: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return weight * _scale(gamma, variance, self.eps).reshape(-1, *[1] * (weight.dim() - 1))


class BatchNorm(nn.Module):
    """The batch norm behind a convolution.

    Args:
        eps: of the batch norm.
        momentum: of its running statistics.
        is_scaled: the convolution's weight is a `ScaledWeight`, which is undone first.
    """

    def __init__(self, eps: float, momentum: float, is_scaled: bool) -> None:
        super().__init__()
        self.eps, self.momentum, self.is_scaled = eps, momentum, is_scaled
        self.is_frozen = False

    def train(self, mode: bool = True) -> BatchNorm:
        """Sets the mode; one that is frozen stays in eval mode."""
        super().train(mode and not self.is_frozen)
        return self

    def forward(
        self,
        x: torch.Tensor,
        bias: torch.Tensor | None,
        gamma: torch.Tensor | None,
        beta: torch.Tensor | None,
        mean: torch.Tensor,
        variance: torch.Tensor,
    ) -> torch.Tensor:
        """Results of the convolution without its bias, `[n, channels, h, w]` → normalized, of the same shape."""
        if self.is_scaled:
            x = x / _scale(gamma, variance, self.eps).reshape(1, -1, 1, 1)
        if bias is not None:
            x = x + bias.reshape(1, -1, 1, 1)
        return batch_norm(x, mean, variance, gamma, beta, self.training, self.momentum, self.eps)


class InMode(nn.Module):
    """An operator that computes something else in training, such as dropout, in the mode of the model around it.

    Args:
        operator: of ATen.
        place: of the argument that tells the mode.
    """

    def __init__(self, operator: Any, place: int) -> None:
        super().__init__()
        self.operator, self.place = operator, place

    def forward(self, *args: Any) -> Any:
        """The operator's result."""
        return self.operator(*args[: self.place], self.training, *args[self.place + 1 :])


@dataclass(frozen=True)
class Hidden:
    """A batch norm that was taken out of a graph.

    Attributes:
        convolution: name of the node before it.
        names: of the constants: gamma, beta, mean, variance; None where it has none.
        values: of these.
        eps: of the batch norm.
        momentum: of its running statistics.
    """

    convolution: str
    names: tuple[str | None, ...]
    values: tuple[torch.Tensor | None, ...]
    eps: float
    momentum: float


def hide(graph: GraphModule) -> list[Hidden]:
    """Takes batch norms right behind a convolution out of a graph, in place.

    Raises:
        QuantizationError: if one of them averages over all batches, for which there is no momentum.
    """
    found = []
    for node in list(graph.graph.nodes):
        if _follows_a_convolution(node):
            names = tuple(None if each is None else str(each.target) for each in node.args[1:5])
            values = tuple(None if name is None else get_constant(graph, name) for name in names)
            momentum = node.args[MOMENTUM]
            if not momentum:
                raise QuantizationError(
                    f"'{layer_of(node)}' averages its statistics over all batches, which an exported model cannot; "
                    "set its momentum, or quantize with backend: eager"
                )
            found.append(Hidden(node.args[0].name, names, values, node.args[EPS], momentum))
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return found


def _follows_a_convolution(node: Node) -> bool:
    """True for a batch norm in eval mode whose only input is that of a convolution with a weight of its own."""
    if node.op != "call_function" or node.target != BATCH_NORM or node.args[TRAINING]:
        return False
    before: Any = node.args[0]
    if before.op != "call_function" or before.target != CONVOLUTION or len(before.users) != 1:
        return False
    own = [each for each in before.args[1:3] if each is not None]
    statistics = [each for each in node.args[1:5] if each is not None]
    return all(each.op == "get_attr" and len(each.users) == 1 for each in own + statistics)


def show(graph: GraphModule, hidden: Sequence[Hidden]) -> None:
    """Puts batch norms back for training, in place: the weight of a quantized convolution is scaled as if folded."""
    nodes = {node.name: node for node in graph.graph.nodes}
    for each in hidden:
        for name, value in zip(each.names, each.values, strict=True):
            if name is not None and value is not None:
                set_constant(graph, name, value)
        _show(graph, nodes[each.convolution], each)
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.recompile()


def _show(graph: GraphModule, convolution: Node, each: Hidden) -> None:
    weight: Any = convolution.args[1]
    is_quantized = weight.op == "call_module"
    with graph.graph.inserting_before(convolution):
        gamma, beta, mean, variance = (None if name is None else graph.graph.get_attr(name) for name in each.names)
    if is_quantized:
        graph.add_submodule(f"{convolution.name}_scale", ScaledWeight(each.eps))
        with graph.graph.inserting_before(weight):
            # Anew, since constants have to come before the weight's fake quantizer.
            used = [None if name is None else graph.graph.get_attr(name) for name in (each.names[0], each.names[3])]
            scaled = graph.graph.call_module(f"{convolution.name}_scale", (weight.args[0], *used))
        weight.args = (scaled,)
    bias = convolution.args[2] if len(convolution.args) > 2 else None
    convolution.args = (*convolution.args[:2], None, *convolution.args[3:])
    graph.add_submodule(f"{convolution.name}_norm", BatchNorm(each.eps, each.momentum, is_quantized))
    with graph.graph.inserting_after(convolution):
        normalized = graph.graph.call_module(
            f"{convolution.name}_norm", (convolution, bias, gamma, beta, mean, variance)
        )
    convolution.replace_all_uses_with(normalized, delete_user_cb=lambda user: user is not normalized)


def fold(graph: GraphModule) -> None:
    """Folds the batch norms that `show` put back into their convolutions, in place, with the same arithmetic."""
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(norm, BatchNorm):
            _fold(graph, node, norm)
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()


def _fold(graph: GraphModule, node: Node, norm: BatchNorm) -> None:
    convolution: Any = node.args[0]
    given: list[Any] = [each and get_constant(graph, str(getattr(each, "target", ""))) for each in node.args[1:]]
    bias, gamma, beta, mean, variance = given
    source: Any = convolution.args[1]
    if norm.is_scaled:
        quantizer, source = source, source.args[0].args[0]
        quantizer.args = (source,)
    name = str(source.target)
    with torch.no_grad():
        scale = _scale(gamma, variance, norm.eps)
        folded = ScaledWeight(norm.eps)(get_constant(graph, name), gamma, variance)
        shift = ((0.0 if bias is None else bias) - mean) * scale
        shift = shift if beta is None else shift + beta
    set_constant(graph, name, nn.Parameter(folded))
    own = f"{name.rpartition('.')[0]}.bias".removeprefix(".")
    set_constant(graph, own, nn.Parameter(shift))
    with graph.graph.inserting_before(convolution):
        constant = graph.graph.get_attr(own)
    convolution.args = (*convolution.args[:2], constant, *convolution.args[3:])
    node.replace_all_uses_with(convolution)
    graph.graph.erase_node(node)


def in_modes(graph: GraphModule) -> None:
    """Makes modules of all other operators that depend on the mode, in place."""
    for node in list(graph.graph.nodes):
        place = _place_of_mode(node)
        if place is not None:
            graph.add_submodule(f"{node.name}_in_mode", InMode(node.target, place))
            with graph.graph.inserting_before(node):
                new = graph.graph.call_module(f"{node.name}_in_mode", node.args, node.kwargs)
            new.meta = node.meta
            node.replace_all_uses_with(new)
            graph.graph.erase_node(node)
    graph.recompile()


def _place_of_mode(node: Node) -> int | None:
    """The argument of an operator that is False in eval mode, and tells the mode; None where there is none."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return None
    names = [each.name for each in schema.arguments]
    place = next((names.index(name) for name in ("training", "train") if name in names), None)
    return place if place is not None and len(node.args) > place and node.args[place] is False else None


def in_eval_mode(graph: GraphModule) -> None:
    """Makes operators of eval mode of these modules again, in place."""
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, InMode):
            with graph.graph.inserting_before(node):
                new = graph.graph.call_function(module.operator, node.args, node.kwargs)
            new.meta = node.meta
            node.replace_all_uses_with(new)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
