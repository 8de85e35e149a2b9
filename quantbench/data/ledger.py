"""Splits whose samples are known, each checked against all others as soon as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.cache import CacheEntry
from quantbench.data.cache import key_of
from quantbench.data.checks import check_disjoint, check_groups, check_labels, without_repeats
from quantbench.data.file_side import FileSide
from quantbench.data.pools import hashes_of
from quantbench.errors import CacheError, DataError

if TYPE_CHECKING:
    from quantbench.data.splits import Split

# Entries that say of a test side and files of a training side that no file is in both.
COMPARED = "data_compared"
# Of splits, in messages.
ORDER = ("train", "calibration", "search", "test")


class Ledger:
    """Record of the splits of one data set whose samples are known.

    Args:
        where: the place in the configuration, for messages.
        classes: names, by label; empty where targets are no classes.
        training_side: gives all of the training side, none of it decoded; None where there is none, or where all
            splits are decoded at once.

    Attributes:
        lines: one for each split that holds a sample more than once.
    """

    def __init__(
        self, where: str, classes: tuple[str, ...], training_side: Callable[[], Split | None] = lambda: None
    ) -> None:
        self.where, self.classes, self.training_side = where, classes, training_side
        self.lines: list[str] = []
        self._known: dict[str, Split] = {}
        self._failure: DataError | None = None

    def settle_one(self, split: Split) -> None:
        """Decodes a split, checks it against those that are known, and leaves repeats out."""
        self.settle([split])

    def settle(self, splits: Sequence[Split]) -> None:
        """Decodes splits, checks them against each other and those that are known, and leaves repeats out.

        Raises:
            DataError: as the files or the samples say; again for whoever asks again.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._settle(splits)
        except DataError as error:
            self._failure = error
            raise

    def _settle(self, splits: Sequence[Split]) -> None:
        whole = {split.name: replace(split, settle=None) for split in splits}
        for split in whole.values():
            _ = split.digests
        self._known |= whole
        if self.classes:
            check_labels(self._sides(), self.classes, self.where)
        check_disjoint([self._known[name] for name in ORDER if name in self._known], self.where)
        for split in splits:
            kept, line = without_repeats(whole[split.name])
            split.indices, split.settle = kept.indices, None
            self.lines += [line] if line else []

    def _sides(self) -> list[Split]:
        """The known part of the training side, and the test split, if it is known."""
        of_training = [split for name, split in self._known.items() if name != "test"]
        sides = [self._known["test"]] if "test" in self._known else []
        if of_training:
            indices = np.sort(np.concatenate([_indices(split) for split in of_training]))
            sides.insert(0, replace(of_training[0], name="training", indices=indices))
        return sides

    def compare_files(self, test: Split) -> None:
        """Refuses files of the test side that lie on the training side too, where that is not decoded.

        Raises:
            DataError: naming one of them.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._compare_files(test)
        except DataError as error:
            self._failure = error
            # Whoever asks for the split again is told again.
            test.settle = self.settle_one
            raise

    def _compare_files(self, test: Split) -> None:
        training = self.training_side()
        if training is None or not isinstance(test.side, FileSide) or not isinstance(training.side, FileSide):
            return
        check_groups([test, training], self.where)
        known = [_indices(split) for name, split in self._known.items() if name != "test"]
        undecoded = np.setdiff1d(_indices(training), np.concatenate([np.arange(0), *known]))
        self._compare(test, test.side, training.side, undecoded)

    def _compare(self, test: Split, test_side: FileSide, training: FileSide, undecoded: NDArray[np.int64]) -> None:
        """Compares files by their bytes, first by how many there are."""
        (pool,) = test_side.pools
        sizes = {file.size for file in pool.files}
        alike = [at for at in undecoded if training.files[at].size in sizes]
        files = [training.files[at] for at in alike]
        source = pool.source
        entry = CacheEntry(COMPARED, f"{pool.name}-{key_of(source.stat_key(pool.files), source.stat_key(files))}")
        with entry.locked():
            if entry.read() is not None:
                return
            of_test = {bytes(row): at for at, row in enumerate(pool.hashes)}
            found = map(bytes, hashes_of(source, files, "comparing train with test"))
            shared = [(at, of_test[digest]) for at, digest in zip(alike, found, strict=True) if digest in of_test]
            if shared:
                first, second = training.path_of(shared[0][0]), test_side.path_of(shared[0][1])
                raise DataError(
                    f"{self.where}: splits 'train' and '{test.name}' share {len(shared):,} sample(s): for example "
                    f"{first} is {second}; accuracy measured on them would be flattered. Remove the duplicates from "
                    "the data"
                )
            # It saves reading the files again, no more.
            with suppress(CacheError):
                entry.write(lambda _: {})


def _indices(split: Split) -> NDArray[np.int64]:
    return np.arange(len(split.side)) if split.indices is None else split.indices
