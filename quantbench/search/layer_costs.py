"""Multiply-accumulates and weights of each switchable layer, measured in one forward."""

from __future__ import annotations

from functools import partial

import torch

from quantbench.backends.kernels import count_macs
from quantbench.quant.switchable import WholeLayer, WholeModel, switchable_layers
from quantbench.records.search import LayerCost
from quantbench.search.problem import Problem


def layer_costs(problem: Problem) -> list[LayerCost]:
    """Multiply-accumulates, weights and elements of the input of each layer, for one sample, in the model's order.

    Of a layer that runs several times in a forward the multiply-accumulates and inputs of all its runs count.
    """
    if isinstance(problem.model, WholeModel):
        return [_known(name, each) for name, each in problem.model.layers.items() if name in problem.layers]
    inputs: dict[str, list[torch.Tensor]] = {}
    layers = {name: each for name, each in switchable_layers(problem.model).items() if name in problem.layers}
    modules = {name: problem.model.get_submodule(name) for name in layers}
    handles = [
        module.register_forward_pre_hook(lambda _, given, name=name: inputs.setdefault(name, []).append(given[0]))
        for name, module in modules.items()
    ]
    try:
        # Not in inference mode, whose tensors nothing can be counted on.
        with torch.no_grad():
            (sample,) = next(problem.split.batches(1)).values()
            problem.model(torch.from_numpy(sample))
    finally:
        for handle in handles:
            handle.remove()
    return [
        LayerCost(
            name=name,
            macs=sum(count_macs(partial(modules[name], given)) for given in inputs.get(name, [])),
            weights=layer.weight_count,
            weight_bits=layer.weight_bits,
            inputs=sum(given.numel() for given in inputs.get(name, [])),
        )
        for name, layer in layers.items()
    ]


def _known(name: str, layer: WholeLayer) -> LayerCost:
    return LayerCost(
        name=name, macs=layer.macs, weights=layer.weights, weight_bits=layer.weight_bits, inputs=layer.inputs
    )
