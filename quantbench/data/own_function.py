"""Samples that a function of the user's gives: arrays, or a data set of torch or of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import INPUT
from quantbench.data.named_arrays import CLASSES, TARGETS, decoded_of
from quantbench.data.source import IDENTITY, Decoded, Progress, Source
from quantbench.errors import DataError
from quantbench.files import printable
from quantbench.foreign import calling
from quantbench.recipes.function import ImportPath, own_function

SIDES = ("test", "train")
# Kinds of numpy's types that are kept: truth values, integers, floating point and text.
KINDS = "biufU"
FORMS = "a mapping of arrays, a pair (inputs, targets), a torch Dataset, or a Dataset of Hugging Face"


class FunctionSource(Source):
    """Samples that a function gives, called once in each run: nothing tells whether it would give others next time.

    Args:
        function: `your.module:function`.
        targets: name of the targets among the arrays; empty where it is one of `TARGETS`.
        groups: name of the array of groups; empty where samples are independent.
        params: of the function.
    """

    normalization = IDENTITY
    is_kept = False

    def __init__(self, function: str, targets: str, groups: str, params: dict[str, Any]) -> None:
        self.function, self.targets, self.groups, self.params = function, targets, groups, params

    @property
    def training_place(self) -> str:
        """Words for where training samples belong."""
        return f"what '{printable(self.function)}' returns, as 'train'"

    def fingerprint(self) -> str:
        """Of the call; what it gives is not known before."""
        return f"function:{self.function}:{sorted(self.params.items())!r}"

    def decode(self, progress: Progress) -> Decoded:  # noqa: ARG002 — the function takes as long as it takes
        """Calls the function.

        Raises:
            DataError: naming what it gives instead of samples.
            ForeignError: if it raises.
        """
        where = f"data.function: '{printable(self.function)}'"
        called = own_function(self.function, "data.function")
        with calling(where):
            given = called(**self.params)
        sides, classes = _sides(given, where)
        read = {}
        for side, samples in sides.items():
            shown = f"{where}: {side}"
            with calling(shown):
                arrays = _named(samples, shown)
            read[side] = (
                shown,
                {name: to_array(value, f"{shown}: '{printable(name)}'") for name, value in arrays.items()},
            )
        if classes is not None:
            names = np.array([str(name) for name in classes])
            read = {side: (shown, {**arrays, CLASSES: names}) for side, (shown, arrays) in read.items()}
        return decoded_of(read, self.targets, self.groups)


def function(function: ImportPath, targets: str = "", groups: str = "", **params: Any) -> FunctionSource:
    """Samples that `fn(**params)` gives when the experiment runs, handed to a model as they are.

    The function returns `{"test": …, "train": …, "classes": [names]}`, of which `train` and `classes` may be left out,
    or the test side alone. A side is a mapping of arrays `[n, …]` by the names of the model's inputs with the targets
    among them, a pair `(inputs, targets)`, a torch `Dataset` of such pairs or mappings, or a Hugging Face `Dataset`.

    Args:
        function: `your.module:function`.
        targets: name of the targets, where it is not `targets`, `labels`, `label` or `y`.
        groups: name of the array that tells which samples belong together, such as those of one speaker.
        params: passed on to the function.

    Example:
        >>> function("my_package.data:splits", side="validation").params
        {'side': 'validation'}
    """
    return FunctionSource(function, targets, groups, params)


def _sides(given: Any, where: str) -> tuple[dict[str, Any], Sequence[str] | None]:
    """Sides by their names, and the names of the classes where they are given."""
    if not isinstance(given, Mapping) or (SIDES[0] not in given and SIDES[1] not in given):
        return {SIDES[0]: given}, None
    if odd := [str(key) for key in given if key not in (*SIDES, CLASSES)]:
        raise DataError(
            f"{where}: gave '{printable(odd[0])}' beside its sides; give 'test', 'train' and 'classes' only"
        )
    if SIDES[0] not in given:
        raise DataError(f"{where}: gave no 'test' side; samples to test with are needed")
    return {side: given[side] for side in SIDES if given.get(side) is not None}, given.get(CLASSES)


def _named(samples: Any, shown: str) -> dict[str, Any]:
    """Everything that a side holds, by name."""
    if isinstance(samples, Mapping):
        return {str(key): value for key, value in samples.items()}
    if isinstance(samples, tuple) and len(samples) == 2:
        return _pair(*samples)
    # Of Hugging Face, whose columns are read at once.
    if hasattr(samples, "column_names") and hasattr(samples, "with_format"):
        return dict(samples.with_format("numpy")[:])
    if hasattr(samples, "__getitem__") and hasattr(samples, "__len__") and not isinstance(samples, str | bytes | list):
        return _stacked(samples.__getitem__, len(samples), shown)
    raise DataError(f"{shown}: is a {type(samples).__name__}; give {FORMS}")


def _pair(inputs: Any, targets: Any) -> dict[str, Any]:
    named = {str(key): value for key, value in inputs.items()} if isinstance(inputs, Mapping) else {INPUT: inputs}
    return {**named, TARGETS[0]: targets}


def _stacked(item: Callable[[int], Any], n: int, shown: str) -> dict[str, Any]:
    """Samples of a torch Dataset, one after the other."""
    columns: dict[str, list[NDArray[Any]]] = {}
    for at in range(n):
        sample = item(at)
        if not isinstance(sample, Mapping) and not (isinstance(sample, tuple | list) and len(sample) == 2):
            raise DataError(
                f"{shown}: sample {at:,} is a {type(sample).__name__}; give pairs (inputs, target), or mappings"
            )
        named = sample if isinstance(sample, Mapping) else _pair(*sample)
        if at and named.keys() != columns.keys():
            raise DataError(f"{shown}: sample {at:,} holds {', '.join(named)}, sample 0 {', '.join(columns)}")
        for name, value in named.items():
            column = columns.setdefault(str(name), [])
            column.append(to_array(value, f"{shown}: '{printable(str(name))}' of sample {at:,}"))
            if column[-1].shape != column[0].shape:
                raise DataError(
                    f"{shown}: '{printable(str(name))}' of sample {at:,} is {list(column[-1].shape)}, of sample 0 "
                    f"{list(column[0].shape)}; bring all to one shape"
                )
    return {name: np.stack(column) for name, column in columns.items()}


def to_array(value: Any, shown: str) -> NDArray[Any]:
    """An array of numbers or of text.

    Raises:
        DataError: if it is neither.
    """
    detached = value.detach().cpu() if hasattr(value, "detach") else value
    try:
        array = np.asarray(detached)
    # What numpy and torch raise of values that are no numbers, or of different lengths.
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{shown}: is no array of numbers ({printable(reason)}); give samples of one shape") from None
    if array.dtype.kind not in KINDS:
        raise DataError(f"{shown}: holds values of type {array.dtype}; give numbers, and samples of one shape")
    return array
