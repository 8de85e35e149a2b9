"""Data sets of one file for each side."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from quantbench.data import named_arrays
from quantbench.data.roots import Root
from quantbench.data.source import IDENTITY, Progress, Source, source_digest
from quantbench.errors import DataMissingError
from quantbench.files import printable, sha256_of_file


class PathsSource(Source):
    """Samples in one file for the test side and, where it is asked for, another one for the training side.

    A subclass names its `kind`, what else decides the samples (`facts`), and decodes the files.

    Args:
        given: side → its file, as a workload file gives it.
        obtain: the command or place to get the data, shown when it is absent.
    """

    normalization = IDENTITY
    by_content = True
    kind: ClassVar[str]

    def __init__(self, given: Mapping[str, str], obtain: str) -> None:
        keys = {"test": "path", "train": "train"}
        self._roots = {side: Root(path, f"data.{keys[side]}") for side, path in given.items()}
        self.obtain = obtain

    @property
    @abstractmethod
    def facts(self) -> str:
        """Parameters that decide the samples beside the files."""

    def locate(self, folder: Path) -> None:
        """Looks for relative paths in the folder of the workload file first."""
        for root in self._roots.values():
            root.locate(folder)

    def fingerprint(self) -> str:
        """Sizes, times and inodes of the files, which decide their content as long as they stay."""
        found = []
        for path in self.paths().values():
            s = path.stat()
            found.append(f"{path.resolve()}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}:{s.st_ino}:{s.st_dev}")
        return f"{self._decoded_by}:{':'.join(found)}"

    def content(self, progress: Progress) -> str:  # noqa: ARG002 — one file is hashed in a moment
        """Hash of the files."""
        return f"{self._decoded_by}:{':'.join(sha256_of_file(path) for path in self.paths().values())}"

    @property
    def _decoded_by(self) -> str:
        return f"{self.kind}:{self.facts}:{source_digest(named_arrays.__file__)}"

    def paths(self) -> dict[str, Path]:
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
