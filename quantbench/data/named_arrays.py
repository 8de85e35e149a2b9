"""Sides of a data set as arrays by their names: which are the targets, and what a side of samples cannot be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.data.source import Arrays, Decoded
from quantbench.errors import DataError
from quantbench.files import printable

NamedArrays = Mapping[str, NDArray[Any]]
# Names of the targets, where none is given.
TARGETS = ("targets", "labels", "y", "label")
CLASSES = "classes"


def decoded_of(sides: Mapping[str, tuple[str, NamedArrays]], targets: str, groups: str = "") -> Decoded:
    """A data set of the arrays of its sides.

    Args:
        sides: `test`, and `train` where there is one → its place, for messages, and its arrays, `[n, …]` each;
            `classes` among them names the classes.
        targets: name of the array of targets; empty where it is one of `TARGETS`.
        groups: name of the array that says which samples belong together; empty where none does.

    Raises:
        DataError: naming place, array or sample.
    """
    shown, arrays = sides["test"]
    test, classes = _side(shown, arrays, targets, groups)
    if "train" not in sides:
        return Decoded(None, test, classes)
    of_train, arrays = sides["train"]
    train, others = _side(of_train, arrays, targets, groups)
    if (found := _described(train)) != (expected := _described(test)):
        raise DataError(f"{of_train}: has {found}, but {shown} has {expected}; give both the same inputs")
    if classes != others:
        raise DataError(f"{of_train}: names other classes than {shown}")
    return Decoded(train, test, classes)


def _side(shown: str, arrays: NamedArrays, targets: str, groups: str) -> tuple[Arrays, tuple[str, ...]]:
    name = _targets_of(shown, arrays, targets)
    if groups and groups not in arrays:
        raise DataError(f"{shown}: has no '{printable(groups)}', as data.groups says; it holds {_there(arrays)}")
    inputs = {key: value for key, value in arrays.items() if key not in (name, groups, CLASSES)}
    if not inputs:
        raise DataError(f"{shown}: holds targets ('{name}') and no input; add the model's inputs by their names")
    of_groups = {groups: arrays[groups]} if groups else {}
    _check_lengths(shown, {**inputs, name: arrays[name], **of_groups})
    for key, value in inputs.items():
        _check_finite(shown, f"input '{printable(key)}'", value)
    _check_finite(shown, "the targets", arrays[name])
    first, *others = inputs
    side = Arrays(
        inputs[first],
        arrays[name],
        _numbered(shown, arrays[groups]) if groups else None,
        input_name=first,
        others={each: inputs[each] for each in others},
    )
    return side, _classes(shown, arrays[name], arrays.get(CLASSES))


def _targets_of(shown: str, arrays: NamedArrays, targets: str) -> str:
    names = [targets] if targets else [name for name in TARGETS if name in arrays]
    if len(names) == 1 and names[0] in arrays:
        return names[0]
    if len(names) > 1:
        raise DataError(f"{shown}: holds {' and '.join(names)}; say which are the targets with data.targets")
    wanted = f"'{printable(targets)}'" if targets else " or ".join(f"'{name}'" for name in TARGETS)
    raise DataError(
        f"{shown}: has no targets, {wanted}; it holds {_there(arrays)}. Add them, or name them with data.targets"
    )


def _there(arrays: NamedArrays) -> str:
    listed = ", ".join(f"{printable(name)} {value.dtype} {list(value.shape)}" for name, value in arrays.items())
    return listed or "no array"


def _described(arrays: Arrays) -> str:
    named = {arrays.input_name: arrays.inputs, **arrays.others}
    return ", ".join(f"{printable(name)} {value.dtype} {list(value.shape[1:])}" for name, value in named.items())


def _check_lengths(shown: str, arrays: NamedArrays) -> None:
    for name, array in arrays.items():
        if array.ndim == 0:
            raise DataError(f"{shown}: '{printable(name)}' is a single value; give one for each sample")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"'{printable(name)}' {n:,}" for name, n in lengths.items())
        raise DataError(f"{shown}: arrays of different lengths: {counts}; each holds one entry for each sample")
    if not all(lengths.values()):
        raise DataError(f"{shown}: holds no sample; its arrays are empty")


def _check_finite(shown: str, what: str, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f":
        return
    # Row by row: a mask of the whole would take a quarter of its memory again.
    for sample, row in enumerate(array):
        if not np.isfinite(row).all():
            raise DataError(f"{shown}: {what} of sample {sample:,} holds NaN or infinity; repair or remove the sample")


def _numbered(shown: str, groups: NDArray[Any]) -> NDArray[np.int64]:
    """Groups as numbers, the same for the same group of either side."""
    if groups.ndim != 1 or groups.dtype.kind not in "iuU":
        raise DataError(
            f"{shown}: the groups are {groups.dtype} {list(groups.shape)}; give one integer or name for each sample"
        )
    if groups.dtype.kind != "U":
        return groups.astype(np.int64)
    names, which = np.unique(groups, return_inverse=True)
    # Without their highest bit hashes are integers of 63 bits.
    numbers = [int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8]) >> 1 for name in names]
    return np.array(numbers, np.int64)[which]


def _classes(shown: str, targets: NDArray[Any], names: NDArray[Any] | None) -> tuple[str, ...]:
    """Names of the classes; none where the side has none."""
    if names is None:
        return ()
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"{shown}: 'classes' is {names.dtype} {list(names.shape)}; give a list of names")
    is_class = targets.ndim == 1 and targets.dtype.kind in "iu"
    if not is_class or targets.min() < 0 or targets.max() >= len(names):
        raise DataError(
            f"{shown}: names {len(names):,} classes, but its targets are no numbers from 0 to {len(names) - 1:,}"
        )
    return tuple(str(name) for name in names)
