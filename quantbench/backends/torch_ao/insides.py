"""Values inside of a converted module and of its fused fp32 form, and the module with layers put back."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn
from torch.ao.nn import quantized as nnq

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.engines import engine_in_use
from quantbench.backends.insides import InnerLayer, Inside, Insides, Values
from quantbench.backends.interface import Predictor
from quantbench.backends.module import ModulePredictor
from quantbench.backends.torch_ao.sites import FunctionalSite, Log, Real, Site
from quantbench.errors import QuantizationError
from quantbench.upstream import silenced

QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


class EagerInsides(Insides):
    """A converted module and its fp32 form.

    Args:
        reference: the fp32 model as it is.
        fused: the same, fused as the candidate was; its modules have the candidate's names.
        converted: the candidate; it is wrapped, and is this object's from now on.
        is_trained: the candidate's weights were fine-tuned, so that a layer that is put back keeps them.
        engine: that it was converted for.

    Raises:
        QuantizationError: if no module of the candidate computes in int8, or none is in the reference.
    """

    def __init__(
        self, reference: nn.Module, fused: nn.Module, converted: nn.Module, is_trained: bool, engine: str
    ) -> None:
        self._on_engine, self._log = engine_in_use(engine), Log()
        self._reference = ModulePredictor(reference.eval())
        with self._on_engine, silenced():
            sites, self.unmatched = _wrapped(converted, fused, is_trained, self._log)
        if all(isinstance(each.converted, nnq.Quantize) for each in sites):
            raise QuantizationError(
                f"{type(converted).__name__}: no module of it computes in int8; there is nothing that could be put back"
            )
        self._candidate = ModulePredictor(converted.eval())
        self._sites = {each.name: each for each in sites}
        self._order: tuple[str, ...] = ()
        self._is_trained = is_trained
        self._notes = ["weights were fine-tuned: a layer that is put back keeps them"] if is_trained else []

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Lines about what was done, known after the first batch."""
        return tuple(self._notes)

    @property
    def layers(self) -> tuple[InnerLayer, ...]:  # type: ignore[override]
        """In the order in which they run, which is known after the first batch."""
        names = self._order or tuple(self._sites)
        return tuple(self._sites[name].inner() for name in names)

    def run(self, inputs: Inputs) -> Inside:
        """See `Insides.run`."""
        log = self._log
        with torch.inference_mode():
            reference = self._reference(inputs)
            all_back = self._forward(inputs, frozenset(self._sites), is_kept=True)
            before, exact = dict(log.results), dict(log.exact)
            candidate = self._forward(inputs, frozenset(), is_kept=True)
        if not self._order:
            self._order = tuple(before)
            self._note_calls()
        values = {
            name: Values(before[name], log.results[name], exact[name], log.exact[name])
            for name in self._order
            if name in log.results and name in before
        }
        return Inside(values, reference, candidate, None if self._is_trained else all_back)

    def put_back(self, layers: Collection[str]) -> Predictor:
        """See `Insides.put_back`."""
        return _PutBack(self, frozenset(layers))

    def _forward(self, inputs: Inputs, back: frozenset[str], is_kept: bool) -> Outputs:
        self._log.begin(back, is_kept)
        with self._on_engine:
            return self._candidate(inputs)

    def forward(self, inputs: Inputs, back: frozenset[str]) -> Outputs:
        """One batch through the candidate with some layers put back."""
        return self._forward(inputs, back, is_kept=False)

    def _note_calls(self) -> None:
        self.unmatched = (*self.unmatched, *(name for name in self._sites if name not in self._order))
        for name, times in self._log.calls.items():
            if times > 1:
                self._notes.append(
                    f"'{name}' is called {times} times: its values are those of the first call, and it is put back in "
                    "all of them"
                )


class _PutBack(Predictor):
    def __init__(self, insides: EagerInsides, back: frozenset[str]) -> None:
        self._insides, self._back = insides, back

    def __call__(self, inputs: Inputs) -> Outputs:
        return self._insides.forward(inputs, self._back)


def _wrapped(converted: nn.Module, fused: nn.Module, is_trained: bool, log: Log) -> tuple[list[Any], tuple[str, ...]]:
    """Puts a site around each quantized module; gives the sites, and names of modules that the reference has not."""
    sites, unmatched = list[Any](), list[str]()
    for name, module in list(_quantized(converted)):
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
                continue
            site = Site(name, module, floating.eval(), is_trained, log)
        sites.append(site)
        converted.set_submodule(name, site)
    return sites, tuple(unmatched)


def _quantized(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Quantized modules that are no parts of others."""
    for name, module in model.named_children():
        place = f"{prefix}{name}"
        # A functional of fp32 is in their folder too.
        if type(module).__module__.startswith(QUANTIZED) and not isinstance(module, nnq.FloatFunctional):
            yield place, module
        else:
            yield from _quantized(module, f"{place}.")
