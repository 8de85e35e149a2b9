"""The answers of two models class by class, as a part of a record."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from quantbench.records.base import Part, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Bytes of one answer; little endian.
WIDTHS = (1, 2, 4)


class ClassCounts(Record):
    """Counts of one class.

    Attributes:
        name: of the class; of an output for which the data has no class, `output <index>`.
        n: samples of the class.
        fp32: of them, those that the reference answers rightly.
        quantized: the same of the candidate.
        lost: of them, those right before and wrong after.
        gained: of them, those wrong before and right after.
        fp32_answers: samples of any class that the reference takes for this one.
        quantized_answers: the same of the candidate.
        answers_lost: samples of any class that only the reference takes for this one.
        answers_gained: samples of any class that only the candidate takes for this one.
    """

    name: str
    n: int
    fp32: int
    quantized: int
    lost: int
    gained: int
    fp32_answers: int
    quantized_answers: int
    answers_lost: int
    answers_gained: int


class ClassFacts(Part):
    """Both models on the same test samples, by class and sample by sample.

    Any other metric of a classification can be computed from it later.

    Attributes:
        n: samples.
        classes: by label.
        labels: class index of each sample, packed by `pack_answers`.
        fp32_answers: class index that the reference gives each sample.
        quantized_answers: the same of the candidate.
    """

    n: int
    classes: list[ClassCounts]
    labels: str
    fp32_answers: str
    quantized_answers: str

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        labels: NDArray[np.int64],
        before: NDArray[np.int64],
        after: NDArray[np.int64],
    ) -> Self:
        """Counts the answers of two models.

        Args:
            names: of the classes, by label.
            labels: `[n]`.
            before: answers of the reference, `[n]`.
            after: answers of the candidate, `[n]`.
        """
        n_outputs = 1 + max(int(each.max(initial=-1)) for each in (labels, before, after))
        named = [*names, *(f"output {i}" for i in range(len(names), n_outputs))]
        return cls(
            n=len(labels),
            classes=[_counts(name, i, labels, before, after) for i, name in enumerate(named)],
            labels=pack_answers(labels),
            fp32_answers=pack_answers(before),
            quantized_answers=pack_answers(after),
        )

    def impossible(self) -> str | None:
        """Counts that are not those of the answers beside them."""
        try:
            labels, before, after = (
                unpack_answers(each, self.n) for each in (self.labels, self.fp32_answers, self.quantized_answers)
            )
            # Before a count is made for each class that an answer names: a damaged one may name the four-billionth.
            matches = max(int(each.max(initial=-1)) for each in (labels, before, after)) < len(self.classes)
            matches = matches and self == type(self).of([each.name for each in self.classes], labels, before, after)
        except ValueError:
            matches = False
        return None if matches else f"counts of classes that are not those of its {self.n} answers"


def pack_answers(answers: NDArray[np.int64]) -> str:
    """Class indices `[n]` as base64 of little-endian integers of the fewest of 1, 2 or 4 bytes."""
    width = next(width for width in WIDTHS if int(answers.max(initial=0)) < 256**width)
    return base64.b64encode(answers.astype(f"<u{width}").tobytes()).decode("ascii")


def unpack_answers(packed: str, n: int) -> NDArray[np.int64]:
    """The reverse of `pack_answers`, `[n]`.

    Raises:
        ValueError: if these are not `n` answers.
    """
    import numpy as np

    raw = base64.b64decode(packed, validate=True)
    width = len(raw) // n if n > 0 and len(raw) % n == 0 else 0
    if width not in WIDTHS:
        raise ValueError(f"{len(raw)} bytes are not {n} answers")
    return np.frombuffer(raw, dtype=f"<u{width}").astype(np.int64)


def _counts(
    name: str, label: int, labels: NDArray[np.int64], before: NDArray[np.int64], after: NDArray[np.int64]
) -> ClassCounts:
    own, first, second = labels == label, before == label, after == label
    return ClassCounts(
        name=name,
        n=int(own.sum()),
        fp32=int((own & first).sum()),
        quantized=int((own & second).sum()),
        lost=int((own & first & ~second).sum()),
        gained=int((own & second & ~first).sum()),
        fp32_answers=int(first.sum()),
        quantized_answers=int(second.sum()),
        answers_lost=int((first & ~second).sum()),
        answers_gained=int((second & ~first).sum()),
    )
