"""Places in a converted module where values can be looked at, and where a layer can be put back to fp32.

Each quantized module is wrapped. As it runs, its own int8 kernel computes. Put back, the fused fp32 layer computes and
hands on real numbers; a layer that is given real numbers by such a neighbour computes on them with its own weights, in
floating point, and rounds its results by its own scale.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.ao.nn import quantized as nnq

from quantbench.backends.insides import Array, Grid, InnerLayer, Parameter

PER_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric, torch.per_channel_affine_float_qparams)
# Results of functionals that have no scale of their own.
SCALARS = ("add_scalar", "mul_scalar")


@dataclass
class Log:
    """State that the sites of one model share.

    Attributes:
        back: names of the sites that are put back.
        is_kept: note values.
        results: of each site's first call in this forward.
        exact: results of the site's layer with the candidate's weights from the same inputs, not rounded.
        calls: how often each site was called in this forward.
    """

    back: frozenset[str] = frozenset()
    is_kept: bool = False
    results: dict[str, Array] = field(default_factory=dict)
    exact: dict[str, Array] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def begin(self, back: frozenset[str], is_kept: bool) -> None:
        """Forgets the forward before."""
        self.back, self.is_kept = back, is_kept
        for each in (self.results, self.exact, self.calls):
            each.clear()


def real(value: Any) -> Any:
    """Real numbers of a quantized tensor; others, and what holds tensors, likewise."""
    if isinstance(value, torch.Tensor):
        return value.dequantize() if value.is_quantized else value
    if isinstance(value, list | tuple):
        return type(value)(real(each) for each in value)
    return value


def _is_quantized(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_quantized(each) for each in value)
    return not isinstance(value, torch.Tensor) or value.is_quantized


class Site(nn.Module):
    """One quantized module.

    Args:
        name: in the model.
        converted: the module in int8.
        floating: the same in fp32, fused.
        keeps_weights: the layer that is put back has the candidate's weights too, since those were trained.
        log: see `Log`.
    """

    def __init__(self, name: str, converted: nn.Module, floating: nn.Module, keeps_weights: bool, log: Log) -> None:
        super().__init__()
        self.name, self.log = name, log
        self.converted, self.exact = converted, _with_weights_of(floating, converted)
        self.reference = _layer_of(floating)
        self.floating = self.exact if keeps_weights else floating

    @property
    def takes_real(self) -> bool:
        """The module itself quantizes what it is given, or is given real numbers."""
        return isinstance(self.converted, nnq.Quantize) or "dynamic" in type(self.converted).__module__

    def forward(self, *inputs: Any) -> Any:
        """As the module that is wrapped."""
        return run(self, self.converted, self.floating, self.exact, inputs)

    def inner(self) -> InnerLayer:
        """The layer that it is."""
        kind = "input" if isinstance(self.converted, nnq.Quantize) else type(self.converted).__name__
        weight = bias = None
        if callable(get := getattr(self.converted, "weight", None)):
            # Those that were fine-tuned are no others' rounded.
            twin = nn.Identity() if self.floating is self.exact else self.reference
            weight, bias = _weight(get(), self.reference, twin), _bias(self.converted, twin)
        grid = grid_of(self.converted)
        return InnerLayer(self.name, kind, weight, bias, () if grid is None else (grid,), "Linear" in kind)


class FunctionalSite(nn.Module):
    """A `QFunctional`: sums, products and concatenations, each with a scale.

    Args:
        name: in the model.
        converted: the functional in int8.
        log: see `Log`.
    """

    takes_real = False

    def __init__(self, name: str, converted: nn.Module, log: Log) -> None:
        super().__init__()
        self.name, self.converted, self.log = name, converted, log
        self.plain = nnq.FloatFunctional()

    def __getattr__(self, name: str) -> Any:
        if name in ("add", "add_scalar", "mul", "mul_scalar", "cat", "add_relu", "matmul"):
            return lambda *inputs, **more: self._called(name, inputs, more)
        return super().__getattr__(name)

    def _called(self, method: str, inputs: tuple[Any, ...], more: dict[str, Any]) -> Any:
        def converted(*given: Any) -> Any:
            return getattr(self.converted, method)(*given, **more)

        def floating(*given: Any) -> Any:
            return getattr(self.plain, method)(*given, **more)

        return run(self, converted, floating, floating, inputs, method not in SCALARS)

    def inner(self) -> InnerLayer:
        """The layer that it is."""
        grid = grid_of(self.converted)
        return InnerLayer(self.name, "QFunctional", results=() if grid is None else (grid,))


def run(
    site: Any,
    converted: Callable[..., Any],
    floating: Callable[..., Any],
    exact: Callable[..., Any],
    inputs: tuple[Any, ...],
    has_scale: bool = True,
) -> Any:
    """One call of a site, as its log asks for it."""
    log, name = site.log, site.name
    log.calls[name] = log.calls.get(name, 0) + 1
    is_noted = log.is_kept and log.calls[name] == 1
    if name in log.back:
        result = floating(*real(inputs))
    elif site.takes_real or all(_is_quantized(each) for each in inputs):
        # A neighbour that is put back may give reals to a quantizer in the middle of the network.
        result = converted(*(real(inputs) if site.takes_real else inputs))
    else:
        result = exact(*real(inputs))
        if has_scale and hasattr(site.converted, "scale"):
            result = torch.quantize_per_tensor(
                result, float(site.converted.scale), int(site.converted.zero_point), torch.quint8
            )
    if is_noted:
        log.results[name] = _array(result)
        log.exact[name] = _array(exact(*real(inputs)))
    return result


class Real(nn.Module):
    """A `DeQuantize` that real numbers pass."""

    def forward(self, value: Any) -> Any:
        """Real numbers."""
        return real(value)


def grid_of(module: nn.Module) -> Grid | None:
    """The grid of a module's results; None for one without a scale."""
    if not hasattr(module, "scale") or not hasattr(module, "zero_point"):
        return None
    return Grid.of(float(module.scale), int(module.zero_point), 0, 255)  # type: ignore[arg-type]


def _layer_of(floating: nn.Module) -> nn.Module:
    """The layer with weights of a fused one."""
    return floating[0] if isinstance(floating, nn.Sequential) and len(floating) else floating


def _with_weights_of(floating: nn.Module, converted: nn.Module) -> nn.Module:
    """A copy of a fused layer with the weights that its integers stand for."""
    made = copy.deepcopy(floating)
    layer = _layer_of(made)
    if callable(get := getattr(converted, "weight", None)) and isinstance(getattr(layer, "weight", None), nn.Parameter):
        layer.weight = nn.Parameter(real(get()).float(), requires_grad=False)
        bias = converted.bias() if callable(getattr(converted, "bias", None)) else None  # type: ignore[operator]
        if bias is not None:
            layer.bias = nn.Parameter(real(bias).float().detach(), requires_grad=False)
    return made.eval()


def _weight(codes: torch.Tensor, layer: nn.Module, twin: nn.Module) -> Parameter:
    channel = 1 if "Transpose" in type(layer).__name__ else 0
    grid = None
    if codes.is_quantized:
        first, last = (-128, 127) if codes.dtype == torch.qint8 else (0, 255)
        if codes.qscheme() in (
            torch.per_channel_affine,
            torch.per_channel_symmetric,
            torch.per_channel_affine_float_qparams,
        ):
            scales, zeros = codes.q_per_channel_scales().numpy(), codes.q_per_channel_zero_points().numpy()
            grid = Grid.of(scales, zeros, first, last, codes.q_per_channel_axis(), codes.dim())
        else:
            grid = Grid.of(codes.q_scale(), codes.q_zero_point(), first, last)
    reference = getattr(twin, "weight", None)
    own = _array(reference) if isinstance(reference, torch.Tensor) else None
    return Parameter.of(own, _array(codes), grid, channel)


def _bias(converted: Any, layer: nn.Module) -> Parameter | None:
    found = converted.bias() if callable(getattr(converted, "bias", None)) else None
    reference = getattr(layer, "bias", None)
    if found is None:
        return None
    return Parameter.of(_array(reference) if isinstance(reference, torch.Tensor) else None, _array(found), None, 0)


def _array(tensor: Any) -> Array:
    found: Array = real(tensor).detach().float().numpy().copy()
    return found
