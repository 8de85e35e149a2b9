"""The greedy search from as few samples as a stated risk allows."""

from __future__ import annotations

from math import floor

import numpy as np

from quantbench.records.search import Decision, LayerSensitivity, Reason
from quantbench.search.activation_cache import ActivationCache
from quantbench.search.engine import COUNT_TOLERANCE, Engine
from quantbench.search.ledger import Ledger
from quantbench.search.problem import Entry
from quantbench.search.sampled_layers import SAMPLES_PER_LOOK, SampledLayers, changes_of_entry, entry_of_sample
from quantbench.search.sensitivity import Table
from quantbench.stats.betting import check_risk
from quantbench.stats.draws import Floats, Ids
from quantbench.stats.sampled_drop import SampledDrop, ToDecide, log_odds

# Around ε, percentage points: there either answer is as good.
ZONE_PP = 0.1
# Of the risk, for the intervals of all sensitivities; the rest is for the decisions. A wrong interval misleads a reader
# only, and the one decision that may rest on it.
SHARE_OF_SENSITIVITIES = 0.2
# No drop is expected nearer to the bound than this share of it: what is nearer takes many samples anyway.
NEAREST = 0.3
NOTHING: tuple[Ids, Floats] = (np.zeros(0, np.int64), np.zeros(0))


class AdaptiveSearch:
    """Visits layers from least to most sensitive by estimate; each decision is right at a stated risk.

    With probability 1 − δ, all decisions about configurations whose drop on the whole split is outside of ε ± `ZONE_PP`
    are those that whole passes would give, and all intervals of sensitivities hold: δ is divided among them, by
    Bonferroni's inequality. A decision is two tests, that the drop is not above and not below the zone, of which only
    one can be wrong; so each has the whole of the decision's share. Logits that are not finite are a rejection once one
    is seen; samples that are not seen are not known to be finite. What is looked at first is decided by predictions, on
    which no validity rests.

    Args:
        engine: the model and the split.
        cache: takes the values with all layers high.
        allowed: samples that may be lost on balance.
        delta: the risk of the whole search.
        seed: of what is drawn.

    Raises:
        StatisticsError: if δ is no probability.
    """

    def __init__(self, engine: Engine, cache: ActivationCache, allowed: int, delta: float, seed: int) -> None:
        self.engine, self.cache, self.allowed = engine, cache, allowed
        self.zone = floor(ZONE_PP * engine.n / 100 + COUNT_TOLERANCE)
        each = check_risk(delta) / len(engine.names)
        self.needed = log_odds((1.0 - SHARE_OF_SENSITIVITIES) * each)
        self.layers = self.sampled_layers(SHARE_OF_SENSITIVITIES * each, seed)
        self.accepted: list[str] = []
        self.decisions: list[Decision] = []
        # Of what is accepted: the drop, estimated, in samples, and what was seen.
        self._drop, self._seen = 0.0, NOTHING

    def sampled_layers(self, alpha: float, seed: int) -> SampledLayers:
        """Sampled measurement of the sensitivities; a method of its own, so that recorded ones can stand in for it."""
        return SampledLayers(self.engine, self.cache, self.allowed, alpha, seed)

    @property
    def table(self) -> Table:
        """Table of every sample, measured with all layers high."""
        return self.layers.table

    def records(self) -> list[LayerSensitivity]:
        """One per layer, in the model's order."""
        return [self.layers.sensitivities[name] for name in self.engine.names]

    def run(self, ledger: Ledger) -> None:
        """Measures every layer on some samples, then decides about every layer."""
        self.layers.run(ledger)
        for layer in self.layers.order():
            entry = ledger.earlier("decision", layer)
            if entry is None:
                entry = self._decided(layer)
                ledger.add("decision", layer, entry)
            self._take(layer, entry)
            ledger.done(1)

    def _take(self, layer: str, entry: Entry) -> None:
        decision = Decision.model_validate(entry["decision"])
        self.decisions.append(decision)
        self.layers.learn(*changes_of_entry(entry))
        if decision.accepted:
            # Of the first one accepted, its sensitivity's samples are of the same configuration.
            before, now = NOTHING if self.accepted else self.layers.alone[layer], changes_of_entry(entry)
            self._seen = np.concatenate([before[0], now[0]]), np.concatenate([before[1], now[1]])
            self._drop = (decision.drop_pp or 0.0) * self.engine.n / 100
            self.accepted.append(layer)
            self.cache.accept(layer)
        else:
            self.cache.reject()

    def _decided(self, layer: str) -> Entry:
        """Looks at samples until one answer cannot be wrong by more than the zone."""
        # With nothing accepted yet, what was seen of the layer alone is of the same configuration.
        known = NOTHING if self.accepted else self.layers.alone[layer]
        distance = max(abs(self._drop + self.layers.drops[layer] - self.allowed), NEAREST * self.allowed)
        # What the accepted layers change, the layer's own changes come on top of.
        scale = self.layers.ratio(self.layers.alone[layer]) + self._ratio_accepted()
        sample = self.layers.sample(known, ToDecide(distance, self.needed), self.layers.random(2, layer), scale)
        if self.layers.sensitivities[layer].failed:
            return self._decision(layer, False, None, "not_finite", sample)
        if not self.accepted and (accepted := self._known(layer)) is not None:
            return self._decision(layer, accepted, self.layers.drops[layer], "known", sample)
        while True:
            answer = self._answer(sample)
            if answer is not None:
                return self._decision(layer, answer[0], self._drop_left(sample, answer[0]), answer[1], sample)
            if not self.layers.look(sample.next(SAMPLES_PER_LOOK), layer, self.accepted, sample):
                return self._decision(layer, False, None, "not_finite", sample)

    def _ratio_accepted(self) -> float:
        return self.layers.ratio(self._seen) if self.accepted else 0.0

    def _drop_left(self, sample: SampledDrop, accepted: bool) -> float:
        """The estimate, as far as the tests leave it possible."""
        if accepted:
            return min(sample.estimate(), self.allowed + self.zone)
        return max(sample.estimate(), self.allowed - self.zone + 1)

    def _known(self, layer: str) -> bool | None:
        """Decision by the interval of its sensitivity; None if that decides nothing."""
        low, high = self.layers.intervals[layer]
        if high < self.allowed + self.zone + 1:
            return True
        return False if low > self.allowed - self.zone else None

    def _answer(self, sample: SampledDrop) -> tuple[bool, Reason] | None:
        """Decision to accept or not, and why that is certain enough; None where it is not yet."""
        if sample.seen == self.engine.n:
            return round(sample.estimate()) <= self.allowed, "measured"
        accept = sample.log_wealth_below(self.allowed + self.zone + 1.0) >= self.needed
        if not accept and sample.log_wealth_above(self.allowed - self.zone) < self.needed:
            return None
        if not sample.seen:
            return accept, "early"
        # Either answer is excluded only where it is wrong by more than the zone; inside of it both are as good.
        inside = abs(self._drop_left(sample, accept) - self.allowed) <= self.zone
        return accept, "indifferent" if inside else "confident"

    def _decision(self, layer: str, accepted: bool, drop: float | None, reason: Reason, sample: SampledDrop) -> Entry:
        decision = Decision(
            layer=layer,
            index=self.engine.names.index(layer),
            accepted=accepted,
            drop_pp=None if drop is None else 100.0 * drop / self.engine.n,
            n=sample.seen,
            reason=reason,
        )
        return {"decision": decision.model_dump(), **entry_of_sample(sample)}
