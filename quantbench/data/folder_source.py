"""Data sets of one's own in `<root>/{train,test}/<class>/`: how they are found, told apart and labelled."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.data.folders import SIDES, ClassFolders, Contents, FolderFile, sides_of, stat_key
from quantbench.data.roots import Root
from quantbench.data.source import Arrays, Decoded, Progress, Source
from quantbench.files import data_dir


class FolderSource(Source):
    """Samples in one file each, in one folder for each class.

    A subclass says what is in the folders, which settings decide the samples, and how a file becomes one.

    Args:
        root: as a workload file gives it.
        obtain: the command or place to get the data, shown when it is absent.

    Attributes:
        root: the folder that holds train/ and test/.
    """

    by_content = True

    def __init__(self, root: str, obtain: str) -> None:
        self._root = Root(root)
        self.root: Path = self._root.path
        self.obtain = obtain
        self.contents = Contents()

    def locate(self, folder: Path) -> None:
        """Looks for a relative root in the folder of the workload file first."""
        self._root.locate(folder)
        self.root = self._root.path

    @abstractmethod
    def folders(self) -> ClassFolders:
        """Description of the folders, by which they are walked."""

    @abstractmethod
    def facts(self) -> str:
        """The settings and the versions of libraries that decide the samples."""

    @abstractmethod
    def decode_files(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """Decodes files into `[n, …]`, in their order."""

    def fingerprint(self) -> str:
        """Hash of all by which the system tells the files apart, without reading them."""
        return stat_key(self.root, self._files(), self.facts())

    def content(self, progress: Progress) -> str:
        """Hash of every file's place and bytes."""
        return self.contents.key(self._files(), self.facts(), progress)

    def decode(self, progress: Progress) -> Decoded:
        """Decodes every file; one that cannot be used ends it with its path."""
        found = self.sides()
        classes = tuple(sorted({file.label for file in found["train"]}))
        files = [file for side in SIDES for file in found[side]]
        inputs = self.decode_files(files, progress)
        labels = np.array([classes.index(file.label) for file in files], dtype=np.int64)
        places, n = tuple(file.place for file in files), len(found["train"])
        train, test = slice(None, n), slice(n, None)
        return Decoded(
            Arrays(inputs[train], labels[train], places=places[train]),
            Arrays(inputs[test], labels[test], places=places[test]),
            classes,
        )

    def sides(self) -> dict[str, list[FolderFile]]:
        """Files of both sides, in the order of the samples."""
        # Spelled out, so that the command can be pasted where the variable is not set.
        how = self.obtain.replace("$QUANTBENCH_DATA", str(data_dir()))
        how = how or f"name the folder that holds train/ and test/ with data.root{self._root.looked}"
        self._root.check(how)
        return sides_of(self.folders(), how)

    def _files(self) -> list[FolderFile]:
        found = self.sides()
        return [file for side in SIDES for file in found[side]]
