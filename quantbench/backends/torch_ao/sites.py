"""Places in a converted module where values can be looked at, and where a layer can be put back to fp32.

Each quantized module is wrapped. As it runs, its own int8 kernel computes. Put back, the fused fp32 layer computes and
hands on real numbers; a layer that is given real numbers by such a neighbour computes on them with its own weights, in
floating point, and rounds its results by its own scale.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.ao.nn import quantized as nnq

from quantbench.backends.insides import INPUT, Array, Grid, InnerLayer, Parameter
from quantbench.backends.module_insides import Log

PER_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric, torch.per_channel_affine_float_qparams)
# Results of functionals that have no scale of their own.
SCALARS = ("add_scalar", "mul_scalar")


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
        given: the kind of value that it rounds, where it computes nothing.
    """

    def __init__(
        self,
        name: str,
        converted: nn.Module,
        floating: nn.Module,
        keeps_weights: bool,
        log: Log,
        given: str = INPUT,
    ) -> None:
        super().__init__()
        self.given = given
        self.name, self.log = name, log
        self.converted, self.exact = converted, _with_weights_of(floating, converted)
        self.reference = _layer_of(floating)
        self.floating = self.exact if keeps_weights else floating

    @property
    def is_input(self) -> bool:
        """See `Place`."""
        return isinstance(self.converted, nnq.Quantize)

    @property
    def takes_real(self) -> bool:
        """The module itself quantizes what it is given, or is given real numbers."""
        return self.is_input or is_dynamic(self.converted)

    def forward(self, *inputs: Any) -> Any:
        """As the module that is wrapped."""
        return run(self, self.converted, self.floating, self.exact, inputs)

    def inner(self) -> InnerLayer:
        """The layer that it is."""
        kind = self.given if self.is_input else type(self.converted).__name__
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

    takes_real = is_input = False

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


class Held(nn.Module):
    """A part that has no counterpart in the reference, and computes in int8 whatever is put back around it.

    Real numbers that it is given are rounded by the scale of what it was given before as the candidate ran.

    Args:
        converted: a module, or a function of tensors.
    """

    def __init__(self, converted: Callable[..., Any]) -> None:
        super().__init__()
        self.converted = converted
        self._grids: dict[int, tuple[float, int, torch.dtype]] = {}

    def forward(self, *inputs: Any, **more: Any) -> Any:
        """As what is held."""
        return self.converted(*(self._quantized(at, each) for at, each in enumerate(inputs)), **more)

    def _quantized(self, at: int, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if value.is_quantized:
            if value.qscheme() == torch.per_tensor_affine:
                self._grids[at] = value.q_scale(), value.q_zero_point(), value.dtype
            return value
        return torch.quantize_per_tensor(value, *self._grids[at]) if at in self._grids else value


class FunctionSite(nn.Module):
    """An operator of a traced graph with a scale, such as `quantized::add`.

    Args:
        name: in the graph.
        converted: the operator with its scale.
        floating: the same on real numbers.
        log: see `Log`.
    """

    takes_real = is_input = False

    def __init__(self, name: str, converted: Scaled, floating: Callable[..., Any], log: Log) -> None:
        super().__init__()
        self.name, self.converted, self.log = name, converted, log
        self.plain = floating

    def forward(self, *inputs: Any) -> Any:
        """As the operator."""
        return run(self, self.converted, self.plain, self.plain, inputs)

    def inner(self) -> InnerLayer:
        """The layer that it is."""
        grid = grid_of(self.converted)
        return InnerLayer(self.name, self.converted.kind, results=() if grid is None else (grid,))


class Scaled(nn.Module):
    """An operator that is given scale and zero point of its results.

    Args:
        kind: its name.
        operator: of torch.
        scale: of its results.
        zero_point: of its results.
        names: by which it takes these; none where they stand behind its inputs.
    """

    def __init__(
        self, kind: str, operator: Callable[..., Any], scale: float, zero_point: int, names: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.kind, self.operator, self.names = kind, operator, names
        self.scale, self.zero_point = scale, zero_point

    def forward(self, *inputs: Any) -> Any:
        """Its results."""
        given = self.scale, self.zero_point
        if self.names:
            return self.operator(*inputs, **dict(zip(self.names, given, strict=True)))
        return self.operator(*inputs, *given)


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


def is_dynamic(module: nn.Module) -> bool:
    """A module that quantizes what it is given batch by batch, and gives real numbers."""
    return "dynamic" in type(module).__module__


def grid_of(module: nn.Module) -> Grid | None:
    """The grid of a module's results; None for one without a scale."""
    # Those inherit a scale that nothing is rounded by.
    if is_dynamic(module) or not hasattr(module, "scale") or not hasattr(module, "zero_point"):
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
