"""Samples in an `.npz` file: named inputs and targets of any type, given to a model as they are stored."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.data.named_arrays import CLASSES, decoded_of
from quantbench.data.paths_source import PathsSource
from quantbench.data.source import Decoded, Progress
from quantbench.errors import DataError
from quantbench.files import open_file, printable

SUFFIX = ".npy"
# Decoded bytes of one file, and arrays in it.
LARGEST_BYTES, MOST_ARRAYS = 8 << 30, 1_000
# Kinds of numbers that a model takes: truth values, integers and floating point.
NUMBERS = "biuf"


class NpzSource(PathsSource):
    """Samples in `.npz` files.

    Args:
        given: side → its file, as a workload file gives it.
        targets: name of the array of targets; empty where it is one of `TARGETS`.
        groups: name of the array of groups; empty where samples are independent.
        obtain: the command or place to get the data, shown when it is absent.
    """

    kind = "npz"

    def __init__(self, given: Mapping[str, str], targets: str, groups: str, obtain: str) -> None:
        super().__init__(given, obtain)
        self.targets, self.groups = targets, groups

    @property
    def facts(self) -> str:
        """Names of the arrays that are no inputs."""
        return f"{self.targets}:{self.groups}" if self.groups else self.targets

    @property
    def training_place(self) -> str:
        """Words for where training samples belong."""
        return "an .npz file with the same arrays, and name it with data.train"

    def decode(self, progress: Progress) -> Decoded:
        """Reads the arrays of both sides.

        Raises:
            DataError: naming file, array or sample.
        """
        paths = self.paths()
        read = {}
        for done, (side, path) in enumerate(paths.items()):
            progress(done, len(paths))
            read[side] = printable(path), _read(path)
        return decoded_of(read, self.targets, self.groups)


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


def npz(path: str, train: str = "", targets: str = "", obtain: str = "", groups: str = "") -> NpzSource:
    """Arrays of an `.npz` file: inputs by their names, and targets.

    Every array beside the targets is an input of the model, `[n, …]`, and is given to it as it is stored. Integers from
    0 are classes, which an array `classes` of names may name; other targets are what the task takes.

    Args:
        path: a file, with `~` and `$VAR`; a relative one is looked for beside the workload file, then under
            `$QUANTBENCH_DATA`.
        train: a file of training samples, for calibration; may be left out.
        targets: name of the array of targets, where it is not `targets`, `labels`, `label` or `y`.
        obtain: the command or place to get the data, shown when it is absent.
        groups: name of an array of integers that tell which samples belong together, such as those of one speaker.

    Example:
        >>> npz("samples.npz").normalization.std
        ()
    """
    return NpzSource({"test": path, **({"train": train} if train else {})}, targets, groups, obtain)
