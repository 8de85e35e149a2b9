"""Record of an ablation: every row's training and its correctness on each test sample, as checked JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import ConfigError
from quantbench.records.base import Environment, Record, agree, holds, is_share, read_json, read_versioned, unpack_bits
from quantbench.records.intervals import unlike_tango, unlike_wilson
from quantbench.stats.paired import PairedOutcomes
from quantbench.stats.ranking import neighbours

# Of files of ablations; raised with every change of their fields.
SCHEMA_VERSION = 1
# Figure of a row → its interval.
INTERVALS = {
    "accuracy": "accuracy_interval",
    "validation_accuracy": "validation_interval",
    "difference_pp": "difference_interval_pp",
}


class TrainedRow(Record):
    """One finished training, whatever the row is called that asked for it.

    Attributes:
        key: hash of all that decides the result: settings, model, data, code.
        training: every setting.
        n_train: samples.
        n_validation: samples held out, by which the best epoch was chosen; 0: the last epoch's weights were taken.
        n_test: samples.
        correct: packed bits of per-sample correctness on the test split, base64, most significant bit first.
        loss: mean on it, nats for cross entropy; None for a task without one.
        history: one entry per epoch, as on a card.
        best_epoch: counted from 1; None without validation.
        duration_s: of all epochs.
        threads: intra-operator threads; another number gives other bits.
        amp: what ran in lower precision, in words; None where nothing did.
    """

    key: str
    training: dict[str, Any]
    n_train: int
    n_validation: int
    n_test: int
    correct: str
    loss: float | None
    history: list[dict[str, float]]
    best_epoch: int | None
    duration_s: float
    threads: int
    environment: Environment
    amp: str | None = None

    @property
    def bits(self) -> NDArray[np.bool_]:
        """Correctness of each test sample, bool, `[n_test]`."""
        return unpack_bits(self.correct, self.n_test)


class RowRecord(Record):
    """A row of the table.

    Attributes:
        changes: training keys that the row sets.
        published: accuracy that the source gives, per cent.
        failed: why there is no result; None where there is one.
        trained: the result.
        accuracy: on the test split, 0..1.
        accuracy_interval: Wilson interval of it, 0..1.
        validation_accuracy: at the best epoch, 0..1; None where nothing was held out.
        validation_interval: Wilson interval of it, 0..1.
        difference_pp: accuracy minus the first row's on the same samples, percentage points; None for the first row.
        difference_interval_pp: Tango's score interval of it.
    """

    name: str
    changes: dict[str, Any]
    published: float | None
    failed: str | None = None
    trained: TrainedRow | None = None
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    validation_accuracy: float | None = None
    validation_interval: tuple[float, float] | None = None
    difference_pp: float | None = None
    difference_interval_pp: tuple[float, float] | None = None

    def impossible(self) -> str | None:
        """An accuracy that is not the one of its samples, or a figure outside of its interval."""
        for name, scale in (("accuracy", 1.0), ("validation_accuracy", 1.0), ("difference_pp", 100.0)):
            figure = getattr(self, name)
            limits = getattr(self, INTERVALS[name])
            if figure is None and limits is None:
                continue
            least = -scale if name == "difference_pp" else 0.0
            if None in (figure, limits) or not (least <= limits[0] and limits[1] <= scale and holds(limits, figure)):
                return f"{name} {figure} with an interval of {limits}"
        if self.trained and _is_whole(self.trained) and self.accuracy is not None:
            found = float(self.trained.bits.mean())
            if not agree(self.accuracy, found):
                return f"accuracy {self.accuracy}, but its bits say {found}"
        return None


class PairRecord(Record):
    """Two rows that follow each other in a ranking.

    Attributes:
        upper: name of the row ranked higher.
        lower: name of the next one.
        difference_pp: accuracy of the upper minus the lower's on the same test samples, percentage points.
        interval_pp: Tango's score interval of it; together the intervals of all pairs hold at the ablation's level.
        separated: whether it leaves out 0.
    """

    upper: str
    lower: str
    difference_pp: float
    interval_pp: tuple[float, float]
    separated: bool

    def impossible(self) -> str | None:
        """A difference outside of its interval, or one that is said to be separated and is not."""
        low, high = self.interval_pp
        if not (-100 <= low <= high <= 100 and holds(self.interval_pp, self.difference_pp)):
            return f"difference_pp {self.difference_pp} with interval_pp [{low}, {high}]"
        if self.separated != (low > 0 or high < 0):
            return f"separated {self.separated} with interval_pp [{low}, {high}]"
        return None

    def shown(self) -> str:
        """Names and figures in words."""
        low, high = self.interval_pp
        rows = f"{self.upper!r:.60} and {self.lower!r:.60}"
        return f"{rows} with difference_pp {self.difference_pp:g} and interval_pp [{low:g}, {high:g}]"

    def is_like(self, other: PairRecord) -> bool:
        """True for the same rows with the same figures but for rounding."""
        return (self.upper, self.lower) == (other.upper, other.lower) and all(
            agree(one, two)
            for one, two in zip(
                (self.difference_pp, *self.interval_pp), (other.difference_pp, *other.interval_pp), strict=True
            )
        )


class AblationRecord(Record):
    """A whole ablation.

    Attributes:
        published: what the published figures are of.
        level: of all intervals.
        ranked_by: `published` where rows have published figures, else `measured`.
        pairs: neighbours in that ranking.
        tau: Kendall's tau-b between the published and our accuracies; None where they cannot be compared.
        p_value: of it, if the two rankings were unrelated.
        n_ranked: rows that have both.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    workload: str
    published: str
    data_name: str
    data_note: str
    data_sha256: dict[str, str]
    level: float
    command: str
    rows: list[RowRecord]
    ranked_by: str
    pairs: list[PairRecord]
    tau: float | None
    p_value: float | None
    n_ranked: int

    def impossible(self) -> str | None:
        """A coefficient, a probability or a count that there cannot be, or figures that are not those of the rows."""
        if self.tau is not None and not -1 <= self.tau <= 1:
            return f"tau {self.tau}"
        if not (0 < self.level < 1 and is_share(self.p_value or 0.0) and 0 <= self.n_ranked <= len(self.rows)):
            return f"level {self.level}, p_value {self.p_value} and n_ranked {self.n_ranked} of {len(self.rows)} rows"
        # Those that contradict themselves are told by their own name.
        if any(row.impossible() or (row.trained and not _is_whole(row.trained)) for row in self.rows):
            return None
        if any(pair.impossible() for pair in self.pairs):
            return None
        return self._unlike_rows()

    def _unlike_rows(self) -> str | None:
        """Intervals, pairs or a ranking that are not those of the samples of its rows."""
        bits = {row.name: row.trained.bits for row in self.rows if row.trained}
        if len({len(each) for each in bits.values()}) > 1 or len({row.name for row in self.rows}) != len(self.rows):
            return "rows of different test samples, or of one name"
        first = bits.get(self.rows[0].name) if self.rows else None
        for row in self.rows:
            if words := self._unlike_counts(row, first):
                return f"of row {row.name!r:.60} {words}"
        ranked_by, pairs = ranked(self.rows, self.level)
        if ranked_by != self.ranked_by or len(pairs) != len(self.pairs):
            told = f"{len(self.pairs)} pairs ranked_by {self.ranked_by!r:.60}"
            return f"{told}, but its rows make {len(pairs)} of {ranked_by!r}"
        for own, found in zip(self.pairs, pairs, strict=True):
            if not own.is_like(found):
                return f"a pair of {own.shown()}, but its rows say {found.shown()}"
        n_both = sum(row.published is not None and row.accuracy is not None for row in self.rows)
        return f"n_ranked {self.n_ranked}, but {n_both} of its rows have both" if n_both != self.n_ranked else None

    def _unlike_counts(self, row: RowRecord, first: NDArray[np.bool_] | None) -> str | None:
        """Limits of a row that are not those of its samples, or of its validation."""
        trained, level = row.trained, self.level
        if trained is None:
            return None if row.accuracy is None else f"accuracy {row.accuracy} without a training"
        if row.accuracy is None or row.accuracy_interval is None:
            return "a training without an accuracy"
        words = unlike_wilson("accuracy_interval", row.accuracy_interval, row.accuracy, trained.n_test, level)
        if not words and row.validation_accuracy is not None and row.validation_interval is not None:
            n = trained.n_validation
            if n < 1:
                return f"validation_accuracy {row.validation_accuracy} of n_validation {n}"
            words = unlike_wilson("validation_interval", row.validation_interval, row.validation_accuracy, n, level)
        if words or row.difference_pp is None or row.difference_interval_pp is None:
            return words
        if first is None:
            return f"difference_pp {row.difference_pp} to a first row without a training"
        outcomes = PairedOutcomes.from_correct(before=trained.bits, after=first)
        if not agree(row.difference_pp, 100 * outcomes.drop):
            return f"difference_pp {row.difference_pp}, but its samples say {100 * outcomes.drop}"
        return unlike_tango("difference_interval_pp", row.difference_interval_pp, outcomes, level)


def ranked(rows: Sequence[RowRecord], level: float) -> tuple[str, list[PairRecord]]:
    """Neighbours in the published ranking, or in ours where fewer than two figures were published.

    Args:
        rows: of one ablation, on the same test samples.
        level: of all intervals together.

    Returns:
        The word for the ranking, and its pairs.
    """
    done = [row for row in rows if row.trained]
    published = [row for row in done if row.published is not None]
    by_published = len(published) > 1
    compared = published if by_published else done
    word = "published" if by_published else "measured"
    if len(compared) < 2:
        return word, []
    bits = [row.trained.bits for row in compared if row.trained]
    values = [row.published for row in compared if row.published is not None]
    return word, [
        PairRecord(
            upper=compared[each.upper].name,
            lower=compared[each.lower].name,
            difference_pp=100 * each.difference,
            interval_pp=(100 * each.interval.low, 100 * each.interval.high),
            separated=each.separated,
        )
        for each in neighbours(bits, values if by_published else None, level)
    ]


def read_ablation(path: Path) -> AblationRecord:
    """The record of an ablation, as `quantbench ablate` writes it.

    Raises:
        ConfigError: if the file is missing, damaged, of something else or of another version.
    """
    advice = "write it with: quantbench ablate <ablation file>"
    record = read_versioned(AblationRecord, path, SCHEMA_VERSION, advice)
    for row in record.rows:
        if row.trained and not _is_whole(row.trained):
            raise ConfigError(f"{path}: rows.{row.name}: its samples or its history are not whole; {advice}")
    return record


def _is_whole(row: TrainedRow) -> bool:
    """True if there are as many bits as samples, and a history."""
    try:
        n_bits = len(row.bits)
    except ValueError:
        return False
    is_epoch = row.best_epoch is None or 0 < row.best_epoch <= len(row.history)
    return 0 < n_bits == row.n_test and len(row.history) > 0 and is_epoch


def read_trained(path: Path, key: str) -> TrainedRow:
    """The training kept in a file.

    Raises:
        ConfigError: if the file is missing, damaged, of something else, or holds what no training could have had.
    """
    row = read_json(TrainedRow, path, ConfigError, "it is trained again")
    if row.key != key or not _is_whole(row):
        raise ConfigError(f"{path}: is not the training it is named after; it is trained again")
    return row
