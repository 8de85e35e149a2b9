"""The record of a blame: errors layer by layer, what was put back, causes, and the sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from quantbench.records.base import Environment, Record, holds, is_share, read_versioned
from quantbench.records.intervals import Limits

# Of files of `quantbench blame`; raised with every change of their fields.
SCHEMA_VERSION = 1
ADVICE = "write it with: quantbench blame EXPERIMENT --json FILE"
Outcome = Literal["layer", "layers", "spread", "elsewhere", "unexplained", "too_little", "nothing"]


class CauseRecord(Record):
    """A cause that was checked.

    Attributes:
        kind: of the table of causes.
        share: of the layer's own error that it makes up, 0..1.
        words: with figures.
        advice: what to change; empty without any.
    """

    kind: str
    share: float
    words: str
    advice: str

    def impossible(self) -> str | None:
        """A part that is none."""
        return None if is_share(self.share) else f"a cause '{self.kind}' with a share of {self.share}"


class LayerBlame(Record):
    """One layer beside the reference's.

    Attributes:
        name: in the candidate.
        op: operator or type of module; `input` for the model's input.
        quantized: it has a quantizer.
        propagated_db: signal to quantization noise of its results as it runs, decibels.
        local_db: the same from the reference's inputs.
        weights_db: the same before its results are rounded.
        largest_error: of its results from the reference's inputs.
        mean_error: absolute.
        range: of its quantizer; None where its results stay real numbers.
        needed: range of the reference's results.
        clipped: part of them beyond the range, 0..1.
        removed: part of the error of the outputs that goes when it alone is put back; None where that was not
            measured.
        causes: of its own error, of the layers that were looked into; the largest part first.
    """

    name: str
    op: str
    quantized: bool
    propagated_db: float
    local_db: float
    weights_db: float
    largest_error: float
    mean_error: float
    range: Limits | None
    needed: Limits
    clipped: float
    removed: float | None = None
    causes: list[CauseRecord] = Field(default_factory=list)

    def impossible(self) -> str | None:
        """A share that is none."""
        if not is_share(self.clipped) or self.needed[0] > self.needed[1]:
            return f"a layer with {self.clipped} of its results clipped and the range {list(self.needed)}"
        return next((words for each in self.causes if (words := each.impossible())), None)


class Trial(Record):
    """Some layers put back, and the task measured again.

    Attributes:
        layers: all put back at once; empty for every layer of the model.
        n: test samples.
        recovered: of what is lost, in the record's unit.
        interval: of it; None where the samples tell none.
        level: of the interval, corrected for the layers that might have been tried.
        complete: all test samples were taken; others were given up early.
    """

    layers: list[str]
    n: int
    recovered: float
    interval: Limits | None
    level: float
    complete: bool

    def impossible(self) -> str | None:
        """An estimate outside of its interval, or no sample."""
        if self.n < 1 or not 0 < self.level < 1:
            return f"a trial of {self.n} samples at level {self.level}"
        if self.interval is not None and not holds(self.interval, self.recovered):
            return f"{self.recovered} recovered, outside of {list(self.interval)}"
        return None


class BlameRecord(Record):
    """The layer that makes a candidate worse, why, and how much.

    Attributes:
        experiment: its id.
        unit: of what is lost: `pp`, or that of the task.
        reference: its figure.
        candidate: its figure.
        drop: positive is worse.
        drop_interval: of it; None where the samples tell none.
        level: of that interval.
        n: test samples.
        found_on: calibration samples and test samples, without their labels, that layers were compared on.
        outcome: `layer`: one is responsible; `layers`: some together; `spread`: only all together; `elsewhere`: not
            even all together; `unexplained`: what was tried explains nothing; `too_little`: so little is lost that so
            many samples confirm no layer, and none was tried; `nothing`: nothing is surely lost.
        responsible: names of the layers.
        sentence: all of it in one.
        layers: in the order in which they run.
        trials: in the order in which they were made.
        unmatched: layers of the candidate that the reference has not in that place.
        notes: lines about what was done or left out.
        passes: forwards of all kinds, in passes over the test set.
        seconds: that it took.
    """

    experiment: str
    backend: str
    unit: str
    reference: float
    candidate: float
    drop: float
    drop_interval: Limits | None
    level: float
    n: int
    found_on: tuple[int, int]
    outcome: Outcome
    responsible: list[str]
    sentence: str
    layers: list[LayerBlame]
    trials: list[Trial]
    unmatched: list[str]
    notes: list[str]
    passes: float
    seconds: float
    command: str
    environment: Environment

    def impossible(self) -> str | None:
        """A layer that is blamed and not there, or a drop outside of its interval."""
        known = {each.name for each in self.layers}
        if unknown := next((each for each in self.responsible if each not in known), None):
            return f"the responsible layer '{unknown}', which is not among its layers"
        if self.drop_interval is not None and not holds(self.drop_interval, self.drop):
            return f"a drop of {self.drop}, outside of {list(self.drop_interval)}"
        parts = (*self.layers, *self.trials)
        return next((words for each in parts if (words := each.impossible())), None)


class BlameFile(Record):
    """File that `quantbench blame --json` writes."""

    schema_version: int = SCHEMA_VERSION
    blames: list[BlameRecord]


def read_blames(path: Path) -> list[BlameRecord]:
    """The records of a file.

    Raises:
        ConfigError: if it is no such file, with one line per mistake.
    """
    return read_versioned(BlameFile, path, SCHEMA_VERSION, ADVICE).blames
