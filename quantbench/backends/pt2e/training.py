"""Quantization-aware training of a graph: prepare → train → convert, with torchao's fake quantizers."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves
from torchao.quantization import pt2e
from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

from quantbench.arrays import Inputs
from quantbench.backends.exported.graphs import few, graph_of, layer_of, tensors_of
from quantbench.backends.exported.quantization import check_quantized, converted, groups_of
from quantbench.backends.interface import Observers
from quantbench.backends.pt2e.batch_norm import BatchNorm, fold, hide, in_eval_mode, in_modes, show
from quantbench.backends.pt2e.constants import get_constant
from quantbench.backends.pt2e.quantizer import quantizer_of
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError
from quantbench.foreign import message_of
from quantbench.recipes.spec import QatInt8

# Of the largest output: a folded batch norm sums in another order.
TOLERANCE = 1e-3
# Names of fake quantizers, as torch.ao has them: of a layer's weight and of its results.
OF_WEIGHT, OF_RESULT, OF_INPUT = "weight_fake_quant", "activation_post_process", "input"


class FakeQuantized(nn.Module):
    """A graph with fake quantizers, whose train and eval mode are those of any module.

    Args:
        graph: with batch norms as modules.
        recipe: that it is trained by.
        name: of the model.
        samples: a few normalized inputs, for the export of what is converted.
    """

    def __init__(self, graph: GraphModule, recipe: QatInt8, name: str, samples: Inputs) -> None:
        super().__init__()
        self.graph, self.recipe, self.name, self.samples = graph, recipe, name, samples

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The outputs of the model, fake-quantized."""
        return self.graph(*inputs)


def prepared(module: nn.Module, recipe: QatInt8, samples: Inputs) -> FakeQuantized:
    """A module as a graph with fake quantizers where post-training quantization has observers, in train mode.

    The graph is that of eval mode: a branch of the forward for training alone is not trained.

    Args:
        module: in eval mode.
        recipe: names the layers.
        samples: a few normalized inputs.

    Raises:
        QuantizationError: if the model cannot be exported, has no such layers, nothing would be quantized, or the graph
            computes something else than the module.
    """
    name, given = type(module).__name__, few(samples)
    # Before its weights are those of 2-D convolutions.
    expected = [_outputs(module, given, n) for n in _sizes(given)]
    graph = graph_of(module, samples)
    hidden = hide(graph)
    in_modes(graph)
    if recipe.layers != ():
        layers = {layer_of(node) for node in graph.graph.nodes if node.op == "call_function"} - {""}
        quantizer = quantizer_of(recipe, layers, groups_of(module))
        with quiet():
            graph = prepare_qat_pt2e(graph, quantizer)
        check_quantized((type(each).__name__.lower() for each in graph.modules()), name)
        _name_fake_quantizers(graph)
    # torch and torchao refuse both words, which mean something again.
    for word in ("train", "eval"):
        vars(graph).pop(word, None)
    show(graph, hidden)
    made = FakeQuantized(graph, recipe, name, given)
    _check_same(made, expected)
    return made.train()


def _name_fake_quantizers(graph: GraphModule) -> None:
    """Names fake quantizers after layers, so that saved ones fit whatever order torchao makes them in."""
    named: dict[int, str] = {}
    count = Counter[str]()
    for node in graph.graph.nodes:
        old = str(node.target)
        if node.op != "call_module" or not hasattr(module := get_constant(graph, old), "observer_enabled"):
            continue
        # One that watches several results has a name for each.
        if id(module) not in named:
            own = _name_of(node, module)
            count[own] += 1
            named[id(module)] = own if count[own] == 1 else f"{own}_{count[own]}"
            graph.add_submodule(named[id(module)], module)
        graph.delete_submodule(old)
        node.target = named[id(module)]
    graph.recompile()


def _name_of(node: Any, fake_quantizer: Any) -> str:
    """After the layer whose weight or result it sees; a result of no layer after its operator."""
    if fake_quantizer.dtype == torch.int8:
        return f"{layer_of(next(iter(node.users)))}.{OF_WEIGHT}"
    source = node.args[0]
    return f"{layer_of(source) or (OF_INPUT if source.op == 'placeholder' else source.name)}.{OF_RESULT}"


def _sizes(samples: Inputs) -> tuple[int, int]:
    """Of batches that show whether one of any size runs."""
    return len(next(iter(samples.values()))), 1


def _outputs(module: nn.Module, samples: Inputs, n: int) -> list[Any]:
    with torch.no_grad():
        return tree_leaves(module(*(each[:n] for each in tensors_of(samples))))


def _check_same(made: FakeQuantized, expected: list[list[Any]]) -> None:
    """Refuses a graph that computes something else than its module did, in eval mode, for batches of two sizes."""
    plain = copy.deepcopy(made).eval()
    plain.apply(pt2e.disable_fake_quant).apply(pt2e.disable_observer)
    for n, wanted in zip(_sizes(made.samples), expected, strict=True):
        try:
            found = _outputs(plain, made.samples, n)
        # A size that was fixed fails anywhere.
        except Exception as error:
            raise QuantizationError(
                f"{made.name} exported runs no batch of {n} ({message_of(error)}), and training needs batches of any "
                "size: write its forward for them, or quantize with backend: eager"
            ) from error
        for one, other in zip(wanted, found, strict=True):
            largest = float(one.abs().max()) or 1.0
            worst = float((one - other).abs().max()) if one.shape == other.shape else np.inf
            if not worst <= TOLERANCE * largest:
                raise QuantizationError(
                    f"{made.name} exported computes something else: for a batch of {n} its outputs differ by up to "
                    f"{worst:.3g} where the largest is {largest:.3g}; does its forward draw at random, or depend on "
                    "the batch or on values? Otherwise quantize with backend: eager"
                )


def freeze(model: nn.Module) -> None:
    """Stops observers, and the batch norms of layers that are quantized, in place and for good."""
    for each in model.modules():
        if isinstance(each, BatchNorm) and each.is_scaled:
            each.is_frozen = True
            each.eval()
    model.apply(pt2e.disable_observer)


def converted_trained(trained: FakeQuantized) -> tuple[GraphModule, Observers]:
    """Converts a trained graph, which stays as it is.

    Raises:
        QuantizationError: as `converted`.
    """
    graph = copy.deepcopy(trained.graph).eval()
    fold(graph)
    made, observers = (graph, {}) if trained.recipe.layers == () else converted(graph, trained.name)
    # At the end, since torchao looks for patterns, which takes half a minute, wherever there is a batch norm.
    in_eval_mode(made)
    return made, observers
