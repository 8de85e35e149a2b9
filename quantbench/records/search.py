"""Records of a sensitivity analysis and of a mixed-precision search, as checked JSON."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantbench.records.base import Environment, Record, unpack_bits
from quantbench.records.run import Accuracy

# Of files of searches; raised with every change of their fields.
SCHEMA_VERSION = 1
# Why a decision is certain. `measured`: every sample was seen. `early`: whatever the rest had shown, it would not have
# changed. `known`: the configuration had been measured before. `not_finite`: logits were NaN or infinite, so it is
# rejected. `confident`: a confidence sequence excludes that the answer is wrong by more than the indifference zone
# around ε. `indifferent`: the same, and the drop is estimated to be within that zone, where either answer is as good.
Reason = Literal["measured", "early", "known", "not_finite", "confident", "indifferent"]


class LayerCost(Record):
    """Multiply-accumulates and weights of one layer.

    Attributes:
        name: as in the model.
        macs: multiply-accumulates for one sample.
        weights: how many.
        weight_bits: of each of them.
        inputs: elements of its input, for one sample.
    """

    name: str
    macs: int
    weights: int
    weight_bits: int
    inputs: int


class LayerSensitivity(Record):
    """One layer at its low width, all others at their high one.

    Attributes:
        layer: its name.
        index: among the switchable layers, from 0.
        n: samples on which the drop was measured; fewer than the split has in adaptive mode.
        lost: right with all layers high, wrong now.
        gained: the other way round.
        drop_pp: accuracy lost, percentage points; an estimate in adaptive mode.
        drop_interval_pp: Tango's score interval; a confidence sequence's in adaptive mode.
        correct: packed bits of per-sample correctness, base64; None in adaptive mode.
        output_sqnr_db: of the layer's output, low against high on the same input; None for no difference at all.
        logits_sqnr_db: of the logits.
        logits_kl: Kullback-Leibler divergence of the softmax of the logits from that with all layers high, nats, mean.
        failed: why there is no figure, such as logits that are NaN; empty where there are.
    """

    layer: str
    index: int
    n: int
    lost: int
    gained: int
    drop_pp: float
    drop_interval_pp: tuple[float, float]
    correct: str | None
    output_sqnr_db: float | None
    logits_sqnr_db: float | None
    logits_kl: float | None
    failed: str = ""

    @property
    def bits(self) -> NDArray[np.bool_]:
        """Correctness of each sample, bool, `[n]`; empty in adaptive mode."""
        return unpack_bits(self.correct, self.n) if self.correct is not None else np.zeros(0, np.bool_)


class Decision(Record):
    """One layer tried at its low width on top of those already accepted.

    Attributes:
        drop_pp: total accuracy lost against all layers high, percentage points; of an early rejection what is lost for
            certain, however the rest comes out; an estimate in adaptive mode; None if not finite.
        n: samples seen.
        reason: why that suffices.
    """

    layer: str
    index: int
    accepted: bool
    drop_pp: float | None
    n: int
    reason: Reason


class SearchRecord(Record):
    """A whole search.

    Attributes:
        experiment: `<workload>/<experiment>` whose checkpoint was searched.
        mode: `exact`, or `adaptive` with the risk `delta` of any wrong decision outside the zone.
        split: on which was searched, and its content hash.
        epsilon_pp: total drop that is accepted, percentage points.
        high: width of every layer at the start.
        low: width that layers are tried at.
        layers: switchable ones, in order.
        accuracy: on the split with all layers high, 0..1.
        bits: what was found, one width per layer.
        macs_spent: multiply-accumulates of the whole search.
        macs_naive: of the published way: one pass, one for each sensitivity and one for each decision.
        memory_bytes: most that values kept between forwards took; of a search that was continued, in its last part.
        confirmed: what was found against all layers high, on the reporting split; None if that was not asked for.
    """

    schema_version: int = SCHEMA_VERSION
    experiment: str
    mode: Literal["exact", "adaptive"]
    delta: float | None
    split: str
    split_sha256: str
    checkpoint_sha256: str
    n: int
    epsilon_pp: float
    high: int
    low: int
    layers: list[LayerCost]
    accuracy: float
    sensitivities: list[LayerSensitivity]
    decisions: list[Decision]
    bits: list[int]
    macs_spent: int
    macs_naive: int
    seconds: float
    memory_bytes: int
    confirmed: Accuracy | None
    environment: Environment
    command: str


class SensitivityRecord(Record):
    """The sensitivity of every layer, without a search.

    Attributes:
        experiment: `<workload>/<experiment>` whose checkpoint was measured.
        split: on which was measured, and its content hash.
        high: width of every layer but one.
        low: width of that one.
        layers: switchable ones, in order.
        accuracy: on the split with all layers high, 0..1.
    """

    schema_version: int = SCHEMA_VERSION
    experiment: str
    split: str
    split_sha256: str
    checkpoint_sha256: str
    n: int
    high: int
    low: int
    layers: list[LayerCost]
    accuracy: float
    sensitivities: list[LayerSensitivity]
    environment: Environment
    command: str


class BudgetRecord(SensitivityRecord):
    """The configuration that loses least within a budget, by measured sensitivities that are taken to add up.

    Attributes:
        measure: what is limited: `average bits`, `bytes` or `bit operations`.
        limit: in that unit.
        bits: what was found, one width per layer.
        predicted_pp: drop of it, if drops add up, percentage points.
        confirmed: what was found against all layers high, on the reporting split.
    """

    measure: str
    limit: float
    bits: list[int]
    predicted_pp: float
    confirmed: Accuracy | None
