"""Experiments compared sample by sample: a part of a run's record, and the record of `quantbench parity`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quantbench.records.base import Environment, Part, Record, agree, holds, is_share, read_versioned, unpack_bits
from quantbench.records.intervals import Limits, unlike_tango, unlike_wilson
from quantbench.records.parts import Accuracy
from quantbench.stats.paired import PairedOutcomes

# Of files of `quantbench parity`; raised with every change of their fields.
SCHEMA_VERSION = 1
ADVICE = "write it with: quantbench parity WORKLOAD --out FILE"


class Parity(Part):
    """An experiment against another one.

    Attributes:
        other: name of the other experiment.
        backend: of the other.
        accuracy: of both on the same samples; its `fp32` is the other's.
    """

    other: str
    backend: str
    accuracy: Accuracy

    def impossible(self) -> str | None:
        """See `Record.impossible`."""
        return self.accuracy.impossible()


class Side(Record):
    """One experiment on its samples.

    Attributes:
        name: that tells it from the others of the comparison.
        experiment: its id.
        engine: quantized engine of its backend.
        threads: of its evaluation.
        environment: that it was measured in.
        libraries: distributions whose kernels computed.
        sha256: of each file.
        size_bytes: of all files.
        n: samples.
        accuracy: share of them that are right.
        accuracy_interval: Wilson's.
        level: of the interval.
        correct: packed bits of the same, base64.
    """

    name: str
    experiment: str
    backend: str
    engine: str
    threads: int
    environment: Environment
    libraries: list[str]
    sha256: list[str]
    size_bytes: int
    n: int
    accuracy: float
    accuracy_interval: Limits
    level: float
    correct: str

    @property
    def bits(self) -> NDArray[np.bool_]:
        """Of each sample, `[n]`."""
        return unpack_bits(self.correct, self.n)

    def impossible(self) -> str | None:
        """An accuracy that is not that of its samples, or files without a byte."""
        try:
            matches = self.n > 0 and agree(float(self.bits.mean()), self.accuracy)
        except ValueError:
            matches = False
        if not matches:
            return f"an accuracy of {self.accuracy} that is not the one of its {self.n} samples"
        if self.size_bytes < 1 or not 0 < self.level < 1:
            return f"size_bytes {self.size_bytes} and level {self.level}"
        return unlike_wilson("accuracy_interval", self.accuracy_interval, self.accuracy, self.n, self.level)


class Speed(Record):
    """Forwards of both in interleaved rounds.

    Attributes:
        ratio: median of the base's time over the other's.
        interval: of it.
        level: of both intervals.
        rounds: that count.
        batch_size: samples of one forward.
        threads: of a forward.
        control: the base against itself in the same rounds.
        control_interval: of it.
        clock: whose times are compared.
        doubt: why the ratio decides nothing, in words; None where it may.
    """

    ratio: float
    interval: Limits
    level: float
    rounds: int
    batch_size: int
    threads: int
    control: float
    control_interval: Limits
    clock: Literal["wall", "processor"]
    doubt: str | None = None

    def impossible(self) -> str | None:
        """A ratio outside of its interval, or one that no times have."""
        for value, limits in ((self.ratio, self.interval), (self.control, self.control_interval)):
            if not (limits[0] > 0 and isfinite(limits[1]) and holds(limits, value)):
                return f"a ratio of {value} with an interval of {list(limits)}"
        return None if self.rounds > 0 and 0 < self.level < 1 else f"rounds {self.rounds} at level {self.level}"


class ScalePair(Record):
    """Scales of one tensor in both artifacts, the least and the largest of each.

    Attributes:
        layer: its name in the base.
        other_layer: its name in the other.
        matched_by: the layer's name, or its weights where the other file names none.
        part: of the layer.
        n: scales of the base, one for each output channel or one.
        ratio: of the other's scale to the base's.
    """

    layer: str
    other_layer: str
    matched_by: Literal["name", "weights"]
    part: Literal["weights", "outputs"]
    n: int
    other_n: int
    scale: Limits
    other_scale: Limits
    ratio: Limits
    zero_point: Limits
    other_zero_point: Limits

    def impossible(self) -> str | None:
        """Limits out of order, or a scale that is none."""
        ordered = (self.scale, self.other_scale, self.ratio, self.zero_point, self.other_zero_point)
        if any(not low <= high for low, high in ordered) or self.scale[0] <= 0 or self.other_scale[0] <= 0:
            return f"scales of {self.layer} ({self.part}) of {list(self.scale)} and {list(self.other_scale)}"
        return None


class Logits(Record):
    """Outputs of both on the same samples, element by element.

    Attributes:
        largest: absolute difference.
        rms: root of the mean square of the differences.
        range: largest absolute value of the base.
        note: why they say little, such as logits against probabilities.
    """

    largest: float
    rms: float
    range: float
    note: str = ""

    def impossible(self) -> str | None:
        """A mean that is larger than the largest."""
        if 0 <= self.rms <= self.largest * (1 + 1e-9) < float("inf") and self.range >= 0:
            return None
        return f"a largest difference of {self.largest} with a root mean square of {self.rms}"


class Difference(Record):
    """An experiment against the base.

    Attributes:
        name: see `Side`.
        lost: samples that the base answers right and this one does not.
        gained: the contrary.
        change_pp: accuracy gained, percentage points.
        interval_pp: Tango's, of the same.
        same: samples with the same answer; None where answers are not known.
        same_interval: Wilson's of their share.
        logits: None where outputs cannot be compared, or are not known.
        size_ratio: bytes over the base's.
        speed: None where nothing was timed.
        untimed: why not.
        scales: of layers in both.
        unmatched: lines about layers, or parts of them, that one has alone.
        no_scales: why none are compared.
    """

    name: str
    lost: int
    gained: int
    change_pp: float
    interval_pp: Limits
    level: float
    same: int | None
    same_interval: Limits | None
    logits: Logits | None
    size_ratio: float
    speed: Speed | None
    untimed: str = ""
    scales: list[ScalePair] = Field(default_factory=list)
    unmatched: list[str] = Field(default_factory=list)
    no_scales: str = ""

    def impossible(self) -> str | None:
        """Words of a part about itself, or an interval of another level."""
        for part in (self.logits, self.speed, *self.scales):
            if part is not None and (found := part.impossible()):
                return found
        if not 0 < self.level < 1 or not 0 < self.size_ratio < float("inf"):
            return f"level {self.level} and size_ratio {self.size_ratio}"
        if self.same_interval is not None and not is_share(*self.same_interval):
            return f"same_interval {list(self.same_interval)}"
        return None


class NotCompared(Record):
    """A backend or experiment that is left out.

    Attributes:
        failed: it was to be compared and could not; otherwise it does not run such recipes here.
    """

    name: str
    reason: str
    failed: bool


class ParityRecord(Record):
    """One comparison.

    Attributes:
        title: of what was compared.
        test_sha256: of the samples.
        sides: the base first.
        differences: of each other one, in the same order.
    """

    title: str
    workload: str
    data_name: str
    data_note: str
    test_sha256: str
    command: str
    sides: list[Side]
    differences: list[Difference]
    left_out: list[NotCompared] = Field(default_factory=list)

    def impossible(self) -> str | None:
        """Figures that are not those of the samples of both."""
        for side in self.sides:
            if words := side.impossible():
                return f"of '{side.name}' {words}"
        if not self.sides or [each.name for each in self.differences] != [each.name for each in self.sides[1:]]:
            return "sides and differences that are not of the same experiments"
        if len({each.n for each in self.sides}) > 1:
            return "sides with other numbers of samples"
        base = self.sides[0]
        for side, found in zip(self.sides[1:], self.differences, strict=True):
            if words := found.impossible() or _unlike(base, side, found):
                return f"of '{side.name}' {words}"
        return None


def _unlike(base: Side, side: Side, found: Difference) -> str | None:
    outcomes = PairedOutcomes.from_correct(side.bits, base.bits)
    if (found.gained, found.lost) != (outcomes.lost, outcomes.gained):
        return f"lost {found.lost} and gained {found.gained}, but its samples say {outcomes.gained} and {outcomes.lost}"
    size_ratio = side.size_bytes / base.size_bytes
    if not agree(found.change_pp, 100 * outcomes.drop) or not agree(found.size_ratio, size_ratio):
        return f"change_pp {found.change_pp} and size_ratio {found.size_ratio}, which are not those of its sides"
    if found.same is not None and found.same_interval is not None:
        share = found.same / side.n
        if words := unlike_wilson("same_interval", found.same_interval, share, side.n, found.level):
            return words
    return unlike_tango("interval_pp", found.interval_pp, outcomes, found.level)


class ParityFile(Record):
    """File that `quantbench parity --out` writes."""

    schema_version: int = SCHEMA_VERSION
    comparisons: list[ParityRecord]


def read_parity(path: Path) -> list[ParityRecord]:
    """The comparisons in a file.

    Raises:
        ConfigError: if it is missing, damaged, of something else or of another version, or holds what nothing could
            have measured.
    """
    found = read_versioned(ParityFile, path, SCHEMA_VERSION, ADVICE, again="compare again")
    return found.comparisons
