"""Sites around the quantized modules of a converted module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.ao.nn import quantized as nnq

from quantbench.backends.engines import engine_in_use
from quantbench.backends.module_insides import KEEPS_WEIGHTS, Log, ModuleInsides, Wrapped
from quantbench.backends.torch_ao.sites import FunctionalSite, Held, Real, Site
from quantbench.upstream import silenced

QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


class EagerInsides(ModuleInsides):
    """A converted module of eager mode and its fp32 form.

    Args:
        reference: the fp32 model as it is.
        fused: the same, fused as the candidate was; its modules have the candidate's names.
        converted: the candidate; it is wrapped, and is this object's from now on.
        is_trained: see `ModuleInsides`.
        engine: that it was converted for.
    """

    def __init__(
        self, reference: nn.Module, fused: nn.Module, converted: nn.Module, is_trained: bool, engine: str
    ) -> None:
        log = Log()
        with engine_in_use(engine), silenced():
            made = wrapped(converted, fused, is_trained, log)
        super().__init__(
            reference, made, log, is_trained, engine, type(converted).__name__, [KEEPS_WEIGHTS] * is_trained
        )


def wrapped(converted: nn.Module, fused: nn.Module, is_trained: bool, log: Log) -> Wrapped:
    """Puts a site around each quantized module of a converted one, in place.

    Args:
        converted: the candidate.
        fused: the reference, fused as it was; its modules have the candidate's names.
        is_trained: see `ModuleInsides`.
        log: of the sites.
    """
    sites, unmatched = list[Any](), list[str]()
    for name, module in list(quantized_modules(converted)):
        if isinstance(module, nnq.DeQuantize):
            converted.set_submodule(name, Real())
            continue
        site: nn.Module
        if isinstance(module, nnq.QFunctional):
            site = FunctionalSite(name, module, log)
        else:
            try:
                floating = nn.Identity() if isinstance(module, nnq.Quantize) else fused.get_submodule(name)
            except AttributeError:
                unmatched.append(name)
                converted.set_submodule(name, Held(module))
                continue
            site = Site(name, module, floating.eval(), is_trained, log)
        sites.append(site)
        converted.set_submodule(name, site)
    return Wrapped(converted, sites, tuple(unmatched))


def quantized_modules(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Quantized modules that are no parts of others."""
    for name, module in model.named_children():
        place = f"{prefix}{name}"
        # A functional of fp32 is in their folder too.
        if type(module).__module__.startswith(QUANTIZED) and not isinstance(module, nnq.FloatFunctional):
            yield place, module
        else:
            yield from quantized_modules(module, f"{place}.")
