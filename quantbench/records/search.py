"""Records of a sensitivity analysis and of a mixed-precision search, as checked JSON."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quantbench.records.base import Environment, Record, agree, is_share, unpack_bits
from quantbench.records.intervals import unlike_tango
from quantbench.records.run import Accuracy
from quantbench.stats.paired import PairedOutcomes

# Of files of searches; raised with every change of their fields.
SCHEMA_VERSION = 2
# Percentage points by which a drop of whole samples may exceed ε, which is given in hundredths.
EPSILON_ROUNDING = 1e-6
# Of the intervals of layers that were measured on every sample.
LEVEL = 0.95
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

    def impossible(self) -> str | None:
        """More samples than there are, a drop outside of its interval or one that is not that of the samples."""
        if not (self.n > 0 and min(self.lost, self.gained) >= 0 and self.lost + self.gained <= self.n):
            return f"lost {self.lost} and gained {self.gained} of n {self.n}"
        if self.failed:
            return None
        low, high = self.drop_interval_pp
        if not -100 <= low <= self.drop_pp <= high <= 100:
            return f"drop_pp {self.drop_pp} with drop_interval_pp [{low}, {high}]"
        if self.correct is None:
            return None
        if not agree(self.drop_pp, 100 * (self.lost - self.gained) / self.n):
            return f"drop_pp {self.drop_pp}, but lost {self.lost} and gained {self.gained} of n {self.n}"
        try:
            right = int(self.bits.sum())
        except ValueError as error:
            return f"correct: {error}"
        if not self.gained <= right <= self.n - self.lost:
            return f"correct with {right} of n {self.n} right, but lost {self.lost} and gained {self.gained}"
        counts = PairedOutcomes(self.n, self.lost, self.gained)
        return unlike_tango("drop_interval_pp", self.drop_interval_pp, counts, LEVEL)

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


class FoundArtifact(Record):
    """The outcome of a search, quantized by the backend itself and loaded by a fresh process.

    Attributes:
        recipe: that makes it, as an experiment names it.
        backend: of the experiment.
        sha256: of its first file.
        size_bytes: of all files.
        reload_identical: the fresh process gave the same outputs, bit by bit.
        accuracy: its own against all layers high, on the samples that `confirmed` is of.
        otherwise: samples that it gets right and the model that was searched wrong, or the other way round.
    """

    recipe: dict[str, Any]
    backend: str
    sha256: str
    size_bytes: int
    reload_identical: bool
    accuracy: Accuracy
    otherwise: int


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
        artifact: the same by the backend's own kernels; None where a recipe cannot name such layers.
        full_passes: why each trial was a forward of the whole model; empty where values were kept between forwards.
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
    artifact: FoundArtifact | None = None
    full_passes: str = ""
    environment: Environment
    command: str

    def impossible(self) -> str | None:
        """Widths that are not those of its decisions, or figures that are not those of its layers."""
        return _unlike_layers(self) or _unlike_decisions(self)


class SensitivityRecord(Record):
    """The sensitivity of every layer, without a search.

    Attributes:
        experiment: `<workload>/<experiment>` whose checkpoint was measured.
        split: on which was measured, and its content hash.
        high: width of every layer but one.
        low: width of that one.
        layers: switchable ones, in order.
        accuracy: on the split with all layers high, 0..1.
        full_passes: why each trial was a forward of the whole model; empty where values were kept between forwards.
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
    full_passes: str = ""
    environment: Environment
    command: str

    def impossible(self) -> str | None:
        """Figures that are not those of its layers."""
        return _unlike_layers(self)


class BudgetRecord(SensitivityRecord):
    """The configuration that loses least within a budget, by measured sensitivities that are taken to add up.

    Attributes:
        measure: what is limited: `average bits`, `bytes` or `bit operations`.
        limit: in that unit.
        bits: what was found, one width per layer.
        predicted_pp: drop of it, if drops add up, percentage points.
        confirmed: what was found against all layers high, on the reporting split.
        artifact: the same by the backend's own kernels; None where a recipe cannot name such layers.
    """

    measure: str
    limit: float
    bits: list[int]
    predicted_pp: float
    confirmed: Accuracy | None
    artifact: FoundArtifact | None = None

    def impossible(self) -> str | None:
        """Widths that no layer has, or figures that are not those of its layers."""
        return _unlike_layers(self) or _other_widths(self)


def _unlike_layers(record: SearchRecord | SensitivityRecord) -> str | None:
    """Sensitivities of other layers or samples, widths out of order, or an accuracy that is not that of the samples."""
    names = [layer.name for layer in record.layers]
    if [each.layer for each in record.sensitivities] != names or len(set(names)) != len(names):
        return f"sensitivities of {len(record.sensitivities)} layers that are not its {len(names)} layers"
    if not (0 < record.low < record.high and record.n > 0 and is_share(record.accuracy)):
        return f"low {record.low}, high {record.high}, n {record.n} and accuracy {record.accuracy}"
    for each in record.sensitivities:
        if words := each.impossible():
            return f"of layer {each.layer!r:.60} {words}"
        if each.n > record.n or (each.correct is not None and each.n != record.n):
            return f"of layer {each.layer!r:.60} n {each.n}, but n {record.n}"
        if each.correct is not None and not each.failed:
            accuracy = (int(each.bits.sum()) + each.lost - each.gained) / each.n
            if not agree(accuracy, record.accuracy):
                return f"accuracy {record.accuracy}, but the bits of layer {each.layer!r:.60} say {accuracy}"
    if least := next((each for each in record.layers if min(each.macs, each.weights, each.inputs) < 0), None):
        return f"layer {least.name!r:.60} with less than no work, weights or inputs"
    return None


def _other_widths(record: SearchRecord | BudgetRecord) -> str | None:
    if len(record.bits) != len(record.layers) or not set(record.bits) <= {record.low, record.high}:
        return f"bits {record.bits!r:.80} for {len(record.layers)} layers of {record.low} or {record.high} bits"
    return None


def _unlike_decisions(record: SearchRecord) -> str | None:
    """Widths that its decisions do not lead to, and a drop that was accepted although it is above ε."""
    if words := _other_widths(record):
        return words
    names = [layer.name for layer in record.layers]
    for each in record.decisions:
        if not 0 <= each.index < len(names) or names[each.index] != each.layer or not 0 <= each.n <= record.n:
            return f"a decision on layer {each.layer!r:.60} with index {each.index} and n {each.n}"
        if not each.accepted:
            continue
        if each.drop_pp is None:
            return f"a decision on layer {each.layer!r:.60} that is accepted without drop_pp"
        if record.mode == "exact" and each.drop_pp > record.epsilon_pp + EPSILON_ROUNDING:
            return f"drop_pp {each.drop_pp} accepted for layer {each.layer!r:.60}, but epsilon_pp {record.epsilon_pp}"
    accepted = {each.layer for each in record.decisions if each.accepted}
    if len({each.layer for each in record.decisions}) != len(record.decisions) or accepted != {
        name for name, bits in zip(names, record.bits, strict=True) if bits == record.low
    }:
        return f"bits {record.bits!r:.80} that are not those of its {len(record.decisions)} decisions"
    if not (0 <= record.epsilon_pp <= 100 and (record.delta is None or 0 < record.delta < 1)):
        return f"epsilon_pp {record.epsilon_pp} and delta {record.delta}"
    if min(record.macs_spent, record.macs_naive, record.memory_bytes) < 0 or record.seconds < 0:
        return "macs_spent, macs_naive, memory_bytes or seconds below zero"
    return None
