"""Every layer alone at the low width, on every sample: one forward and one suffix of it per layer and batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.errors import EvaluationError
from quantbench.measure.evaluation import EVALUATION_BATCH
from quantbench.records.base import pack_bits
from quantbench.records.search import LEVEL, LayerSensitivity
from quantbench.search.activation_cache import ActivationCache
from quantbench.search.divergences import Divergences
from quantbench.search.engine import Engine, TrialOutcome
from quantbench.search.ledger import Ledger, packed, unpacked
from quantbench.search.problem import Entry
from quantbench.stats.draws import Ids
from quantbench.stats.paired import PairedOutcomes, tango_interval

# The journal gets as many entries on the way; a killed run loses one of them.
PARTS = 10


@dataclass
class Table:
    """Table of every sample's measurements.

    Attributes:
        correct: `[n]` bool, with all layers high.
        margin: `[n]` float32, logit of the label above the largest other one, with all layers high.
        low_correct: name of a layer → `[n]` bool, with that layer low.
        not_finite: name of a layer → samples whose logits were NaN or infinite, which count as wrong.
        divergences: name of a layer → how far values moved.
    """

    correct: NDArray[np.bool_]
    margin: NDArray[np.float32]
    low_correct: dict[str, NDArray[np.bool_]]
    not_finite: dict[str, int]
    divergences: dict[str, Divergences]

    @classmethod
    def empty(cls, names: tuple[str, ...], n: int) -> Table:
        """Nothing known yet of `n` samples."""
        return cls(
            np.zeros(n, np.bool_),
            np.zeros(n, np.float32),
            {name: np.zeros(n, np.bool_) for name in names},
            dict.fromkeys(names, 0),
            {name: Divergences() for name in names},
        )

    def take(self, ids: Ids, entry: Entry) -> None:
        """Adds what `measured_part` found for the samples at `ids`."""
        n = len(ids)
        self.correct[ids], self.margin[ids] = _bits(entry["correct"], n), unpacked(entry["margin"], np.float32)
        for name, (text, not_finite, sums) in entry["layers"].items():
            self.low_correct[name][ids] = _bits(text, n)
            self.not_finite[name] += not_finite
            self.divergences[name].add(sums)

    def lost_on_balance(self, name: str) -> int:
        """Samples that the layer alone loses, less those it gains."""
        return int(self.correct.sum()) - int(self.low_correct[name].sum())

    def order(self) -> list[str]:
        """Names from least to most sensitive, ties in the model's order; layers without figures last."""
        names = list(self.low_correct)
        return sorted(names, key=lambda name: (self.not_finite[name] > 0, self.lost_on_balance(name)))

    def records(self) -> list[LayerSensitivity]:
        """One per layer, in the model's order."""
        return [self._record(name, index) for index, name in enumerate(self.low_correct)]

    def _record(self, name: str, index: int) -> LayerSensitivity:
        outcomes = PairedOutcomes.from_correct(self.correct, self.low_correct[name])
        interval, moved = tango_interval(outcomes, LEVEL), self.divergences[name]
        return LayerSensitivity(
            layer=name,
            index=index,
            n=outcomes.n,
            lost=outcomes.lost,
            gained=outcomes.gained,
            drop_pp=100.0 * outcomes.drop,
            drop_interval_pp=(100.0 * interval.low, 100.0 * interval.high),
            correct=pack_bits(self.low_correct[name]),
            output_sqnr_db=moved.output_sqnr_db,
            logits_sqnr_db=moved.logits_sqnr_db,
            logits_kl=moved.logits_kl,
            failed=failure_reason(self.not_finite[name], outcomes.n),
        )


def failure_reason(not_finite: int, n: int) -> str:
    """Reason why a layer has no figures; empty where it has."""
    return f"logits are NaN or infinite for {not_finite:,} of {n:,} samples" if not_finite else ""


def measured_table(engine: Engine, ledger: Ledger, cache: ActivationCache | None = None) -> Table:
    """Measures all layers.

    Args:
        engine: the model and the split.
        ledger: gives parts that were measured before, takes the others.
        cache: takes the values with all layers high, where a search will start from them.

    Raises:
        EvaluationError: if logits are not finite with all layers high.
    """
    table = Table.empty(engine.names, engine.n)
    size = -(-engine.n // (PARTS * EVALUATION_BATCH)) * EVALUATION_BATCH
    for start in range(0, engine.n, size):
        ids = np.arange(start, min(start + size, engine.n))
        key = [start, int(ids[-1]) + 1]
        entry = ledger.earlier("part", key)
        if entry is None:
            entry = measured_part(engine, ids, cache)
            ledger.add("part", key, entry)
        table.take(ids, entry)
        ledger.done((1 + len(engine.names)) * len(ids) / engine.n)
    return table


def measured_part(engine: Engine, ids: Ids, cache: ActivationCache | None = None) -> Entry:
    """Measures all layers on some samples, for `Table.take`."""
    part = Table.empty(engine.names, len(ids))
    for at in range(0, len(ids), EVALUATION_BATCH):
        _measure_batch(engine, part, at, ids[at : at + EVALUATION_BATCH], cache)
    layers: dict[str, Any] = {
        name: [packed(np.packbits(bits)), part.not_finite[name], part.divergences[name].sums()]
        for name, bits in part.low_correct.items()
    }
    return {"correct": packed(np.packbits(part.correct)), "margin": packed(part.margin), "layers": layers}


def measured_base(engine: Engine, cache: ActivationCache) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Correctness and margins of the samples with all layers high; fills the cache with their values."""
    correct, margin = np.zeros(engine.n, np.bool_), np.zeros(engine.n, np.float32)
    with engine.configured(()):
        for start in range(0, engine.n, EVALUATION_BATCH):
            ids = np.arange(start, min(start + EVALUATION_BATCH, engine.n))
            values = engine.run(ids, {}, keep=cache.names)
            base = engine.outcome(values[engine.replay.output], ids)
            _check_finite(engine, base, ids)
            correct[ids], margin[ids] = base.correct, base.margin
            cache.fill(values, ids)
    return correct, margin


@torch.inference_mode()
def _measure_batch(engine: Engine, part: Table, at: int, ids: Ids, cache: ActivationCache | None) -> None:
    replay, rows = engine.replay, slice(at, at + len(ids))
    keep = {name for layer in engine.names for name in (*replay.frontier[layer], *replay.calls[layer][:1])}
    with engine.configured(()):
        high = engine.run(ids, {}, keep)
    base = engine.outcome(high[replay.output], ids)
    _check_finite(engine, base, ids)
    part.correct[rows], part.margin[rows] = base.correct, base.margin
    if cache is not None:
        cache.fill(high, ids)
    for layer in engine.names:
        first = replay.calls[layer][:1]
        given = {name: high[name] for name in replay.frontier[layer]}
        with engine.configured((layer,)):
            low = engine.run(ids, given, first)
        outcome = engine.outcome(low[replay.output], ids)
        part.low_correct[layer][rows] = outcome.correct
        part.not_finite[layer] += int((~outcome.finite).sum())
        part.divergences[layer].add_logits(high[replay.output], low[replay.output])
        for call in first:
            part.divergences[layer].add_output(high[call], low[call])


def _check_finite(engine: Engine, base: TrialOutcome, ids: Ids) -> None:
    if not base.finite.all():
        raise EvaluationError(
            f"with all layers at {engine.high} bits, the model's logits are not finite for sample "
            f"{ids[int(np.argmin(base.finite))]} of '{engine.split.name}'; look at its weights and scales first"
        )


def _bits(text: str, n: int) -> NDArray[np.bool_]:
    return np.unpackbits(unpacked(text, np.uint8), count=n).astype(np.bool_)
