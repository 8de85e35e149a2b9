"""The published greedy search as it was published: a whole pass for every figure. Both modes are held to it.

`search_cost.py` compares its cost with theirs, and the tests their tables and decisions.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from quantbench.arrays import INPUT
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.evaluation import EVALUATION_BATCH
from quantbench.progress import Progress
from quantbench.records.search import Decision, LayerSensitivity
from quantbench.search.engine import Engine, allowed_drop
from quantbench.search.ledger import Ledger
from quantbench.search.problem import Problem, SearchResult
from quantbench.search.search import published_passes, result_of
from quantbench.search.sensitivity import Table


def naive_search(problem: Problem, epsilon_pp: float, show: Progress | None = None) -> SearchResult:
    """Greedy mixed precision by whole passes; see `quantbench.search.search.search`.

    Args:
        problem: model, split and widths.
        epsilon_pp: total drop that is accepted, percentage points.
        show: progress, in passes.
    """
    allowed = allowed_drop(epsilon_pp, len(problem.split), problem.split.name)
    keep_freed_memory()
    engine = Engine(problem)
    ledger = Ledger(engine, None, show, published_passes(engine))
    searched = NaiveSearch(engine, problem.model, allowed)
    searched.run(ledger)
    return result_of(searched, engine, ledger, memory_bytes=0)


class NaiveSearch:
    """One pass with all layers high, one per layer alone at the low width, one per decision; nothing is reused.

    It has no divergences in its table, and keeps no journal.

    Args:
        engine: the split and the layers; its replay is not used.
        model: run whole.
        allowed: samples that may be lost on balance.
    """

    def __init__(self, engine: Engine, model: nn.Module, allowed: int) -> None:
        self.engine, self.model, self.allowed = engine, model, allowed
        self.table = Table.empty(engine.names, engine.n)
        self.decisions: list[Decision] = []
        self.accepted: list[str] = []
        self.correct = self.table.correct

    def records(self) -> list[LayerSensitivity]:
        """One per layer, in the model's order."""
        return self.table.records()

    def run(self, ledger: Ledger) -> None:
        """Measures every layer, then decides about every layer."""
        self.table.correct, _, self.table.margin = self._pass(())
        ledger.done(1)
        for layer in self.engine.names:
            self.table.low_correct[layer], self.table.not_finite[layer], _ = self._pass((layer,))
            ledger.done(1)
        self.correct = self.table.correct
        for layer in self.table.order():
            self._decide(layer)
            ledger.done(1)
        ledger.add("naive", "", {})

    def _decide(self, layer: str) -> None:
        index, n = self.engine.names.index(layer), self.engine.n
        correct, not_finite, _ = self._pass((*self.accepted, layer))
        failed = bool(not_finite or self.table.not_finite[layer])
        lost = int(self.table.correct.sum()) - int(correct.sum())
        accepted = not failed and lost <= self.allowed
        self.decisions.append(
            Decision(
                layer=layer,
                index=index,
                accepted=accepted,
                drop_pp=None if failed else 100.0 * (lost / n),
                n=n,
                reason="not_finite" if failed else "measured",
            )
        )
        if accepted:
            self.accepted.append(layer)
            self.correct = correct

    @torch.inference_mode()
    def _pass(self, low: tuple[str, ...]) -> tuple[NDArray[np.bool_], int, NDArray[np.float32]]:
        """Which samples are right, how many logits are not finite, and the margins."""
        with self.engine.configured(low):
            logits = torch.cat(
                [self.model(torch.from_numpy(inputs[INPUT])) for inputs in self.engine.split.batches(EVALUATION_BATCH)]
            )
        self.engine.macs += self.engine.replay.macs * self.engine.n
        outcome = self.engine.outcome(logits, np.arange(self.engine.n))
        return outcome.correct, int((~outcome.finite).sum()), outcome.margin
