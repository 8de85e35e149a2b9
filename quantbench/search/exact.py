"""The published greedy search, decision for decision, with every trial ended as soon as its outcome is certain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantbench.records.search import Decision, LayerSensitivity, Reason
from quantbench.search.activation_cache import ActivationCache
from quantbench.search.engine import Engine
from quantbench.search.ledger import Ledger, packed, unpacked
from quantbench.search.problem import Entry
from quantbench.search.sensitivity import Table
from quantbench.stats.draws import Ids

# Samples between two looks at whether a rejection is certain.
TRIAL_BATCH = 128


class ExactSearch:
    """Visits layers from least to most sensitive; keeps one at the low width if the total drop allows.

    Why the decisions are those of whole passes: a layer is rejected early only when the samples lost so far, less those
    gained, less all that could still be gained, exceed what is allowed, which is a count; and a value taken from memory
    is the one that would be computed, bit by bit where a layer's arithmetic is exact (see `Replay`).

    An acceptance is measured to the last sample although it is certain a little earlier: so that the accuracy of what
    is found is known, and the values for the next trials are complete.

    Args:
        engine: the model and the split.
        table: sensitivities of all layers.
        cache: values with all layers high, as far as they fit.
        allowed: samples that may be lost on balance.
    """

    def __init__(self, engine: Engine, table: Table, cache: ActivationCache, allowed: int) -> None:
        self.engine, self.table, self.cache, self.allowed = engine, table, cache, allowed
        self.accepted: list[str] = []
        # Of the configuration accepted so far.
        self.correct: NDArray[np.bool_] = table.correct
        self.decisions: list[Decision] = []

    def records(self) -> list[LayerSensitivity]:
        """One per layer, in the model's order."""
        return self.table.records()

    def run(self, ledger: Ledger) -> None:
        """Decides about every layer."""
        for layer in self.table.order():
            entry = ledger.earlier("decision", layer)
            if entry is None:
                decision, correct = self._decided(layer)
                entry = {"decision": decision.model_dump(), "correct": packed(correct)}
                ledger.add("decision", layer, entry)
            self._take(layer, entry)
            ledger.done(1)

    def _take(self, layer: str, entry: Entry) -> None:
        decision = Decision.model_validate(entry["decision"])
        self.decisions.append(decision)
        if decision.accepted:
            self.accepted.append(layer)
            self.correct = unpacked(entry["correct"], np.bool_)
            self.cache.accept(layer)
        else:
            self.cache.reject()

    def _decided(self, layer: str) -> tuple[Decision, NDArray[np.bool_]]:
        """Decision about a layer, and which samples are right then (of those seen)."""
        index, n = self.engine.names.index(layer), self.engine.n
        if self.table.not_finite[layer]:
            correct = self.table.low_correct[layer]
            return Decision(layer=layer, index=index, accepted=False, drop_pp=None, n=n, reason="not_finite"), correct
        if not self.accepted:
            # The same configuration as that of its sensitivity.
            correct = self.table.low_correct[layer]
            lost = self.table.lost_on_balance(layer)
            known = lost <= self.allowed
            return Decision(
                layer=layer, index=index, accepted=known, drop_pp=100.0 * (lost / n), n=n, reason="known"
            ), correct
        return self._trial(layer, index)

    def _trial(self, layer: str, index: int) -> tuple[Decision, NDArray[np.bool_]]:
        base, n = self.table.correct, self.engine.n
        correct = np.zeros(n, np.bool_)
        order, seen, lost = self.order_of_samples(layer), 0, 0
        gainable = int((~base).sum())
        with self.engine.configured((*self.accepted, layer)):
            while seen < n:
                ids = order[seen : seen + TRIAL_BATCH]
                outcome = self.engine.trial(ids, layer, self.cache)
                seen += len(ids)
                if not outcome.finite.all():
                    return Decision(
                        layer=layer, index=index, accepted=False, drop_pp=None, n=seen, reason="not_finite"
                    ), correct
                correct[ids] = outcome.correct
                lost += int(base[ids].sum()) - int(outcome.correct.sum())
                gainable -= int((~base[ids]).sum())
                if lost - gainable > self.allowed:
                    break
        # Stopped early, this is what is lost for certain; at the end, what is lost.
        drop_pp = 100.0 * ((lost - gainable) / n)
        accepted = lost <= self.allowed and seen == n
        reason: Reason = "measured" if seen == n else "early"
        return Decision(layer=layer, index=index, accepted=accepted, drop_pp=drop_pp, n=seen, reason=reason), correct

    def order_of_samples(self, layer: str) -> Ids:
        """All samples, those first that make a rejection certain soonest.

        First those that are wrong with all layers high, since after them nothing can be gained. Then those that this
        layer alone loses or that are lost already, then those that other layers lose, the narrowest margins first.
        """
        base = self.table.correct
        lost = {name: base & ~correct for name, correct in self.table.low_correct.items()}
        likely = lost[layer].astype(np.int64) + (base & ~self.correct)
        others = np.sum([each for name, each in lost.items() if name != layer], axis=0, dtype=np.int64)
        return np.lexsort((self.table.margin, -others, -likely, base))
