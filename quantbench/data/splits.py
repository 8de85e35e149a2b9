"""A data set as four disjoint splits: train, calibration, search and test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Inputs
from quantbench.data.file_side import FileSide
from quantbench.data.source import Normalization
from quantbench.data.streaming import Asked, streamed
from quantbench.errors import DataError

# Splits by whose samples anything is judged.
JUDGED = ("search", "test")


class Side(Protocol):
    """Store of the samples of one published side."""

    @property
    def labels(self) -> NDArray[Any]:
        """`[n]` class indices, or targets of another kind."""

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """`[n]` int64, see `Arrays`."""

    @property
    def has_paths(self) -> bool:
        """Samples are named by their files."""

    def __len__(self) -> int: ...

    def digests_at(self, rows: NDArray[np.int64] | None) -> NDArray[np.uint8]:
        """`[m, 16]` content hashes of some samples; of all where `rows` is None."""

    def rows(self, rows: NDArray[np.int64] | slice) -> dict[str, NDArray[Any]]:
        """Some samples as stored, name → `[m, …]`; without a copy where they lie together."""

    def path_of(self, position: int) -> str | None:
        """Path of a sample's file, for messages; None where it lies in none."""


@dataclass(eq=False)
class Split:
    """Some samples of one side of a data set, in a fixed order.

    Attributes:
        name: train, calibration, search or test.
        side: where the samples are stored.
        indices: `[n]` positions in the side, or None for all of it.
        normalization: stored integers → model input.
        absent: the reason why there are no samples; empty where there are.
        settle: checks the samples once all of them are decoded, and leaves repeats out; None once that is done.
        passed: checks at the end of a pass what would keep its first batch waiting; None where there is nothing.
    """

    name: str
    side: Side
    indices: NDArray[np.int64] | None
    normalization: Normalization
    absent: str = ""
    settle: Callable[[Split], None] | None = field(default=None, repr=False)
    passed: Callable[[Split], None] | None = field(default=None, repr=False)

    def settled(self) -> Split:
        """This split, its samples decoded and checked.

        Raises:
            DataError: if one is damaged, has two labels, or is in another split too.
        """
        if self.settle is not None:
            self.settle(self)
            self.settle = None
        return self

    def _judged(self) -> Split:
        """This split with the samples that it really has: of one that is judged, that is known once all are decoded."""
        return self.settled() if self.name in JUDGED else self

    def __len__(self) -> int:
        indices = self._judged().indices
        return len(self.side) if indices is None else len(indices)

    @property
    def digests(self) -> NDArray[np.uint8]:
        """`[n, 16]` content hash per sample."""
        return self.side.digests_at(self.settled().indices)

    @property
    def labels(self) -> NDArray[Any]:
        """`[n]` class indices; `[n, …]` targets of another kind."""
        indices = self._judged().indices
        return self.side.labels if indices is None else self.side.labels[indices]

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """`[n]` group per sample, such as its speaker; None where samples are independent."""
        groups, indices = self.side.groups, self._judged().indices
        return groups if groups is None or indices is None else groups[indices]

    @property
    def side_name(self) -> str:
        """The published side that the samples come from: only the test split is the test side."""
        return "test" if self.name == "test" else "training"

    def stored_at(self, position: int) -> int:
        """Index of sample `position` of this split within its side, in the order of the source."""
        indices = self._judged().indices
        return position if indices is None else int(indices[position])

    def path_of(self, position: int) -> str | None:
        """Path of sample `position` of this split, for messages; None where it lies in no file."""
        return self.side.path_of(self.stored_at(position))

    def named(self, position: int) -> str:
        """Sample `position` of this split, for messages: its path, or its number where it lies in no file."""
        return self.path_of(position) or f"number {self.stored_at(position)} of the {self.side_name} side"

    @cached_property
    def sha256(self) -> str:
        """Hash of the samples, their order and their labels."""
        labels = self.labels
        targets = labels.astype("<i8") if labels.dtype.kind in "iub" else labels.astype(labels.dtype.newbyteorder("<"))
        return hashlib.sha256(self.digests.tobytes() + targets.tobytes()).hexdigest()

    def stored(self, start: int, stop: int) -> NDArray[Any]:
        """Samples `start:stop` as stored, `[m, channels, …]` integers; without a copy where they lie together."""
        return _only(self._rows(start, stop), self.name)

    def _rows(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        indices = self.settled().indices
        return self.side.rows(slice(start, stop) if indices is None else indices[start:stop])

    def take(self, positions: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Samples at `positions` of this split: stored inputs `[m, …]` and labels `[m]`."""
        self._check_present()
        indices = self.settled().indices
        rows = positions if indices is None else indices[positions]
        return _only(self.side.rows(rows), self.name), self.side.labels[rows]

    def batches(self, batch_size: int, limit: int | None = None) -> Generator[Inputs]:
        """Model input, name → `[≤ batch_size, channels, …]`, in order, never augmented.

        Args:
            batch_size: samples of a batch.
            limit: samples in all; None for those of the whole split.

        Raises:
            DataError: if the split has no samples, or one of them is damaged.
        """
        # Closed by name: on some versions of Python a closed generator leaves those open that it took from.
        with closing(self.passes(batch_size, limit)) as batches:
            for inputs, _ in batches:
                yield inputs

    def passes(self, batch_size: int, limit: int | None = None) -> Generator[tuple[Inputs, NDArray[np.int64]]]:
        """Batches as `batches` gives them, and the positions `[m]` of their samples in the side.

        Files that nobody asked for before are decoded a few batches ahead; when all were taken, the split is settled.
        """
        self._check_present()
        if isinstance(self.side, FileSide) and limit != 0:
            asked = Asked(batch_size, limit, distinct=self.name in JUDGED, checked=self.name == "calibration")
            if (batches := streamed(self.side, self.indices, lambda: self.settled().indices, asked)) is not None:
                with closing(batches):
                    for stored, positions in batches:
                        yield {name: self.normalization(array) for name, array in stored.items()}, positions
                self._end_of_pass(limit)
                return
        n = len(self) if limit is None else min(limit, len(self))
        indices = self.indices
        for start in range(0, n, batch_size):
            stop = min(start + batch_size, n)
            positions = np.arange(start, stop) if indices is None else indices[start:stop]
            yield {name: self.normalization(array) for name, array in self._rows(start, stop).items()}, positions
        self._end_of_pass(limit)

    def _end_of_pass(self, limit: int | None) -> None:
        if limit is not None:
            return
        self.settled()
        if self.passed is not None:
            self.passed(self)
            self.passed = None

    def _check_present(self) -> None:
        if self.absent:
            raise DataError(self.absent)


def _only(inputs: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if len(inputs) != 1:
        raise DataError(
            f"split '{name}' has {len(inputs)} inputs ({', '.join(inputs)}); training and search need data of one input"
        )
    return next(iter(inputs.values()))
