"""The card of an exported experiment: what its files are, how accurate they are, and what they were made from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field

from quantbench.errors import ConfigError
from quantbench.records.base import Environment, Record, agree, holds, read_versioned
from quantbench.records.intervals import Limits, unlike_tango, unlike_wilson
from quantbench.stats.paired import PairedOutcomes

# Of cards; raised with every change of their fields.
SCHEMA_VERSION = 2
SHA256 = re.compile(r"[0-9a-f]{64}")
NOT_STATED = "not stated"
ADVICE = "export it again with: quantbench export EXPERIMENT --out DIR"


class ExportedFile(Record):
    """One file of the folder.

    Attributes:
        name: its path within the folder.
        role: `artifact` for what was measured, `program` for what runs it, or what else it is.
    """

    name: str
    role: str
    size_bytes: int
    sha256: str

    def impossible(self) -> str | None:
        """A file without a byte, or a hash that is none."""
        if self.size_bytes > 0 and SHA256.fullmatch(self.sha256):
            return None
        return f"a file {self.name!r:.60} of {self.size_bytes} bytes with the sha256 {self.sha256!r:.80}"


class ExportedTensor(Record):
    """One input or output.

    Attributes:
        shape: None stands for any size; the first is the batch.
        scale: of integers that stand for real values, `(q − zero_point) · scale`; None for values as they are.
        zero_point: see `scale`.
    """

    name: str
    dtype: str
    shape: list[int | None]
    scale: float | None = None
    zero_point: int = 0


class ExportedAccuracy(Record):
    """Accuracy of a task whose scores are 0 and 1.

    Attributes:
        n: samples.
        accuracy: share of them that are right.
        reference_accuracy: of what it was quantized from, on the same samples.
        drop_pp: accuracy lost against it, percentage points.
        level: of the intervals: Wilson's of the accuracy, Tango's of the drop, or that of whole groups.
        clusters: groups that were resampled for the interval of the drop; None where samples are independent.
    """

    n: int
    accuracy: float
    accuracy_interval: Limits
    reference_accuracy: float
    lost: int
    gained: int
    drop_pp: float
    drop_interval_pp: Limits
    level: float
    clusters: int | None = Field(default=None, exclude_if=lambda clusters: clusters is None)

    def impossible(self) -> str | None:
        """Figures that are not those of its counts."""
        if self.n < 1 or not 0 < self.level < 1 or min(self.lost, self.gained) < 0 or self.lost + self.gained > self.n:
            return f"n {self.n}, lost {self.lost} and gained {self.gained} at level {self.level}"
        outcomes = PairedOutcomes(self.n, self.lost, self.gained)
        drop = self.reference_accuracy - self.accuracy
        if not agree(self.drop_pp, 100 * outcomes.drop) or not agree(100 * drop, self.drop_pp):
            return f"drop_pp {self.drop_pp}, but lost {self.lost} and gained {self.gained} of n {self.n}"
        if not holds(self.accuracy_interval, self.accuracy):
            return f"an accuracy of {self.accuracy} outside of its interval {list(self.accuracy_interval)}"
        if self.clusters is None and (
            wrong := unlike_tango("drop_interval_pp", self.drop_interval_pp, outcomes, self.level)
        ):
            return wrong
        if not holds(self.drop_interval_pp, self.drop_pp):
            return f"drop_pp {self.drop_pp} outside of its interval {list(self.drop_interval_pp)}"
        return unlike_wilson("accuracy_interval", self.accuracy_interval, self.accuracy, self.n, self.level)


class ExportedScore(Record):
    """Figure of a task whose scores are not 0 and 1.

    Attributes:
        task: its name.
        unit: of the figures.
        higher_is_better: a larger figure is a better one.
        n: samples.
        value: of what was exported.
        interval: of it; None where so few samples differ that they tell no limits.
        reference: figure of what it was quantized from, on the same samples.
        drop: lost against it, in the unit; positive is worse.
        drop_interval: of the drop; None likewise.
        level: of the intervals.
        method: of the interval of the drop.
    """

    task: str
    unit: str
    higher_is_better: bool
    n: int
    value: float
    interval: Limits | None
    reference: float
    drop: float
    drop_interval: Limits | None
    level: float
    method: str

    def impossible(self) -> str | None:
        """A drop that is not the one of the figures, or an interval without its estimate."""
        if self.n < 1 or not 0 < self.level < 1:
            return f"n {self.n} at level {self.level}"
        sign = 1 if self.higher_is_better else -1
        if not agree(self.drop, sign * (self.reference - self.value)):
            return f"a drop of {self.drop} from {self.reference} to {self.value}"
        for limits, value in ((self.interval, self.value), (self.drop_interval, self.drop)):
            if limits is not None and not holds(limits, value, 1e-9 * max(1.0, abs(value))):
                return f"an interval {list(limits)} that does not hold its estimate {value}"
        return None


class ExportCard(Record):
    """Everything that is known of an exported experiment.

    Attributes:
        recipe: in words of no library.
        backend: its name and parameters.
        requires: distribution → version, of what the program needs.
        inputs: as the artifact takes them.
        normalization: stored values → what the artifact is given, `(x / full_scale − mean) / std` for each channel;
            without `std` they are given as they are stored.
        classes: in the order of the outputs.
        test_sha256: of the samples that the figures are of.
        accuracy: of a task whose scores are 0 and 1; None of others.
        score: of other tasks.
        revision: of the project's sources, `commit` or `commit, with changes`; None under no version control.
        licence: of the weights.
    """

    schema_version: int = SCHEMA_VERSION
    experiment: str
    recipe: dict[str, Any]
    backend: dict[str, Any]
    files: list[ExportedFile]
    requires: dict[str, str]
    inputs: list[ExportedTensor]
    outputs: list[ExportedTensor]
    normalization: dict[str, Any]
    classes: list[str]
    data_name: str
    data_note: str
    test_sha256: str
    accuracy: ExportedAccuracy | None
    score: ExportedScore | None
    environment: Environment
    command: str
    revision: str | None
    licence: str

    def impossible(self) -> str | None:
        """A folder without an artifact, both figures or none of them, or one that cannot be."""
        if not any(each.role == "artifact" for each in self.files):
            return "no artifact among its files"
        if words := next((words for each in self.files if (words := each.impossible())), None):
            return words
        figures = [each for each in (self.accuracy, self.score) if each is not None]
        if len(figures) != 1:
            return f"{len(figures)} figures of its task; one is expected"
        return figures[0].impossible()


def read_export_card(path: Path) -> ExportCard:
    """The card of an exported folder, whose files are those that it names.

    Raises:
        ConfigError: if it is missing, damaged, of something else or of another version, or a file of the folder is not
            the one that it was written for.
    """
    from quantbench.files import sha256_of_file

    card = read_versioned(ExportCard, path, SCHEMA_VERSION, ADVICE)
    for each in card.files:
        try:
            found = sha256_of_file(path.parent / each.name)
        except OSError as error:
            raise ConfigError(f"{path.parent / each.name}: cannot be read ({error.strerror}); {ADVICE}") from None
        if found != each.sha256:
            raise ConfigError(
                f"{path.parent / each.name}: is not the file that was exported: its sha256 is {found[:16]}…, and "
                f"{each.sha256[:16]}… on the card; {ADVICE}"
            )
    return card
