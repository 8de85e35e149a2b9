"""A data set as four disjoint splits: train, calibration, search and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.config.schema import DataConfig
from quantbench.data.cache import CachedData, CachedSide, open_cached
from quantbench.data.source import Normalization, Source
from quantbench.errors import ConfigError, DataError
from quantbench.registry import DATA, unknown_name

if TYPE_CHECKING:
    import torch

# Which training samples are set aside must never depend on the seed of a training.
HOLDOUT_SEED = 20_200_501
# Splits by whose samples anything is judged.
JUDGED = ("search", "test")


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

    def path_of(self, position: int) -> str | None:
        """Path of sample `position` of this split, for messages; None where it lies in no file."""
        return self.side.path_of(self.stored_at(position))

    def named(self, position: int) -> str:
        """Sample `position` of this split, for messages: its path, or its number where it lies in no file."""
        return self.path_of(position) or f"number {self.stored_at(position)} of the {self.side_name} side"

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
        repeats: a line for each split that holds a sample more than once.
    """

    train: Split
    calibration: Split
    search: Split
    test: Split
    classes: tuple[str, ...]
    platform_dependent: bool = False
    repeats: tuple[str, ...] = ()


def open_splits(config: DataConfig, where: str, folder: Path | None = None) -> Splits:
    """Opens a data set and sets samples aside for calibration and search.

    Args:
        config: which data set, and the sizes of the pools.
        where: the place in the configuration, for messages.
        folder: of the workload file, where relative paths begin; None where there is no such file.

    Raises:
        ConfigError: for an unknown data set or parameter.
        DataError: if samples are missing, damaged, too few, or shared between splits.
    """
    source: Source = DATA.create(config.name, where, config.params)
    if folder is not None:
        source.locate(folder)
    data = _in_order(open_cached(config.name, source, config.params), config.classes, f"{where}.classes")
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
    _check_normalization(norm, data.train.inputs.dtype == np.uint8, where)
    whole = [
        Split("train", data.train, np.sort(train), norm),
        # Calibration keeps its random order, so that its first samples are a random draw from every class.
        Split("calibration", data.train, calibration, norm),
        Split("search", data.train, search, norm),
        Split("test", data.test, None, norm),
    ]
    check_labels([Split("training", data.train, None, norm), whole[-1]], data.classes, where)
    check_disjoint(whole, where)
    parts = {split.name: without_repeats(split) for split in whole}
    return Splits(
        train=parts["train"][0],
        calibration=parts["calibration"][0],
        search=parts["search"][0],
        test=parts["test"][0],
        classes=data.classes,
        platform_dependent=source.platform_dependent,
        repeats=tuple(line for _, line in parts.values() if line),
    )


def _check_normalization(norm: Normalization, is_image: bool, where: str) -> None:
    """Refuses statistics of which a model would see next to nothing of its samples.

    Raises:
        DataError: naming the statistic.
    """
    if odd := [value for value in norm.std if not 0 < value < np.inf]:
        raise DataError(f"{where}: a standard deviation of {odd[0]:g} is no scale; give a positive one")
    if is_image and (odd := [value for value in norm.mean if not 0 <= value <= 1]):
        raise DataError(
            f"{where}: a mean of {odd[0]:g} is not within 0..1, to which pictures are scaled; divide it by 255"
        )


def _in_order(data: CachedData, names: tuple[str, ...], where: str) -> CachedData:
    """A data set with its classes in the given order; with its own where none is given.

    Raises:
        ConfigError: if a class of the data is not named, or one is named twice.
    """
    if not names:
        return data
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"{where}: '{twice[0]}' is given twice; name each class once")
    if missing := [name for name in data.classes if name not in names]:
        raise ConfigError(f"{where}: {unknown_name('class of the data', missing[0], list(names))}; name every class")
    label_of = np.array([names.index(name) for name in data.classes], np.int64)
    train, test = (replace(side, labels=label_of[side.labels]) for side in (data.train, data.test))
    return replace(data, train=train, test=test, classes=names)


def without_repeats(split: Split) -> tuple[Split, str]:
    """A split and a line about the samples that it holds more than once, which is empty where there are none.

    Of a split that is judged they are left out. A network answers the same input with the same output, so that a repeat
    is no further evidence, and an interval that counted it would be too short. One to learn from keeps them.
    """
    groups = _repeated(split)
    if not groups:
        return split, ""
    is_first = np.ones(len(split), np.bool_)
    for group in groups:
        is_first[group[1:]] = False
    first, again = split.named(groups[0][0]), split.named(groups[0][1])
    line = f"split '{split.name}': {len(split):,} samples, {int(is_first.sum()):,} different; {again} repeats {first}"
    if split.name not in JUDGED:
        return split, line
    kept = np.flatnonzero(is_first)
    indices = kept if split.indices is None else split.indices[kept]
    return replace(split, indices=indices), f"{line}; each is counted once, since a repeat is no further evidence"


def _repeated(split: Split) -> list[NDArray[np.int64]]:
    """Positions of the samples of each content that is there more than once, ascending."""
    halves = np.ascontiguousarray(split.digests).view(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    of_content = np.concatenate([[0], np.cumsum((halves[order][1:] != halves[order][:-1]).any(axis=1))])
    sizes = np.bincount(of_content[: len(order)])
    ends = np.cumsum(sizes)
    return sorted((np.sort(order[ends[i] - sizes[i] : ends[i]]) for i in np.flatnonzero(sizes > 1)), key=lambda g: g[0])


def check_labels(sides: list[Split], classes: tuple[str, ...], where: str) -> None:
    """Refuses a side that holds one sample under two labels: whatever a model answers, one of them is wrong.

    Raises:
        DataError: naming both samples and labels.
    """
    for side in sides:
        labels = side.labels
        mixed = [group for group in _repeated(side) if len(np.unique(labels[group])) > 1]
        if mixed:
            first, second = mixed[0][0], next(at for at in mixed[0] if labels[at] != labels[mixed[0][0]])
            more = f" (and {len(mixed) - 1:,} more such)" if len(mixed) > 1 else ""
            raise DataError(
                f"{where}: one sample has two labels: {side.named(first)} is '{classes[labels[first]]}', and the same "
                f"content in {side.named(second)} is '{classes[labels[second]]}'{more}; remove the wrong one"
            )


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
                    f"{first.named(at_first[0])} is {other.named(at_other[0])}{_counted(first)}; accuracy measured on "
                    "them would be flattered. Remove the duplicates from the data"
                )


def _check_groups(splits: list[Split], where: str) -> None:
    grouped = [(split, split.groups) for split in splits if split.groups is not None]
    for i, (first, own) in enumerate(grouped):
        for other, theirs in grouped[i + 1 :]:
            shared, at_first, at_other = np.intersect1d(own, theirs, return_indices=True)
            if len(shared):
                raise DataError(
                    f"{where}: splits '{first.name}' and '{other.name}' share {len(shared):,} group(s) of samples that "
                    f"belong together, such as one speaker's: for example {first.named(at_first[0])} and "
                    f"{other.named(at_other[0])}{_counted(first)}; accuracy measured on them would be flattered. Give "
                    "every group to one side"
                )


def _counted(split: Split) -> str:
    """Words for a number, where samples are not named by their paths."""
    return ", counted from 0 in the order of the source" if split.side.places is None else ""
