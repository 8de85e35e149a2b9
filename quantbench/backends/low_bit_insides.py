"""Values inside of a model of low-bit layers, and the model with their weights or inputs put back.

Each layer has two quantizers, and is shown as two: the layer itself, whose weights are rounded, and what it is given,
as `NAME.input`, whose range was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from quantbench.backends.insides import INPUT, Array, Grid, InnerLayer, Parameter
from quantbench.backends.module_insides import KEEPS_WEIGHTS, Log, ModuleInsides, Wrapped
from quantbench.errors import QuantizationError
from quantbench.quant.low_bit_layers import QuantLayer
from quantbench.quant.packed_layers import PackedLayer
from quantbench.quant.power_of_two import Codes

# Ends the name of what a layer is given.
GIVEN = ".input"
FINE_TUNED = (
    "weights were fine-tuned: layers are compared with the fine-tuned model before it was rounded, and those that are "
    "put back have its weights"
)


def low_bit_insides(model: nn.Module, trained: nn.Module | None, converted: nn.Module, engine: str) -> ModuleInsides:
    """A packed model beside the one that was trained.

    Args:
        model: the reference.
        trained: with fake quantizers, fine-tuned; None where it is not at hand.
        converted: the candidate, which is wrapped.
        engine: of its backend.

    Raises:
        QuantizationError: if it has no low-bit layer.
    """
    log, sites = Log(), list[Any]()
    twins: Mapping[str, nn.Module] = {} if trained is None else dict(trained.named_modules())
    for name, module in list(converted.named_modules()):
        if not isinstance(module, PackedLayer):
            continue
        if not name:
            raise QuantizationError(f"{type(converted).__name__}: is one layer alone, beside which there is nothing")
        site = PackedSite(name, module, twins.get(name), log, is_first=not sites)
        converted.set_submodule(name, site)
        sites += [site.given, site]
    if not sites:
        raise QuantizationError(
            f"{type(model).__name__}: has no low-bit layer; there is nothing that could be put back"
        )
    made, name = Wrapped(converted, sites, ()), type(model).__name__
    if trained is None:
        return ModuleInsides(model, made, log, True, engine, name, [KEEPS_WEIGHTS])
    return ModuleInsides(None, made, log, True, engine, name, [FINE_TUNED])


class GivenPlace:
    """Input of a layer, as a layer of its own; see `Place`.

    Args:
        name: with its end.
        packed: the layer.
        is_first: it is given what the model is given.
    """

    is_input = False

    def __init__(self, name: str, packed: PackedLayer, is_first: bool) -> None:
        self.name, self._packed, self._is_first = name, packed, is_first

    def inner(self) -> InnerLayer:
        """The layer that it is."""
        grid = _grid(self._packed.clip / self._packed.input_range.high, self._packed.input_range)
        last = "Linear" in type(self._packed).__name__
        return InnerLayer(self.name, INPUT if self._is_first else "quantizer", results=(grid,), channels_last=last)


class PackedSite(nn.Module):
    """One low-bit layer.

    Args:
        name: in the model.
        packed: the layer.
        trained: the same as it was trained; None where that is not known, and weights stay codes.
        log: of the model's sites.
        is_first: its input is the model's.
    """

    is_input = False

    def __init__(self, name: str, packed: PackedLayer, trained: nn.Module | None, log: Log, is_first: bool) -> None:
        super().__init__()
        self.name, self.packed, self.log = name, packed, log
        self.given = GivenPlace(f"{name}{GIVEN}", packed, is_first)
        self.floating = None
        if isinstance(trained, QuantLayer):
            weight: Any = trained.weight
            self.floating = trained.weight_quantizer.unrounded(weight.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer that is wrapped."""
        log, packed = self.log, self.packed
        for name in (self.given.name, self.name):
            log.calls[name] = log.calls.get(name, 0) + 1
        rounded = packed.input_codes(x) * (packed.clip / packed.input_range.high)
        given = x if self.given.name in log.back else rounded
        if self.name in log.back and self.floating is not None:
            result = self._real(given, self.floating)
        else:
            # The integers themselves, where nothing around them is put back.
            result = self._real(x, packed.weight) if self.given.name in log.back else packed(x)
        if log.is_kept and log.calls[self.name] == 1:
            log.results[self.given.name], log.exact[self.given.name] = _array(given), _array(x)
            log.results[self.name], log.exact[self.name] = _array(result), _array(self._real(given, packed.weight))
        return result

    def _real(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        bias: Any = self.packed.bias
        output: torch.Tensor = self.packed.accumulate(x, weight)
        return output if bias is None else output + self.packed._per_output(bias)

    def inner(self) -> InnerLayer:
        """The layer that it is."""
        packed = self.packed
        own = None if self.floating is None else _array(self.floating)
        grid = _grid(packed.weight_scale, packed.weight_range)
        kind = type(packed).__name__
        return InnerLayer(
            self.name, kind, Parameter.of(own, _array(packed.weight), grid, 0), channels_last="Linear" in kind
        )


def _grid(scale: torch.Tensor, codes: Codes) -> Grid:
    return Grid.of(float(scale), 0, codes.low, codes.high)


def _array(tensor: torch.Tensor) -> Array:
    found: Array = tensor.detach().float().numpy().copy()
    return found
