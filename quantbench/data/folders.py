"""Rule of every data set that lies in folders: each entry that is not hidden is used, or refused by its path.

Links are followed. Hidden entries, whose names begin with a dot, are no part of a data set.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.data.source import Progress
from quantbench.errors import DataError
from quantbench.files import SPECIAL, open_file, printable

SIDES = ("train", "test")
TAKE_OUT = "take it out of the folder"
# Folders within folders; deeper ones are a mistake, or an attack on the stack.
DEEPEST = 64


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file of a class.

    Attributes:
        path: where it is read.
        place: below the folder of the data set, for example `train/cat/1.png`.
        label: name of its class folder.
        size: bytes of the file itself where the path is a link.
        identity: all by which the system tells it apart without reading it.
    """

    path: str
    place: str
    label: str
    size: int
    identity: str


def identity_of(found: os.stat_result) -> str:
    """All by which the system tells a file apart without reading it.

    Names, sizes and times can be given to other contents (`os.utime`); inode and time of status change cannot.
    """
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}:{found.st_dev}"


@dataclass(frozen=True)
class ClassFolders:
    """Folder of a data set, with a folder for each class on each side.

    Attributes:
        root: the folder.
        kind: of its files, for messages: `image`.
        label: a class is called in messages: `class`.
        forms: of the files, for messages; may be empty.
        nested: files in folders below a class folder belong to the class; otherwise they are refused.
    """

    root: Path
    kind: str
    label: str = "class"
    forms: str = ""
    nested: bool = False

    def files(self, side: str) -> list[FolderFile]:
        """Files of `<root>/<side>/<class>/`, by class, folder and name; of `<root>/<class>/` where `side` is empty.

        Raises:
            DataError: naming the first entry that is no file of a class, or the folder that holds none.
        """
        top, below = self.root / side, f"{side}/" if side else ""
        above = [top.stat()]
        found: dict[str, list[FolderFile]] = {}
        for entry in self._class_folders(side):
            found[entry.path] = list(self._below(Path(entry.path), f"{below}{entry.name}", entry.name, above))
        if not any(found.values()):
            raise DataError(f"{printable(top)}: no {self.kind}; put them into {below}<{self.label}>/{self.forms}")
        for folder, files in found.items():
            if not files:
                raise DataError(f"{printable(folder)}: holds no {self.kind}; put some there, or remove the folder")
        return [file for files in found.values() for file in files]

    def classes(self, side: str) -> set[str]:
        """Names of the class folders of a side, without a look at what is in them."""
        return {entry.name for entry in self._class_folders(side)}

    def _class_folders(self, side: str) -> Iterator[os.DirEntry[str]]:
        for entry in visible(self.root / side):
            if not stat.S_ISDIR(_stat(entry).st_mode):
                raise self._misplaced(entry.path, side)
            if not entry.name.isprintable():
                shown = printable(entry.path)
                raise DataError(f"{shown}: a {self.label} has a name that can be printed, in UTF-8; rename the folder")
            yield entry

    def of_class(self, label: str) -> list[FolderFile]:
        """Files of one class, where `<root>/<class>/` has no side above it; none where there is no such folder."""
        folder = self.root / label
        return list(self._below(folder, label, label, [self.root.stat()])) if os.path.lexists(folder) else []

    def _below(self, folder: Path, place: str, label: str, above: list[os.stat_result]) -> Iterator[FolderFile]:
        """Files of a class, in the folder itself and, after them, in those that it holds."""
        here = folder.stat()
        if any(os.path.samestat(here, each) for each in above):
            raise DataError(f"{printable(folder)}: is a link to a folder that it lies in; remove it")
        if len(above) > DEEPEST:
            raise DataError(f"{printable(folder)}: lies more than {DEEPEST} folders deep; {TAKE_OUT}")
        folders = []
        for entry in visible(folder):
            found = _stat(entry)
            if stat.S_ISDIR(found.st_mode):
                folders.append(entry)
            elif stat.S_ISREG(found.st_mode):
                yield FolderFile(entry.path, f"{place}/{entry.name}", label, found.st_size, identity_of(found))
            else:
                what = SPECIAL.get(stat.S_IFMT(found.st_mode), "no ordinary file")
                raise DataError(f"{printable(entry.path)}: is {what}; {TAKE_OUT}")
        for entry in folders:
            below = list(self._below(Path(entry.path), f"{place}/{entry.name}", label, [*above, here]))
            if not below:
                raise DataError(f"{printable(entry.path)}: is a folder that holds no {self.kind}; {TAKE_OUT}")
            if not self.nested:
                raise self._misplaced(below[0].path, place.rpartition(label)[0].rstrip("/"))
            yield from below

    def _misplaced(self, path: str, side: str) -> DataError:
        where = f"{printable(self.root / side)}/<{self.label}>/"
        return DataError(f"{printable(path)}: is not in a {self.label}'s folder; put it into {where}")


def told_apart(names: Iterable[str]) -> list[str]:
    """Names in order; of those that look alike, as one accent in two encodings does, the characters are escaped.

    Example:
        >>> print(*told_apart(["r\N{LATIN SMALL LETTER E WITH ACUTE}d", "re\N{COMBINING ACUTE ACCENT}d", "blue"]))
        blue 're\\u0301d' 'r\\xe9d'
    """
    found = sorted(names)
    looks = Counter(unicodedata.normalize("NFKC", name).strip() for name in found)
    return [ascii(name) if looks[unicodedata.normalize("NFKC", name).strip()] > 1 else name for name in found]


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, by name."""
    try:
        # Gives sizes and times without a second look at each of tens of thousands of files.
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
    except OSError as error:
        raise DataError(f"{printable(folder)}: cannot be read ({error.strerror}); allow it, or {TAKE_OUT}") from None


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError as error:
        shown = printable(entry.path)
        if not entry.is_symlink():
            raise DataError(f"{shown}: cannot be read ({error.strerror}); repair or remove it") from None
        target = printable(Path(entry.path).readlink())
        raise DataError(f"{shown}: is a link to {target}, which leads nowhere; repair or remove it") from None


def stat_key(root: Path | str, files: Iterable[FolderFile], facts: str) -> str:
    """Hash of all by which the system tells files apart without reading them, and of what else decides the samples.

    Args:
        root: the folder of the data set.
        files: in the order of the samples.
        facts: what else decides the samples, such as their size.
    """
    digest = hashlib.sha256(f"{facts}\0{os.path.realpath(root)}\0".encode(errors="surrogateescape"))
    for file in files:
        digest.update(f"{file.place}\0{file.identity}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


@dataclass
class Contents:
    """Hashes of files, taken once, and checked whenever a file is read after that.

    So what is decoded is what was hashed, whoever writes meanwhile.
    """

    _of: dict[str, bytes] = field(default_factory=dict)

    def key(self, files: Sequence[FolderFile], facts: str, progress: Progress) -> str:
        """Hash of the places and contents of files, and of what else decides the samples.

        Args:
            files: in the order of the samples.
            facts: what else decides the samples, such as their size.
            progress: called with files done and in all.

        Raises:
            DataError: naming a file that cannot be read.
        """
        digest = hashlib.sha256(f"{facts}\0".encode(errors="surrogateescape"))
        self._of.clear()
        for done, file in enumerate(files, 1):
            with self.opened(file.path) as stream:
                found = hashlib.file_digest(stream, "sha256").digest()
            self._of[file.path] = found
            digest.update(f"{file.place}\0".encode(errors="surrogateescape") + found)
            progress(done, len(files))
        return digest.hexdigest()

    def hash_of(self, file: FolderFile) -> NDArray[np.uint8]:
        """SHA-256 of a file's bytes, `[32]` uint8.

        Raises:
            DataError: if it cannot be read, or is not the file that was listed.
        """
        with self.opened(file.path, file.identity) as stream:
            return np.frombuffer(hashlib.file_digest(stream, "sha256").digest(), np.uint8)

    @contextmanager
    def opened(self, path: str, identity: str = "") -> Iterator[BufferedReader]:
        """Opens a file for reading.

        Args:
            path: of the file.
            identity: that it had when it was listed; empty where that does not matter.

        Raises:
            DataError: if it cannot be read, is not what was hashed before, or not the file that was listed.
        """
        try:
            stream = open_file(Path(path))
        except OSError as error:
            raise DataError(f"{printable(path)}: cannot be read ({error.strerror}); allow it, or {TAKE_OUT}") from None
        with stream:
            if known := self._of.get(path):
                if hashlib.file_digest(stream, "sha256").digest() != known:
                    raise _changed(path)
                stream.seek(0)
            yield stream
            # After it was read, so that what was read is what was listed.
            if identity and identity_of(os.fstat(stream.fileno())) != identity:
                raise _changed(path)


def _changed(path: str) -> DataError:
    return DataError(f"{printable(path)}: was changed while it was read; run again when it is at rest")
