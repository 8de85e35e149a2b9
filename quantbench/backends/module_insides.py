"""Values inside of a torch module whose quantized parts are wrapped by sites, and the module with layers put back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.engines import engine_in_use
from quantbench.backends.insides import Array, InnerLayer, Inside, Insides, Values
from quantbench.backends.interface import Predictor
from quantbench.backends.module import ModulePredictor
from quantbench.errors import QuantizationError

# About weights that were trained with their quantizers, where those of before are not at hand.
KEEPS_WEIGHTS = "weights were fine-tuned: a layer that is put back keeps them"


class Place(Protocol):
    """A site, as what runs the module sees it.

    Attributes:
        name: in the model.
    """

    name: str

    @property
    def is_input(self) -> bool:
        """It rounds what the model, or a part of it, is given, and computes nothing."""

    def inner(self) -> InnerLayer:
        """The layer that it is."""


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


@dataclass(frozen=True)
class Wrapped:
    """A converted module whose quantized parts are sites.

    Attributes:
        module: that is called; it stands for the candidate.
        sites: of it.
        unmatched: names of quantized modules that the reference has not; they stay as they are.
    """

    module: nn.Module
    sites: Sequence[Place]
    unmatched: tuple[str, ...]


class ModuleInsides(Insides):
    """A converted module and its fp32 form.

    Args:
        reference: the fp32 model as it is; None where that is the candidate with everything put back.
        wrapped: the candidate.
        log: of its sites.
        is_trained: the candidate with everything put back is not the reference, since its weights were fine-tuned.
        engine: that it was converted for.
        name: of the model, for messages.
        notes: see `Insides`.

    Raises:
        QuantizationError: if no module of the candidate computes in int8, or none is in the reference.
    """

    def __init__(
        self,
        reference: nn.Module | None,
        wrapped: Wrapped,
        log: Log,
        is_trained: bool,
        engine: str,
        name: str,
        notes: Sequence[str] = (),
    ) -> None:
        self._on_engine, self._log = engine_in_use(engine), log
        self._reference = None if reference is None else ModulePredictor(reference.eval())
        if all(each.is_input for each in wrapped.sites):
            raise QuantizationError(
                f"{name}: no module of it computes in int8; there is nothing that could be put back"
            )
        self.unmatched = wrapped.unmatched
        self._candidate = ModulePredictor(wrapped.module.eval())
        self._sites = {each.name: each for each in wrapped.sites}
        self._order: tuple[str, ...] = ()
        self._is_trained = is_trained
        self._notes = list(notes)

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
            if not self._order and self.unmatched:
                # Those that stay learn the scales of what they are given.
                self._forward(inputs, frozenset(), is_kept=False)
            all_back = self._forward(inputs, frozenset(self._sites), is_kept=True)
            before, exact = dict(log.results), dict(log.exact)
            candidate = self._forward(inputs, frozenset(), is_kept=True)
            reference = all_back if self._reference is None else self._reference(inputs)
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
    def __init__(self, insides: ModuleInsides, back: frozenset[str]) -> None:
        self._insides, self._back = insides, back

    def __call__(self, inputs: Inputs) -> Outputs:
        return self._insides.forward(inputs, self._back)
