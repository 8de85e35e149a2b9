"""One side of a data set in files, of which only those pools are decoded that somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import INPUT
from quantbench.data.decoding import DIGEST_BYTES
from quantbench.data.file_source import Listing
from quantbench.data.folders import FolderFile
from quantbench.data.pools import Pool
from quantbench.files import printable


class FileSide:
    """One published side, in pools.

    Args:
        listing: its samples.
        pools: each with the positions of its samples; together all of them.

    Attributes:
        labels: `[n]` int64 class indices.
        groups: `[n]` int64, see `Arrays`.
    """

    has_paths = True

    def __init__(self, listing: Listing, pools: Sequence[tuple[NDArray[np.int64], Pool]]) -> None:
        self.files: list[FolderFile] = listing.files
        self.labels, self.groups = listing.labels, listing.groups
        self.pools = [pool for _, pool in pools]
        self._pool_of = np.zeros(len(self.files), np.int64)
        self._row_of = np.zeros(len(self.files), np.int64)
        for number, (positions, _) in enumerate(pools):
            self._pool_of[positions] = number
            self._row_of[positions] = np.arange(len(positions))

    def __len__(self) -> int:
        return len(self.labels)

    def path_of(self, position: int) -> str:
        """Path of a sample's file, for messages."""
        return printable(self.files[position].path)

    def pool_of(self, rows: NDArray[np.int64] | None) -> tuple[Pool, NDArray[np.int64]]:
        """The pool that some samples are in, and their rows of it.

        Raises:
            ValueError: if they are in several.
        """
        rows = np.arange(len(self)) if rows is None else rows
        numbers = np.unique(self._pool_of[rows])
        if len(numbers) != 1:
            raise ValueError(f"samples of {len(numbers)} pools; expected those of one")
        return self.pools[numbers[0]], self._row_of[rows]

    def is_known(self, rows: NDArray[np.int64] | None) -> bool:
        """The content of some samples is known."""
        return all(self.pools[number].is_known for number in np.unique(self._pool_of[_all_or(rows)]))

    def digests_at(self, rows: NDArray[np.int64] | None) -> NDArray[np.uint8]:
        """`[m, 16]` content hashes of some samples; of all where `rows` is None."""
        return self._gathered(rows, lambda pool, at: pool.digests[at], np.empty((0, DIGEST_BYTES), np.uint8))

    @property
    def digests(self) -> NDArray[np.uint8]:
        """`[n, 16]` content hashes of all samples."""
        return self.digests_at(None)

    def rows(self, rows: NDArray[np.int64] | slice) -> dict[str, NDArray[Any]]:
        """Some samples as stored, name → `[m, …]`."""
        if isinstance(rows, slice) and len(self.pools) == 1:
            return {INPUT: self.pools[0].rows(rows)}
        at = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
        return {INPUT: self._gathered(at, lambda pool, own: pool.rows(own), np.empty(0))}

    def _gathered(self, rows: NDArray[np.int64] | None, read: Any, nothing: NDArray[Any]) -> NDArray[Any]:
        numbers, own = self._pool_of[_all_or(rows)], self._row_of[_all_or(rows)]
        found = None
        for number in np.unique(numbers):
            chosen = numbers == number
            part = read(self.pools[number], own[chosen])
            if chosen.all():
                return np.asarray(part)
            if found is None:
                found = np.empty((len(numbers), *part.shape[1:]), part.dtype)
            found[chosen] = part
        return nothing if found is None else found


def _all_or(rows: NDArray[np.int64] | None) -> NDArray[np.int64] | slice:
    return slice(None) if rows is None else rows
