"""Samples in an `.npz` file: named inputs and targets of any type, given to a model as they are stored."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.data.roots import Root
from quantbench.data.source import IDENTITY, Arrays, Decoded, Progress, Source
from quantbench.errors import DataError, DataMissingError
from quantbench.files import open_file, printable, sha256_of_file

# Names of the targets, where none is given.
TARGETS = ("targets", "labels", "y")
CLASSES = "classes"
SUFFIX = ".npy"
# Decoded bytes of one file, and arrays in it.
LARGEST_BYTES, MOST_ARRAYS = 8 << 30, 1_000
# Kinds of numbers that a model takes: truth values, integers and floating point.
NUMBERS = "biuf"


class NpzSource(Source):
    """Samples in one `.npz` file for the test side and, where it is asked for, another one for the training side.

    Args:
        path: of the test side's file, as a workload file gives it.
        train: of the training side's; empty where there is none.
        targets: name of the array of targets; empty where it is one of `TARGETS`.
        obtain: the command or place to get the data, shown when it is absent.
    """

    normalization = IDENTITY
    by_content = True

    def __init__(self, path: str, train: str, targets: str, obtain: str) -> None:
        self._roots = {"test": Root(path, "data.path")} | ({"train": Root(train, "data.train")} if train else {})
        self.targets, self.obtain = targets, obtain

    def locate(self, folder: Path) -> None:
        """Looks for relative paths in the folder of the workload file first."""
        for root in self._roots.values():
            root.locate(folder)

    @property
    def training_place(self) -> str:
        """Words for where training samples belong."""
        return "an .npz file with the same arrays, and name it with data.train"

    def fingerprint(self) -> str:
        """Sizes, times and inodes of the files, which decide their content as long as they stay."""
        found = []
        for path in self._paths().values():
            s = path.stat()
            found.append(f"{path.resolve()}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}:{s.st_ino}:{s.st_dev}")
        return f"npz:{self.targets}:{':'.join(found)}"

    def content(self, progress: Progress) -> str:  # noqa: ARG002 — one file is hashed in a moment
        """Hash of the files."""
        return f"npz:{self.targets}:{':'.join(sha256_of_file(path) for path in self._paths().values())}"

    def decode(self, progress: Progress) -> Decoded:
        """Reads the arrays of both sides.

        Raises:
            DataError: naming file, array or sample.
        """
        paths = self._paths()
        read = {}
        for done, (side, path) in enumerate(paths.items()):
            progress(done, len(paths))
            read[side] = _read(path)
        test, classes = self._side(paths["test"], read["test"])
        if "train" not in read:
            return Decoded(None, test, classes)
        train, others = self._side(paths["train"], read["train"])
        if (found := _described(train)) != (expected := _described(test)):
            raise DataError(
                f"{printable(paths['train'])}: has {found}, but {printable(paths['test'])} has {expected}; give both "
                "the same inputs"
            )
        if classes != others:
            raise DataError(f"{printable(paths['train'])}: names other classes than {printable(paths['test'])}")
        return Decoded(train, test, classes)

    def _paths(self) -> dict[str, Path]:
        """Side → its file.

        Raises:
            DataMissingError: naming one that is not there.
        """
        how = self.obtain or "name the file with data.path, and that of training samples with data.train"
        for root in self._roots.values():
            root.check(how)
            if not root.path.exists():
                raise DataMissingError(f"{printable(root.path)}: no such file. To get it: {how}{root.looked}")
        return {side: root.path for side, root in self._roots.items()}

    def _side(self, path: Path, arrays: dict[str, NDArray[Any]]) -> tuple[Arrays, tuple[str, ...]]:
        shown = printable(path)
        name = self._targets_of(shown, arrays)
        targets = arrays[name]
        inputs = {key: value for key, value in arrays.items() if key not in (name, CLASSES)}
        if not inputs:
            raise DataError(f"{shown}: holds targets ('{name}') and no input; add the model's inputs by their names")
        _check_lengths(shown, {**inputs, name: targets})
        for key, value in inputs.items():
            _check_finite(shown, f"input '{printable(key)}'", value)
        _check_finite(shown, "the targets", targets)
        first, *others = inputs
        classes = _classes(shown, targets, arrays.get(CLASSES))
        return Arrays(inputs[first], targets, input_name=first, others={each: inputs[each] for each in others}), classes

    def _targets_of(self, shown: str, arrays: dict[str, NDArray[Any]]) -> str:
        names = [self.targets] if self.targets else [name for name in TARGETS if name in arrays]
        if len(names) == 1 and names[0] in arrays:
            return names[0]
        there = ", ".join(f"{printable(name)} {value.dtype} {list(value.shape)}" for name, value in arrays.items())
        if len(names) > 1:
            raise DataError(f"{shown}: holds {' and '.join(names)}; say which are the targets with data.targets")
        wanted = f"'{printable(self.targets)}'" if self.targets else " or ".join(f"'{name}'" for name in TARGETS)
        raise DataError(
            f"{shown}: has no targets, {wanted}; it holds {there or 'no array'}. Add them, or name them with "
            "data.targets"
        )


def _described(arrays: Arrays) -> str:
    named = {arrays.input_name: arrays.inputs, **arrays.others}
    return ", ".join(f"{printable(name)} {value.dtype} {list(value.shape[1:])}" for name, value in named.items())


def _check_lengths(shown: str, arrays: dict[str, NDArray[Any]]) -> None:
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


def _classes(shown: str, targets: NDArray[Any], names: NDArray[Any] | None) -> tuple[str, ...]:
    """Names of the classes; none where the file has none."""
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


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of a file, each checked before it is inflated.

    Raises:
        DataError: if it is damaged, too large, or holds anything but plain arrays.
    """
    shown = printable(path)
    try:
        with open_file(path) as stream, zipfile.ZipFile(stream) as file:
            return _arrays(shown, file)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror or error}); allow it, or repair it") from None
    # What zipfile and numpy raise about damaged bytes.
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{shown}: not a readable .npz file ({printable(reason)}); write it with numpy.savez") from None


def _arrays(shown: str, file: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    members = file.infolist()
    if len(members) > MOST_ARRAYS:
        raise DataError(f"{shown}: holds {len(members):,} arrays; at most {MOST_ARRAYS:,} are read")
    if (total := sum(member.file_size for member in members)) > LARGEST_BYTES:
        raise DataError(
            f"{shown}: would take {total / 1e9:,.1f} GB of memory; at most {LARGEST_BYTES / 1e9:.1f} GB are read: give "
            "fewer samples"
        )
    arrays: dict[str, NDArray[Any]] = {}
    for member in members:
        name = member.filename.removesuffix(SUFFIX)
        if name == member.filename or name in arrays:
            what = "is there twice" if name in arrays else "is no array"
            raise DataError(f"{shown}: '{printable(member.filename)}' {what}; write the file with numpy.savez")
        with file.open(member) as stream:
            arrays[name] = _array(f"{shown}: '{printable(name)}'", stream, member.file_size, name)
    return arrays


def _array(shown: str, stream: IO[bytes], n_bytes: int, name: str) -> NDArray[Any]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise DataError(f"{shown} is of format {version[0]}.{version[1]}; write plain numbers with numpy.savez")
    kinds = NUMBERS + "U" if name == CLASSES else NUMBERS
    if dtype.hasobject or dtype.kind not in kinds:
        objects = "Python objects, which could run code when they are read"
        what = objects if dtype.hasobject else f"values of type {dtype}"
        raise DataError(f"{shown} holds {what}; give numbers")
    n = 1
    for size in shape:
        n *= int(size)
    if min(shape, default=0) < 0 or n * dtype.itemsize > n_bytes:
        raise DataError(f"{shown} claims {list(shape)} of {dtype}, which is more than the file holds")
    array = np.empty(n, dtype)
    view, done = memoryview(array.data).cast("B") if n else memoryview(b""), 0
    while done < len(view):
        part = stream.read(min(1 << 20, len(view) - done))
        if not part:
            raise DataError(f"{shown} is cut short: {done:,} of {len(view):,} bytes are there")
        view[done : done + len(part)] = part
        done += len(part)
    # To the end, where the checksum is compared.
    stream.read(1)
    shaped = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
    return np.asarray(shaped, dtype.newbyteorder("="), order="C")


def npz(path: str, train: str = "", targets: str = "", obtain: str = "") -> NpzSource:
    """Arrays of an `.npz` file: inputs by their names, and targets.

    Every array beside the targets is an input of the model, `[n, …]`, and is given to it as it is stored. Integers from
    0 are classes, which an array `classes` of names may name; other targets are what the task takes.

    Args:
        path: a file, with `~` and `$VAR`; a relative one is looked for beside the workload file, then under
            `$QUANTBENCH_DATA`.
        train: a file of training samples, for calibration; may be left out.
        targets: name of the array of targets, where it is not `targets`, `labels` or `y`.
        obtain: the command or place to get the data, shown when it is absent.

    Example:
        >>> npz("samples.npz").normalization.std
        ()
    """
    return NpzSource(path, train, targets, obtain)
