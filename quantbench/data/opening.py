"""Opening of a data set: its samples found, split, and checked against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.config.schema import DataConfig
from quantbench.data.cache import CachedData, check_classes, is_users, made_by_of, open_cached, open_uncached
from quantbench.data.checks import check_disjoint, check_labels, without_repeats
from quantbench.data.file_side import FileSide
from quantbench.data.file_source import FileSource, Listing
from quantbench.data.ledger import Ledger
from quantbench.data.pools import Pool
from quantbench.data.room import fits
from quantbench.data.source import Normalization, Source
from quantbench.data.splits import Side, Split
from quantbench.errors import ConfigError, DataError
from quantbench.registry import DATA, unknown_name

# Which training samples are set aside must never depend on the seed of a training.
HOLDOUT_SEED = 20_200_501
# Splits of the training side.
# Targets below this are numbers of classes where nothing names them.
MOST_CLASSES = 100_000
OF_TRAINING = ("train", "calibration", "search")


class Splits:
    """The four splits of one data set, disjoint by content and by group.

    Those of the training side are empty where there is none; whoever asks for their samples is told what is missing.

    Args:
        test: the whole test side.
        training: opens the splits of the training side, by name.
        classes: names, by label; empty where targets are no classes.
        ledger: what is known of their samples.
        platform_dependent: see `Source`.
        notes: lines about how the data set was taken.
    """

    def __init__(
        self,
        test: Split,
        training: Callable[[], dict[str, Split]],
        classes: tuple[str, ...],
        ledger: Ledger,
        platform_dependent: bool = False,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.test, self.classes, self.platform_dependent = test, classes, platform_dependent
        self._training, self._ledger, self._notes = training, ledger, notes

    @cached_property
    def _of_training(self) -> dict[str, Split]:
        return self._training()

    @cached_property
    def train(self) -> Split:
        """Samples to train on."""
        return self._of_training["train"]

    @cached_property
    def calibration(self) -> Split:
        """Samples to calibrate with, in random order."""
        return self._of_training["calibration"]

    @cached_property
    def search(self) -> Split:
        """Samples to choose on."""
        return self._of_training["search"]

    @property
    def repeats(self) -> tuple[str, ...]:
        """A line for each split that holds a sample more than once, of those decoded so far, and how data was taken."""
        return (*self._notes, *self._ledger.lines)

    def checked(self) -> Splits:
        """These splits, every sample decoded and checked against all others.

        Raises:
            DataError: as the file or the samples say.
        """
        whole = [self.train, self.calibration, self.search, self.test]
        self._ledger.settle([split for split in whole if split.settle is not None])
        return self


def open_splits(config: DataConfig, where: str, folder: Path | None = None, as_used: bool = False) -> Splits:
    """Opens a data set and sets samples aside for calibration and search.

    Args:
        config: which data set, and the sizes of the pools.
        where: the place in the configuration, for messages.
        folder: of the workload file, where relative paths begin; None where there is no such file.
        as_used: decode files when somebody asks for their samples, and check them then, instead of all of them now.
            What nobody asks for is compared with the test split by the bytes of its files only.

    Raises:
        ConfigError: for an unknown data set or parameter.
        DataError: if samples are missing, damaged, too few, or shared between splits.
    """
    source: Source = DATA.create(config.name, where, config.params)
    if folder is not None:
        source.locate(folder)
    # Code of a user may need all of its files at once.
    if isinstance(source, FileSource) and not is_users(source):
        if as_used or not config.cache:
            splits = _of_files(source, config, where)
            return splits if as_used else splits.checked()
        if not fits(len(source.files()) * source.sample_bytes):
            return _of_files(source, config, where).checked()
    return _decoded_now(source, config, where)


def _decoded_now(source: Source, config: DataConfig, where: str) -> Splits:
    """Splits of a data set that is decoded whole."""
    is_kept = config.cache and source.is_kept
    data = open_cached(config.name, source, config.params) if is_kept else open_uncached(config.name, source)
    if data.classes:
        classes, label_of = _in_order(data.classes, config.classes, f"{where}.classes")
    else:
        classes, label_of = _of_numbers(data, config.classes, f"{where}.classes"), None

    def relabelled(labels: NDArray[Any]) -> NDArray[Any]:
        return labels if label_of is None else label_of[labels]

    norm = source.normalization
    test = Split("test", replace(data.test, labels=relabelled(data.test.labels)), None, norm)
    _check_normalization(norm, data.test.inputs.dtype == np.uint8, where)
    ledger = Ledger(where, classes)
    if data.train is None:
        training = _absent(test.side, norm, where, source)
        sides = [test]
    else:
        side = replace(data.train, labels=relabelled(data.train.labels))
        training = _split(side, config, norm, where)
        sides = [Split("training", side, None, norm), test]
    if classes:
        check_labels(sides, classes, where)
    whole = [*training.values(), test]
    check_disjoint(whole, where)
    for split in whole:
        kept, line = without_repeats(split)
        split.indices = kept.indices
        ledger.lines += [line] if line else []
    return Splits(test, lambda: training, classes, ledger, source.platform_dependent)


def _of_files(source: FileSource, config: DataConfig, where: str) -> Splits:
    """Splits of a data set in files, none of them decoded yet."""
    norm = source.normalization
    _check_normalization(norm, norm.full_scale == 255, where)
    found = source.classes()
    check_classes(config.name, found)
    classes, label_of = _in_order(found, config.classes, f"{where}.classes")
    made_by = made_by_of(config.name, source, config.params)

    @cache
    def listed(side: str) -> Listing | None:
        listing = source.listing(side)
        return listing if listing is None or label_of is None else replace(listing, labels=label_of[listing.labels])

    def pool(listing: Listing, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], Pool]:
        files = [listing.files[at] for at in positions]
        return positions, Pool(config.name, source, files, made_by, config.cache)

    def training_side() -> Split | None:
        listing = listed("train")
        return None if listing is None else Split("train", FileSide(listing, []), None, norm)

    def training() -> dict[str, Split]:
        listing = listed("train")
        if listing is None:
            return _absent(test.side, norm, where, source)
        parts = _split(FileSide(listing, []), config, norm, where)
        side = FileSide(listing, [pool(listing, _positions(each)) for each in parts.values() if len(_positions(each))])
        return {name: replace(each, side=side, settle=ledger.settle_one) for name, each in parts.items()}

    listing = listed("test")
    if listing is None:
        raise TypeError(f"{type(source).__name__}.listing('test') gave None")
    side = FileSide(listing, [pool(listing, np.arange(len(listing.files)))])
    ledger = Ledger(where, classes, training_side)
    test = Split("test", side, None, norm, settle=ledger.settle_one, passed=ledger.compare_files)
    notes = (source.note,) if source.note else ()
    return Splits(test, training, classes, ledger, source.platform_dependent, notes)


def _of_numbers(data: CachedData, names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Classes of targets that the data has no names for: as given, or their numbers; none where they are no classes.

    Raises:
        ConfigError: if names are given for targets that are no numbers of them.
    """
    targets = [side.labels for side in (data.train, data.test) if side is not None]
    largest = max(int(each.max()) if each.ndim == 1 and each.dtype.kind in "iu" else MOST_CLASSES for each in targets)
    is_class = largest < MOST_CLASSES and min(int(each.min()) for each in targets) >= 0
    if not names:
        return tuple(map(str, range(max(2, largest + 1)))) if is_class else ()
    if not is_class or largest >= len(names):
        raise ConfigError(f"{where}: {len(names)} names, but the targets are no numbers from 0 to {len(names) - 1}")
    return names


def _positions(split: Split) -> NDArray[np.int64]:
    return np.arange(0) if split.indices is None else split.indices


def _split(side: Side, config: DataConfig, norm: Normalization, where: str) -> dict[str, Split]:
    """The splits of a training side, by name.

    Raises:
        DataError: if it has too few samples, or too few groups.
    """
    n, held_out = len(side), config.calibration_pool + config.search_pool
    if held_out >= n:
        raise DataError(
            f"{where}: calibration_pool + search_pool = {held_out:,}, but the training side has {n:,} samples; "
            "set aside fewer"
        )
    calibration, search, train = _set_aside(side, config.calibration_pool, config.search_pool)
    if len(train) == 0:
        raise DataError(
            f"{where}: the training side has {n:,} samples in too few groups (speakers) to set {held_out:,} aside in "
            "whole groups; set aside fewer"
        )
    # Calibration keeps its random order, so that its first samples are a random draw from every class.
    parts = dict(zip(OF_TRAINING, (np.sort(train), calibration, search), strict=True))
    return {name: Split(name, side, indices, norm) for name, indices in parts.items()}


def _absent(side: Side, norm: Normalization, where: str, source: Source) -> dict[str, Split]:
    """Splits of a training side that is not there."""
    place = source.training_place
    nothing = np.arange(0)
    return {
        name: Split(name, side, nothing, norm, f"{where}: there are no training samples {use}; put some into {place}")
        for name, use in zip(OF_TRAINING, ("to train on", "to calibrate with", "to search on"), strict=True)
    }


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


def _in_order(
    found: tuple[str, ...], names: tuple[str, ...], where: str
) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    """Classes in the given order, and the label of each class of the data in it; None where none is given.

    Raises:
        ConfigError: if a class of the data is not named, or one is named twice.
    """
    if not names:
        return found, None
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"{where}: '{twice[0]}' is given twice; name each class once")
    if missing := [name for name in found if name not in names]:
        raise ConfigError(f"{where}: {unknown_name('class of the data', missing[0], list(names))}; name every class")
    return names, np.array([names.index(name) for name in found], np.int64)


def _set_aside(side: Side, n_calibration: int, n_search: int) -> list[NDArray[np.int64]]:
    """Positions for calibration, for search and for training, in random order.

    Whole groups are set aside, as few as hold the samples asked for.
    """
    random = np.random.RandomState(HOLDOUT_SEED)
    order = random.permutation(len(side))
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
