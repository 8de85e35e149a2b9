"""Samples in files of JSON lines: text that a tokenizer turns into arrays, numbers, and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.data.named_arrays import TARGETS, decoded_of
from quantbench.data.own_function import to_array
from quantbench.data.paths_source import PathsSource
from quantbench.data.source import Decoded, Progress
from quantbench.errors import DataError
from quantbench.files import open_file, printable
from quantbench.foreign import calling
from quantbench.recipes.function import ImportPath, own_function
from quantbench.strict_json import JsonError, parse

# Of one line, and of all lines of a file.
LONGEST_LINE, MOST_BYTES = 1 << 20, 2 << 30


class JsonlSource(PathsSource):
    """Samples in one file for the test side and, where it is asked for, another one for the training side.

    Args:
        paths: side → its file, as a workload file gives it.
        tokenizer: `your.module:function`; empty where no text is an input.
        text: field that is tokenized.
        targets: field of the targets; empty where it is one of `TARGETS`.
        groups: field that tells which samples belong together; empty where none does.
        ignored: fields that are left out.
        obtain: the command or place to get the data, shown when it is absent.
    """

    kind = "jsonl"

    def __init__(
        self, paths: Mapping[str, str], tokenizer: str, text: str, targets: str, groups: str, ignored: Sequence[str],
        obtain: str,
    ) -> None:  # fmt: skip
        super().__init__(paths, obtain)
        self.tokenizer, self.text, self.targets, self.groups = tokenizer, text, targets, groups
        self.ignored = tuple(ignored)
        # Another version of a tokenizer gives other samples, and nothing here tells which one it is.
        self.is_kept = not tokenizer

    @property
    def facts(self) -> str:
        """The fields that decide the samples."""
        return f"{self.targets}:{self.groups}:{self.ignored}"

    @property
    def training_place(self) -> str:
        """Words for where training samples belong."""
        return "a file with the same fields, and name it with data.train"

    def decode(self, progress: Progress) -> Decoded:
        """Reads the lines of both sides, and has their text tokenized.

        Raises:
            DataError: naming file and line.
            ForeignError: if the tokenizer raises.
        """
        paths = self.paths()
        columns = {}
        for done, (side, path) in enumerate(paths.items()):
            progress(done, len(paths))
            columns[side] = self._columns(path)
        name = self._targets_among(columns["test"], printable(paths["test"]))
        classes = _names_of([each.get(name, []) for each in columns.values()])
        read = {}
        for side, found in columns.items():
            shown = printable(paths[side])
            arrays = self._arrays(found, shown)
            if classes:
                number = {each: at for at, each in enumerate(classes)}
                arrays[name] = np.array([number[each] for each in found[name]], np.int64)
                arrays["classes"] = np.array(classes)
            read[side] = shown, arrays
        return decoded_of(read, name, self.groups)

    def _columns(self, path: Path) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {}
        for number, sample in _lines(path):
            if columns and sample.keys() != columns.keys():
                odd = sorted(sample.keys() ^ columns.keys())[0]
                raise DataError(
                    f"{printable(path)}: line {number:,}: '{printable(odd)}' is not in every line; give all the same"
                )
            for key, value in sample.items():
                columns.setdefault(key, []).append(value)
        if not columns:
            raise DataError(f"{printable(path)}: holds no sample")
        if missing := [name for name in self.ignored if name not in columns]:
            raise DataError(f"{printable(path)}: has no '{printable(missing[0])}', as data.ignore says")
        return {name: values for name, values in columns.items() if name not in self.ignored}

    def _targets_among(self, columns: Mapping[str, Any], shown: str) -> str:
        names = [self.targets] if self.targets else [name for name in TARGETS if name in columns]
        if len(names) != 1 or names[0] not in columns:
            there = ", ".join(map(printable, columns))
            raise DataError(f"{shown}: which field holds the targets? Name it with data.targets; there are {there}")
        return names[0]

    def _arrays(self, columns: dict[str, list[Any]], shown: str) -> dict[str, NDArray[Any]]:
        """Every field as an array; the text as what the tokenizer gives for it."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, values in columns.items():
            if self.tokenizer and name == self.text:
                arrays |= self._tokenized(values, shown)
            else:
                arrays[name] = to_array(values, f"{shown}: '{printable(name)}'")
        if self.tokenizer and self.text not in columns:
            raise DataError(f"{shown}: has no '{printable(self.text)}' to tokenize; name the field with data.text")
        plain = [name for name, array in arrays.items() if array.dtype.kind == "U"]
        if odd := [name for name in plain if name not in (self.targets, *TARGETS, self.groups)]:
            raise DataError(
                f"{shown}: '{printable(odd[0])}' is text, which no model takes; tokenize it (data.tokenizer, and "
                f"data.text: {printable(odd[0])}), or leave it out (data.ignore: [{printable(odd[0])}])"
            )
        return arrays

    def _tokenized(self, texts: list[Any], shown: str) -> dict[str, NDArray[Any]]:
        if odd := [at for at, text in enumerate(texts) if not isinstance(text, str)]:
            raise DataError(f"{shown}: line {odd[0] + 1:,}: '{printable(self.text)}' is no text")
        where = f"data.tokenizer: '{printable(self.tokenizer)}'"
        called = own_function(self.tokenizer, "data.tokenizer")
        with calling(where):
            given = called(texts)
        if not isinstance(given, Mapping) or not given:
            raise DataError(f"{where}: gave a {type(given).__name__}; give a mapping of arrays [n, …] by input name")
        arrays = {str(name): to_array(value, f"{where}: '{printable(str(name))}'") for name, value in given.items()}
        if odd_names := [name for name, array in arrays.items() if array.ndim == 0 or len(array) != len(texts)]:
            shape = list(arrays[odd_names[0]].shape)
            raise DataError(
                f"{where}: '{printable(odd_names[0])}' is {shape} for {len(texts):,} texts; give one row for each"
            )
        return arrays


def jsonl(
    path: str,
    train: str = "",
    tokenizer: ImportPath | None = None,
    text: str = "text",
    targets: str = "",
    groups: str = "",
    ignore: tuple[str, ...] = (),
    obtain: str = "",
) -> JsonlSource:
    """Samples in a file with one JSON object per line.

    Fields of numbers, and of lists of them of one shape, are inputs of the model by their names. Targets that are text
    are classes, in alphabetical order.

    Args:
        path: a file, with `~` and `$VAR`; a relative one is looked for beside the workload file, then under
            `$QUANTBENCH_DATA`.
        train: a file of training samples, for calibration; may be left out.
        tokenizer: `your.module:function`, list of texts → mapping of arrays `[n, …]` by input name, called when the
            experiment runs.
        text: field that is tokenized.
        targets: field of the targets, where it is not `targets`, `labels`, `label` or `y`.
        groups: field that tells which samples belong together, such as those of one document.
        ignore: fields that are left out.
        obtain: the command or place to get the data, shown when it is absent.

    Example:
        >>> jsonl("test.jsonl", tokenizer="my_package.text:encode").is_kept
        False
    """
    return JsonlSource(
        {"test": path, **({"train": train} if train else {})}, tokenizer or "", text, targets, groups, ignore, obtain
    )


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    shown = printable(path)
    try:
        with open_file(path) as file:
            if path.stat().st_size > MOST_BYTES:
                raise DataError(f"{shown}: is larger than {MOST_BYTES / 1e9:.1f} GB; give fewer samples")
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    raise DataError(f"{shown}: line {number:,} is longer than {LONGEST_LINE:,} bytes; shorten it")
                if not line.strip():
                    continue
                try:
                    sample = parse(line, any_name=True)
                except JsonError as error:
                    raise DataError(f"{shown}: line {number:,}: {error}") from None
                if not isinstance(sample, dict):
                    raise DataError(f"{shown}: line {number:,}: is a {type(sample).__name__}; give an object")
                yield number, sample
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror or error}); allow it, or repair it") from None


def _names_of(targets: Sequence[Sequence[Any]]) -> list[str]:
    """Classes of targets that are text, in order; none of other targets."""
    every = [each for side in targets for each in side]
    return sorted(set(every)) if every and all(isinstance(each, str) for each in every) else []
