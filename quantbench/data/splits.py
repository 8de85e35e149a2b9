"""A data set as four disjoint splits: train, calibration, search and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.config.schema import DataConfig
from quantbench.data.cache import CachedSide, open_cached
from quantbench.data.source import Normalization, Source
from quantbench.errors import DataError
from quantbench.registry import DATA

if TYPE_CHECKING:
    import torch

# Which training samples are set aside must never depend on the seed of a training.
HOLDOUT_SEED = 20_200_501


@dataclass(frozen=True)
class Split:
    """Some samples of one side of a data set, in a fixed order.

    Attributes:
        name: train, calibration, search or test.
        side: where the samples are stored.
        indices: `[n]` positions in the side, or None for all of it.
        normalization: stored integers → model input.
    """

    name: str
    side: CachedSide
    indices: NDArray[np.int64] | None
    normalization: Normalization

    def __len__(self) -> int:
        return len(self.side.labels) if self.indices is None else len(self.indices)

    @property
    def digests(self) -> NDArray[np.uint8]:
        """`[n, 16]` content hash per sample."""
        return self.side.digests if self.indices is None else self.side.digests[self.indices]

    @property
    def labels(self) -> NDArray[np.int64]:
        """`[n]` class indices."""
        return self.side.labels if self.indices is None else self.side.labels[self.indices]

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """`[n]` group per sample, such as its speaker; None where samples are independent."""
        groups = self.side.groups
        return groups if groups is None or self.indices is None else groups[self.indices]

    @property
    def side_name(self) -> str:
        """The published side that the samples come from: only the test split is the test side."""
        return "test" if self.name == "test" else "training"

    def stored_at(self, position: int) -> int:
        """Index of sample `position` of this split within its side, in the order of the source."""
        return position if self.indices is None else int(self.indices[position])

    @cached_property
    def sha256(self) -> str:
        """Hash of the samples, their order and their labels."""
        return hashlib.sha256(self.digests.tobytes() + self.labels.astype("<i8").tobytes()).hexdigest()

    def stored(self, start: int, stop: int) -> torch.Tensor:
        """Samples `start:stop` as stored, `[m, channels, …]` integers; without a copy where they lie together."""
        import torch

        rows = slice(start, stop) if self.indices is None else self.indices[start:stop]
        return torch.from_numpy(self.side.inputs[rows])

    def take(self, positions: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples at `positions` of this split: stored inputs `[m, …]` and labels `[m]`."""
        import torch

        rows = positions if self.indices is None else self.indices[positions]
        return torch.from_numpy(self.side.inputs[rows]), torch.from_numpy(self.side.labels[rows])

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[torch.Tensor]:
        """Model input `[≤ batch_size, channels, …]` float32, in order, never augmented."""
        n = len(self) if limit is None else min(limit, len(self))
        for start in range(0, n, batch_size):
            yield self.normalization(self.stored(start, min(start + batch_size, n)))


@dataclass(frozen=True)
class Splits:
    """The four splits of one data set, disjoint by content and by group.

    Attributes:
        classes: names, by label.
        platform_dependent: see `Source`.
    """

    train: Split
    calibration: Split
    search: Split
    test: Split
    classes: tuple[str, ...]
    platform_dependent: bool = False


def open_splits(config: DataConfig, where: str) -> Splits:
    """Opens a data set and sets samples aside for calibration and search.

    Args:
        config: which data set, and the sizes of the pools.
        where: the place in the configuration, for messages.

    Raises:
        ConfigError: for an unknown data set or parameter.
        DataError: if samples are missing, damaged, too few, or shared between splits.
    """
    source: Source = DATA.create(config.name, where, config.params)
    data = open_cached(config.name, source)
    n = len(data.train.labels)
    held_out = config.calibration_pool + config.search_pool
    if held_out >= n:
        raise DataError(
            f"{where}: calibration_pool + search_pool = {held_out:,}, but the training side has {n:,} samples; "
            "set aside fewer"
        )
    calibration, search, train = _set_aside(data.train, config.calibration_pool, config.search_pool)
    if len(train) == 0:
        raise DataError(
            f"{where}: the training side has {n:,} samples in too few groups (speakers) to set {held_out:,} aside in "
            "whole groups; set aside fewer"
        )
    norm = source.normalization
    splits = Splits(
        Split("train", data.train, np.sort(train), norm),
        # Calibration keeps its random order, so that its first samples are a random draw from every class.
        Split("calibration", data.train, calibration, norm),
        Split("search", data.train, search, norm),
        Split("test", data.test, None, norm),
        data.classes,
        source.platform_dependent,
    )
    check_disjoint([splits.train, splits.calibration, splits.search, splits.test], where)
    return splits


def _set_aside(side: CachedSide, n_calibration: int, n_search: int) -> list[NDArray[np.int64]]:
    """Positions for calibration, for search and for training, in random order.

    Whole groups are set aside, as few as hold the samples asked for.
    """
    random = np.random.RandomState(HOLDOUT_SEED)
    order = random.permutation(len(side.labels))
    if side.groups is None:
        return np.split(order, [n_calibration, n_calibration + n_search])
    groups, sizes = np.unique(side.groups, return_counts=True)
    drawn = random.permutation(len(groups))
    reached = np.cumsum(sizes[drawn])
    first = int(np.searchsorted(reached, n_calibration)) + 1
    # Counted from the samples that calibration really took, which may be more than it asked for.
    taken = int(reached[min(first, len(drawn)) - 1])
    second = int(np.searchsorted(reached, taken + n_search)) + 1 if n_search else first
    parts = (drawn[:first], drawn[first:second], drawn[second:])
    return [order[np.isin(side.groups[order], groups[part])] for part in parts]


def check_disjoint(splits: list[Split], where: str) -> None:
    """Refuses splits that share a sample by content, whatever its file is called, or a group such as a speaker.

    Raises:
        DataError: naming the two splits, how many samples they share and the first of them.
    """
    _check_groups(splits, where)
    keys = [np.ascontiguousarray(split.digests).view("V16").ravel() for split in splits]
    for i, first in enumerate(splits):
        for j in range(i + 1, len(splits)):
            shared, at_first, at_other = np.intersect1d(keys[i], keys[j], return_indices=True)
            if len(shared):
                other = splits[j]
                raise DataError(
                    f"{where}: splits '{first.name}' and '{other.name}' share {len(shared):,} sample(s): for example "
                    f"number {first.stored_at(at_first[0])} of the {first.side_name} side is number "
                    f"{other.stored_at(at_other[0])} of the {other.side_name} side, counted from 0 in the order of "
                    "the files; accuracy measured on them would be flattered. Remove the duplicates from the data"
                )


def _check_groups(splits: list[Split], where: str) -> None:
    grouped = [(split, split.groups) for split in splits if split.groups is not None]
    for i, (first, own) in enumerate(grouped):
        for other, theirs in grouped[i + 1 :]:
            shared, at_first, at_other = np.intersect1d(own, theirs, return_indices=True)
            if len(shared):
                raise DataError(
                    f"{where}: splits '{first.name}' and '{other.name}' share {len(shared):,} group(s) of samples that "
                    f"belong together, such as one speaker's: for example number {first.stored_at(at_first[0])} of the "
                    f"{first.side_name} side and number {other.stored_at(at_other[0])} of the {other.side_name} side, "
                    "counted from 0 in the order of the files; accuracy measured on them would be flattered. Give "
                    "every group to one side"
                )
