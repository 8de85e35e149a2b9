"""Every layer alone at the low width, on as few samples as give an interval of use; and what they teach."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.records.search import LayerSensitivity
from quantbench.search.activation_cache import ActivationCache
from quantbench.search.engine import Engine
from quantbench.search.ledger import Ledger, packed, unpacked
from quantbench.search.problem import Entry
from quantbench.search.sensitivity import Table, failure_reason, measured_base, measured_part
from quantbench.stats.draws import Floats, Ids
from quantbench.stats.flips import FlipModel
from quantbench.stats.sampled_drop import Aim, SampledDrop, ToEstimate, log_odds

# Drawn at random and measured with every layer, for the divergences and to learn which samples change.
PILOT = 128
# Most samples looked at for one sensitivity, as a share of all.
LARGEST_SHARE = 0.1
# Samples between two looks.
SAMPLES_PER_LOOK = 128


class SampledLayers:
    """One pass with all layers high; then some samples of each layer alone.

    Args:
        engine: the model and the split.
        cache: takes the values with all layers high.
        allowed: samples that may be lost on balance: layers seen to lose far more are looked at no longer.
        alpha: risk of each layer's interval.
        seed: of what is drawn.

    Attributes:
        flips: predicts which samples change, from all that was seen.
        sensitivities: by name.
        alone: by name: samples seen with that layer alone low, and their changes (1 lost, −1 gained).
        drops: by name: estimated, in samples.
        intervals: by name: confidence sequence of the drop, in samples.
    """

    def __init__(self, engine: Engine, cache: ActivationCache, allowed: int, alpha: float, seed: int) -> None:
        self.engine, self.cache, self.allowed, self.alpha, self.seed = engine, cache, allowed, alpha, seed
        self.table = Table.empty(engine.names, engine.n)
        self.flips: FlipModel
        self.sensitivities: dict[str, LayerSensitivity] = {}
        self.alone: dict[str, tuple[Ids, Floats]] = {}
        self.drops: dict[str, float] = {}
        self.intervals: dict[str, tuple[float, float]] = {}

    def run(self, ledger: Ledger) -> None:
        """Measures all layers, from the output on: the last ones cost least, and teach which samples change."""
        self._start(ledger)
        for layer in reversed(self.engine.names):
            entry = ledger.earlier("sensitivity", layer)
            if entry is None:
                entry = self._measured(layer)
                ledger.add("sensitivity", layer, entry)
            self._take(layer, entry)
            ledger.done(1)

    def order(self) -> list[str]:
        """Names from least to most sensitive by estimate, ties in the model's order; those without figures last."""
        return sorted(self.engine.names, key=lambda name: (bool(self.sensitivities[name].failed), self.drops[name]))

    def measured_base(self) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """See the function of that name; apart, so that what was recorded can stand in for it."""
        return measured_base(self.engine, self.cache)

    def measured_pilot(self, ids: Ids) -> Entry:
        """Runs `measured_part` on the samples at `ids`."""
        return measured_part(self.engine, ids)

    def random(self, question: int, layer: str = "") -> np.random.Generator:
        """The source of chance of one question, so that a search that goes on after a kill draws the same samples."""
        return np.random.default_rng([self.seed, question, self.engine.names.index(layer) if layer else 0])

    def sample(self, known: tuple[Ids, Floats], aim: Aim, random: np.random.Generator, scale: float) -> SampledDrop:
        """The samples of one configuration, in the order in which they are to be looked at.

        Args:
            known: samples whose change in this configuration is known, and these changes.
            aim: what the samples are for.
            random: the source of chance.
            scale: see `FlipModel.probabilities`.
        """
        return SampledDrop(self.table.correct, self.flips.probabilities(scale), known, aim, random)

    def ratio(self, seen: tuple[Ids, Floats]) -> float:
        """See `FlipModel.ratio`; of samples and their changes."""
        return self.flips.ratio(seen[0], seen[1] != 0)

    def look(self, ids: Ids, layer: str, accepted: list[str], sample: SampledDrop) -> bool:
        """Looks at some samples with a layer low on top of those accepted; whether all logits are finite."""
        with self.engine.configured((*accepted, layer)):
            outcome = self.engine.trial(ids, layer, self.cache)
        sample.add(self._changes(ids, outcome.correct))
        return bool(outcome.finite.all())

    def learn(self, ids: Ids, changes: Floats) -> None:
        """Remembers what became of samples in one configuration."""
        self.flips.observe(ids, changes != 0)

    def _changes(self, ids: Ids, correct: NDArray[np.bool_]) -> Floats:
        return self.table.correct[ids].astype(np.float64) - correct

    def _start(self, ledger: Ledger) -> None:
        """The pass with all layers high, which a later run repeats to fill the kept values; and the pilot."""
        self.table.correct, self.table.margin = self.measured_base()
        self.flips = FlipModel(self.table.margin, self.table.correct)
        entry = ledger.earlier("pilot", "")
        pilot = np.sort(self.random(0).choice(self.engine.n, min(PILOT, self.engine.n), replace=False))
        if entry is None:
            entry = self.measured_pilot(pilot)
            ledger.add("pilot", "", entry)
        self.table.take(pilot, entry)
        for layer in self.engine.names:
            self.alone[layer] = pilot, self._changes(pilot, self.table.low_correct[layer][pilot])
            self.learn(*self.alone[layer])
        ledger.done(1)

    def _measured(self, layer: str) -> Entry:
        """Looks at samples until the layer is seen to lose far too much, or at most a share of all."""
        known, needed = self.alone[layer], log_odds(self.alpha / 2.0)
        budget = max(round(LARGEST_SHARE * self.engine.n) - len(known[0]), 1)
        sample = self.sample(known, ToEstimate(budget, needed), self.random(1, layer), self.ratio(known))
        finite = not self.table.not_finite[layer]
        while finite and len(ids := sample.next(min(SAMPLES_PER_LOOK, budget - len(sample.values)))):
            finite = self.look(ids, layer, [], sample)
            if sample.log_wealth_above(2.0 * self.allowed) >= needed:
                break
        self.cache.reject()
        low, high = sample.interval(self.alpha)
        estimate = min(max(sample.estimate(), low), high)
        return {"interval": [low, high], "estimate": estimate, "finite": finite, **entry_of_sample(sample)}

    def _take(self, layer: str, entry: Entry) -> None:
        ids, changes = changes_of_entry(entry)
        self.learn(ids, changes)
        before = self.alone[layer]
        self.alone[layer] = np.concatenate([before[0], ids]), np.concatenate([before[1], changes])
        self.drops[layer] = entry["estimate"]
        self.intervals[layer] = entry["interval"][0], entry["interval"][1]
        self.sensitivities[layer] = self._record(layer, entry["finite"])

    def _record(self, layer: str, finite: bool) -> LayerSensitivity:
        seen, moved, scale = self.alone[layer][1], self.table.divergences[layer], 100.0 / self.engine.n
        low, high = self.intervals[layer]
        return LayerSensitivity(
            layer=layer,
            index=self.engine.names.index(layer),
            n=len(seen),
            lost=int((seen > 0).sum()),
            gained=int((seen < 0).sum()),
            drop_pp=scale * self.drops[layer],
            drop_interval_pp=(scale * low, scale * high),
            correct=None,
            output_sqnr_db=moved.output_sqnr_db,
            logits_sqnr_db=moved.logits_sqnr_db,
            logits_kl=moved.logits_kl,
            failed="" if finite else failure_reason(max(self.table.not_finite[layer], 1), len(seen)),
        )


def entry_of_sample(sample: SampledDrop) -> dict[str, Any]:
    """Journal entry of one configuration."""
    return {"ids": packed(sample.ids.astype(np.int32)), "changes": packed(sample.values.astype(np.int8))}


def changes_of_entry(entry: Entry) -> tuple[Ids, Floats]:
    """Samples and changes from a journal entry: the reverse of `entry_of_sample`."""
    return unpacked(entry["ids"], np.int32).astype(np.int64), unpacked(entry["changes"], np.int8).astype(np.float64)
