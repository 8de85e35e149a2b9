"""Layers of a prepared model that run more than once in a forward: one observer then sees all their results mixed."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.nn.quantized import FloatFunctional

from quantbench.errors import QuantizationError, SharedLayerWarning

# How many times narrower than all of them together one call's range may be. At 4 it has 2 of 8 bits less than it could.
NARROWEST = 4.0
# What each operator of a FloatFunctional makes.
MADE_BY = {"add": "sum", "add_relu": "sum", "add_scalar": "sum", "mul": "product", "mul_scalar": "product",
           "cat": "concatenation", "matmul": "product"}  # fmt: skip
OBSERVER = "activation_post_process"
Range = tuple[float, float]


@dataclass
class Calls:
    """Calls of the modules of a prepared model in one forward.

    Attributes:
        count: calls of each module, by name.
        ranges: the lowest and highest value of each call of a module whose results an observer sees, zero included.
        made: what a functional made: a sum, a product, …
    """

    count: Counter[str] = field(default_factory=Counter)
    ranges: dict[str, list[Range]] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)


def aliases_of(model: nn.Module) -> dict[str, str]:
    """Further names of modules → their first names.

    Example:
        >>> layer = nn.ReLU()
        >>> aliases_of(nn.Sequential(layer, layer))
        {'1': '0'}
    """
    first: dict[int, str] = {}
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if first.setdefault(id(module), name) != name:
            found[name] = first[id(module)]
    return found


@contextmanager
def calls_of(prepared: nn.Module) -> Iterator[Calls]:
    """Watches the forwards of a prepared model."""
    calls, handles = Calls(), []
    for name, module in prepared.named_modules():
        if isinstance(module, FloatFunctional):
            seen = getattr(module, OBSERVER)
            handles.append(seen.register_forward_hook(lambda _, given, __, name=name: _note_result(calls, name, given)))
        elif not isinstance(module, ao.ObserverBase | ao.FakeQuantizeBase):
            is_observed = isinstance(getattr(module, OBSERVER, None), nn.Module)
            handles.append(
                # Before an observer's own hook, which may give other values back.
                module.register_forward_hook(
                    lambda _, __, result, name=name, seen=is_observed: _note_call(calls, name, result, seen),
                    prepend=True,
                )
            )
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _note_result(calls: Calls, name: str, given: tuple[Any, ...]) -> None:
    frame = inspect.currentframe()
    while frame is not None and not isinstance(frame.f_locals.get("self"), FloatFunctional):
        frame = frame.f_back
    calls.made.setdefault(name, MADE_BY.get(frame.f_code.co_name, "result") if frame else "result")
    _note_call(calls, name, given[0], is_observed=True)


def _note_call(calls: Calls, name: str, result: Any, is_observed: bool) -> None:
    calls.count[name] += 1
    if is_observed and isinstance(result, torch.Tensor) and result.numel() and result.is_floating_point():
        low, high = torch.aminmax(result.detach())
        calls.ranges.setdefault(name, []).append((min(0.0, float(low)), max(0.0, float(high))))


def check_shared(calls: Calls, model: nn.Module, prepared: nn.Module, converted: nn.Module) -> None:
    """Refuses a model of which one scale is to fit the results of several calls that it does not fit.

    A layer without parameters, such as a functional, can have one of its own for each call, and has to. A layer with
    parameters, or all in a part of the model that runs more than once, as one encoder on two inputs, is let through
    with a warning where the ranges of its calls are alike. What has no scale, such as a ReLU, may run as often as it
    likes.

    Args:
        calls: of one forward of the prepared model.
        model: fp32.
        prepared: the model with its observers.
        converted: the same, in int8.

    Raises:
        QuantizationError: naming the module that runs more than once, and what to do.
    """
    kind, aliases = type(model).__name__, aliases_of(model)
    known, shared = dict(model.named_modules()), dict[str, str]()
    for name, ranges in calls.ranges.items():
        if len(ranges) < 2 or name not in known or not _has_scale(name, prepared, converted):
            continue
        cause = _outermost(name, calls.count)
        also = [each for each, first in aliases.items() if first == cause]
        called = f"`{cause}`{''.join(f' (also `{each}`)' for each in also)} of {kind} is called {_times(calls, cause)}"
        if next(known[cause].parameters(), None) is None:
            what = calls.made.get(cause, "call")
            raise QuantizationError(f"{called}: give each {what} its own; {_mixture(name, cause, ranges)}")
        if _widest(ranges) > NARROWEST:
            raise QuantizationError(
                f"{called}, and {_mixture(name, cause, ranges)}: make a copy.deepcopy of `{cause}` for each call, "
                "whose observers see one range each, or set its qconfig to None to leave it in fp32"
            )
        shared.setdefault(cause, called)
    check_aliases(model, converted)
    for called in shared.values():
        warnings.warn(
            f"{called}, and its calls share their scales; on the samples that were tried their ranges are alike",
            SharedLayerWarning,
            stacklevel=2,
        )


def check_aliases(model: nn.Module, stage: nn.Module) -> None:
    """Refuses a layer under two names that is no longer of one kind under both.

    Args:
        model: fp32.
        stage: what was made of it, prepared or converted.

    Raises:
        QuantizationError: naming both.
    """
    found = dict(stage.named_modules(remove_duplicate=False))
    for name, first in aliases_of(model).items():
        if type(found.get(name)) is not type(found.get(first)):
            raise QuantizationError(
                f"'{first}' and '{name}' of {type(model).__name__} are one layer under two names, of which only one is "
                "quantized: call it by one name, or make one a copy.deepcopy of the other"
            )


def _has_scale(name: str, prepared: nn.Module, converted: nn.Module) -> bool:
    """True where conversion took a scale from the observer, and that scale is not a fixed one."""
    observer = getattr(prepared.get_submodule(name), OBSERVER, None)
    is_fixed = isinstance(observer, ao.FixedQParamsObserver | ao.FixedQParamsFakeQuantize)
    return not is_fixed and hasattr(converted.get_submodule(name), "scale")


def _outermost(name: str, count: Counter[str]) -> str:
    """The outermost part of the model around a module, or the module itself, that runs more than once."""
    parts = name.split(".")
    around = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return next((each for each in around if count[each] > 1), name)


def _widest(ranges: list[Range]) -> float:
    """Width of all ranges together over that of the narrowest one that is not empty."""
    widths = [high - low for low, high in ranges if high > low]
    together = max(high for _, high in ranges) - min(low for low, _ in ranges)
    return together / min(widths) if widths else 1.0


def _mixture(name: str, cause: str, ranges: list[Range]) -> str:
    narrow, wide = (sorted(ranges, key=lambda each: each[1] - each[0])[i] for i in (0, -1))
    seen = f"{narrow[0]:.3g}..{narrow[1]:.3g} in one and {wide[0]:.3g}..{wide[1]:.3g} in another"
    whose = "" if name == cause else f" of `{name}`"
    return f"one scale{whose} has to fit {seen}"


def _times(calls: Calls, name: str) -> str:
    count = calls.count[name]
    return "twice" if count == 2 else f"{count} times"
