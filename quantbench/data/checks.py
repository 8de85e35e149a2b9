"""Rules that splits are held to: no sample in two of them, none under two labels, none judged twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quantbench.data.splits import JUDGED, Split
from quantbench.errors import DataError


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


def check_labels(sides: Sequence[Split], classes: tuple[str, ...], where: str) -> None:
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


def check_disjoint(splits: Sequence[Split], where: str) -> None:
    """Refuses splits that share a sample by content, whatever its file is called, or a group such as a speaker.

    Raises:
        DataError: naming the two splits, how many samples they share and the first of them.
    """
    check_groups(splits, where)
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


def check_groups(splits: Sequence[Split], where: str) -> None:
    """Refuses splits that share a group, such as a speaker.

    Raises:
        DataError: naming the two splits, how many groups they share and a sample of the first on each side.
    """
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
    return ", counted from 0 in the order of the source" if not split.side.has_paths else ""
