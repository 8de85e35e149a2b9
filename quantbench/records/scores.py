"""Scores of two models on the same samples, as a part of a record, and the compact form in which scores are kept."""

from __future__ import annotations

import base64
import zlib
from math import isfinite
from typing import TYPE_CHECKING

from pydantic import Field

from quantbench.records.base import Part, agree, holds
from quantbench.records.samples import Samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Limits = tuple[float, float]
WHOLE = ("u1", "u2", "u4")
# Numbers that are read of one record.
LARGEST = 1 << 26


class Score(Part):
    """Both models on the same test samples, of a task whose scores are not 0 and 1.

    Attributes:
        task: its name.
        unit: of the figures.
        higher_is_better: a larger figure is a better one.
        n: samples.
        reference: figure of the reference.
        candidate: figure of the candidate.
        drop: what is lost, in the unit; positive is worse.
        interval: of the drop; None where so few samples differ that they tell no limits.
        strict: the wider one that a FAIL needs where many gates share a session's false alarms; None likewise.
        candidate_interval: of the candidate's figure; None likewise.
        candidate_strict: the wider one of it.
        level: of the intervals.
        strict_level: of the wider ones.
        method: of the interval of the drop.
        changed: samples whose score differs.
        clusters: groups of samples that were resampled as wholes; None where samples are independent.
        detectable: the least drop that the test set could detect with a power of 80 %; None where nothing tells.
        reference_scores: of each sample, or its statistics, packed.
        candidate_scores: the same of the candidate.
        samples: how many were looked at of how many, of a run that may stop before the last; the scores are then in the
            order in which they were.
    """

    task: str
    unit: str
    higher_is_better: bool
    n: int
    reference: float
    candidate: float
    drop: float
    interval: Limits | None
    strict: Limits | None
    candidate_interval: Limits | None
    candidate_strict: Limits | None
    level: float
    strict_level: float
    method: str
    changed: int
    clusters: int | None = None
    detectable: float | None
    reference_scores: str
    candidate_scores: str
    samples: Samples | None = Field(default=None, exclude_if=lambda samples: samples is None)

    def impossible(self) -> str | None:
        """An interval without its estimate, a drop that is not the one of the figures, or scores of other samples."""
        if not all(isfinite(each) for each in (self.reference, self.candidate, self.drop)):
            return f"figures {self.reference} and {self.candidate} with a drop of {self.drop}"
        sign = 1 if self.higher_is_better else -1
        if not agree(self.drop, sign * (self.reference - self.candidate)):
            return f"a drop of {self.drop} from {self.reference} to {self.candidate}"
        for limits, value in (
            (self.interval, self.drop), (self.strict, self.drop),
            (self.candidate_interval, self.candidate), (self.candidate_strict, self.candidate),
        ):  # fmt: skip
            if limits is not None and not holds(limits, value, 1e-9 * max(1.0, abs(value))):
                return f"an interval {limits} that does not hold its estimate {value}"
        if not (0 < self.level <= self.strict_level < 1 and 0 <= self.changed <= self.n):
            return f"{self.changed} of {self.n} samples changed, at level {self.level} and {self.strict_level}"
        if self.detectable is not None and self.detectable < 0:
            return f"a detectable drop of {self.detectable}"
        if self.samples is not None and (wrong := self.samples.impossible_of(self.n)):
            return wrong
        for packed in (self.reference_scores, self.candidate_scores):
            try:
                unpack_scores(packed, self.n)
            except ValueError as error:
                return f"scores that cannot be read ({error})"
        return None


def pack_scores(scores: NDArray[np.float64]) -> str:
    """Scores `[n]`, or statistics `[n, k]`, as `<type of each column>:<base64>`, compressed.

    Whole numbers are kept exactly, scores in single precision, and other statistics in double, since a figure may be a
    small difference of large ones.

    Example:
        >>> import numpy as np
        >>> unpack_scores(pack_scores(np.array([1.0, 0.0, 7.0])), 3).tolist()
        [[1.0], [0.0], [7.0]]
    """
    import numpy as np

    columns = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1).T
    other = "f4" if len(columns) == 1 else "f8"
    kinds = [next((kind for kind in WHOLE if _fits(column, np.iinfo(kind).max)), other) for column in columns]
    raw = b"".join(column.astype(f"<{kind}").tobytes() for column, kind in zip(columns, kinds, strict=True))
    return f"{','.join(kinds)}:{base64.b64encode(zlib.compress(raw, 9)).decode('ascii')}"


def unpack_scores(packed: str, n: int) -> NDArray[np.float64]:
    """The reverse of `pack_scores`, `[n, k]`.

    Raises:
        ValueError: if these are not the scores of `n` samples.
    """
    import numpy as np

    names, _, text = packed.partition(":")
    kinds = names.split(",")
    if not set(kinds) <= {*WHOLE, "f4", "f8"} or not 0 < len(kinds) * n <= LARGEST:
        raise ValueError(f"begins with {packed[:20]!r}")
    size = n * sum(np.dtype(kind).itemsize for kind in kinds)
    try:
        reader = zlib.decompressobj()
        raw = reader.decompress(base64.b64decode(text, validate=True), size + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"not base64 of compressed bytes ({error})") from None
    if len(raw) != size or not reader.eof:
        raise ValueError(f"does not hold {len(kinds)} numbers for each of {n:,} samples")
    columns, start = [], 0
    for kind in kinds:
        column = np.frombuffer(raw, f"<{kind}", count=n, offset=start)
        columns.append(column.astype(np.float64))
        start += column.nbytes
    found = np.stack(columns, axis=1)
    if not np.isfinite(found).all():
        raise ValueError("holds NaN or infinity")
    return found


def rounded(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores as they are after `pack_scores`, `[n, k]`: those of two runs that agree so far are the same."""
    return unpack_scores(pack_scores(scores), len(scores))


def _fits(column: NDArray[np.float64], largest: int) -> bool:
    return bool((column == column.round()).all() and column.min() >= 0 and column.max() <= largest)
