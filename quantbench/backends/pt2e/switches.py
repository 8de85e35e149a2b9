"""A model whose layers are in int8 or left in fp32, one by one: the arithmetic of its `.pt2` file, in eager torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from quantbench.arrays import Inputs
from quantbench.backends.exported.graphs import graph_of, layer_of, without_guards
from quantbench.backends.pt2e.compiling import read_program
from quantbench.backends.pt2e.constants import get_constant
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError
from quantbench.quant.switchable import FP32_BITS, Int8OrFp32

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

    from quantbench.backends.interface import Artifact

# Operators with a weight as their second input.
PRODUCTS = ("conv2d", "linear", "conv1d", "conv_transpose2d")


@dataclass(frozen=True)
class Codes:
    """The quantizers of one layer, as its file has them.

    Attributes:
        activation: scale, zero point, smallest and largest code and dtype of the codes of its input.
        weight: its codes, dequantized.
    """

    activation: tuple[Any, ...]
    weight: torch.Tensor


class ExportedSwitch(Int8OrFp32, nn.Module):
    """One convolution or linear layer in two forms.

    At 8 bits the input is quantized and dequantized with the calibrated scale, and multiplied by the dequantized codes
    of the weights; at 32 the weights of the reference are used. Rounded is what the compiled kernels round, but sums
    are made in floating point.

    Args:
        compute: input, weight and `rest` → output.
        weight: in fp32, batch norm folded into it.
        codes: see `Codes`.
        rest: bias, stride and so on.
    """

    def __init__(
        self, compute: Callable[..., torch.Tensor], weight: torch.Tensor, codes: Codes, rest: Sequence[Any]
    ) -> None:
        super().__init__()
        self._compute, self._rest = compute, tuple(rest)
        self.weight, self.codes = weight, codes

    @property
    def weight_count(self) -> int:
        """See `Switchable.weight_count`."""
        return self.weight.numel()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, …]` float32 → the layer's output, float32."""
        if self.bits == FP32_BITS:
            return self._compute(x, self.weight, *self._rest)
        decomposed, how = torch.ops.quantized_decomposed, self.codes.activation
        codes = decomposed.quantize_per_tensor.default(x, *how)
        rounded = decomposed.dequantize_per_tensor.default(codes, *how)
        return self._compute(rounded, self.codes.weight, *self._rest)


def switches(module: nn.Module, candidate: Artifact, samples: Inputs) -> nn.Module:
    """The reference's graph, batch norms folded, in which each layer that the file has in int8 is a switch, at 32 bits.

    A residual sum is computed in fp32 here and rounded when the next layer quantizes it; the file may round it where it
    is made, and hand the rounded value to whatever else reads it.

    Args:
        module: the reference, in eval mode.
        candidate: a `.pt2` file of static int8.
        samples: a few normalized inputs.

    Raises:
        QuantizationError: if no layer of the file is in int8, or it is of another model.
        CheckpointError: if the file cannot be read.
    """
    from torchao.quantization.pt2e.utils import _fuse_conv_bn_

    found = _codes(without_guards(read_program(candidate.path)))
    graph = graph_of(module, samples)
    with quiet(), torch.no_grad():
        _fuse_conv_bn_(graph)
    for node in list(graph.graph.nodes):
        name = layer_of(node)
        if _is_product(node) and name in found:
            _switch(graph, node, name, found.pop(name))
    if found:
        raise QuantizationError(
            f"{candidate.path}: has layers that the reference has not: {', '.join(sorted(found))}; quantize again"
        )
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _is_product(node: Node) -> bool:
    return node.op == "call_function" and getattr(node.target, "_opname", "") in PRODUCTS


def _codes(graph: GraphModule) -> dict[str, Codes]:
    """Name → quantizers of each layer whose weight is codes.

    Raises:
        QuantizationError: if there is none.
    """
    found = {}
    for node in graph.graph.nodes:
        if not _is_product(node):
            continue
        activation, weight = node.args[:2]
        if _is_dequantized(activation) and _is_dequantized(weight) and weight.args[0].op == "get_attr":
            name = str(weight.args[0].target).removesuffix(".weight")
            if name in found:
                raise QuantizationError(
                    f"'{name}' runs more than once in a forward; only a layer with one input can be switched"
                )
            found[name] = Codes(tuple(activation.args[1:]), _dequantized(graph, weight))
    if not found:
        raise QuantizationError("no layer is in int8 that could be left in fp32; the recipe has to convert some")
    return found


def _is_dequantized(node: Any) -> bool:
    return "dequantize_per" in str(getattr(node, "target", ""))


def _dequantized(graph: GraphModule, node: Any) -> torch.Tensor:
    """The values of a constant's codes."""
    args = [get_constant(graph, str(each.target)) if hasattr(each, "target") else each for each in node.args]
    compute: Any = node.target
    with torch.no_grad():
        values: torch.Tensor = compute(*args, **node.kwargs)
    return values


def _switch(graph: GraphModule, node: Any, name: str, codes: Codes) -> None:
    """Puts a switch in the place of a product."""
    given, weight, *rest = node.args
    held = [get_constant(graph, str(each.target)).detach() if hasattr(each, "op") else each for each in rest]
    own = get_constant(graph, str(weight.target)).detach()
    if own.shape != codes.weight.shape:
        shapes = f"{list(codes.weight.shape)} in the file and {list(own.shape)} in the reference"
        raise QuantizationError(f"the weight of '{name}' is {shapes}; quantize again")
    compute: Any = node.target
    with graph.graph.inserting_before(node):
        switched = graph.graph.call_module(name, (given,))
    node.replace_all_uses_with(switched)
    graph.graph.erase_node(node)
    # The switch takes the place of the module that held them.
    for each in (weight, *rest):
        if getattr(each, "op", "") == "get_attr" and not each.users:
            graph.graph.erase_node(each)
    graph.add_submodule(name, ExportedSwitch(compute, own, codes, held))
