"""Data sets of one's own in `<root>/{train,test}/<class>/`: how they are found, told apart and labelled."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path

import numpy as np

from quantbench.data.file_source import FileSource, Listing
from quantbench.data.folders import SIDES, ClassFolders, FolderFile, told_apart
from quantbench.data.roots import Root
from quantbench.errors import DataError, DataMissingError
from quantbench.files import data_dir, printable

# Class folders that are named with a note; the rest is counted.
SHOWN_CLASSES = 3


class FolderSource(FileSource):
    """Samples in one file each, in one folder for each class.

    The training side may be absent, and so may both sides: then the folders of the root itself are the classes, and all
    of their files are to test with.

    A subclass says what is in the folders, which settings decide the samples, and how files become samples.

    Args:
        root: as a workload file gives it.
        obtain: the command or place to get the data, shown when it is absent.

    Attributes:
        root: the folder that holds train/ and test/.
    """

    def __init__(self, root: str, obtain: str) -> None:
        super().__init__()
        self._root = Root(root)
        self.root: Path = self._root.path
        self.obtain = obtain

    def locate(self, folder: Path) -> None:
        """Looks for a relative root in the folder of the workload file first."""
        self._root.locate(folder)
        self.root = self._root.path

    @abstractmethod
    def folders(self) -> ClassFolders:
        """Description of the folders, by which they are walked."""

    def check_files(self, files: list[FolderFile]) -> None:
        """Refuses files of a side that are none of this data set's.

        Raises:
            DataError: naming them.
        """

    def classes(self) -> tuple[str, ...]:
        """Names of the class folders, which are the same on both sides.

        Raises:
            DataError: if they differ, or if there is one only.
        """
        folders, sides = self.folders(), self._sides()
        found = [folders.classes(side) for side in sides.values()]
        shown, what = printable(folders.root), folders.label
        folder = "class folder" if what == "class" else what
        if odd := found[0].union(*found) - found[0].intersection(*found):
            names = ", ".join(told_apart(odd))
            raise DataError(f"{shown}: train/ and test/ have different {folder}s: {names}; give both the same ones")
        if len(found[0]) == 1:
            (only,) = found[0]
            raise DataError(f"{shown}: one {folder} only, '{only}'; a classification data set needs at least two")
        return tuple(sorted(found[0]))

    def listing(self, side: str) -> Listing | None:
        """Files of a side, in the order of the samples.

        Raises:
            DataMissingError: if the folder is not there.
            DataError: naming what is wrong.
        """
        sides = self._sides()
        if side not in sides:
            return None
        files = self.folders().files(sides[side])
        self.check_files(files)
        label_of = {name: label for label, name in enumerate(self.classes())}
        return Listing(files, np.array([label_of[file.label] for file in files], dtype=np.int64))

    @property
    def note(self) -> str:  # type: ignore[override]
        """A line about folders that are classes although no side is above them."""
        if "" not in self._sides().values():
            return ""
        names = sorted(self.folders().classes(""))
        more = f" and {len(names) - SHOWN_CLASSES:,} more" if len(names) > SHOWN_CLASSES else ""
        what = "classes" if self.folders().label == "class" else f"{self.folders().label}s"
        return (
            f"{printable(self.root)}: has no test/, so its folders are taken for the {what} of the test side: "
            f"{', '.join(names[:SHOWN_CLASSES])}{more}"
        )

    @property
    def training_place(self) -> str:
        """Words for where training samples belong."""
        beside = " and the others into test/" if "" in self._sides().values() else ""
        return f"{printable(self.root)}/train/<{self.folders().label}>/{beside}"

    def _sides(self) -> dict[str, str]:
        """Side → its folder below the root, which is empty where the root itself holds the classes.

        Raises:
            DataMissingError: if there is no folder.
            DataError: if one is no folder.
        """
        # Spelled out, so that the command can be pasted where the variable is not set.
        how = self.obtain.replace("$QUANTBENCH_DATA", str(data_dir()))
        how = how or f"name the folder that holds train/ and test/ with data.root{self._root.looked}"
        self._root.check(how)
        there = [side for side in SIDES if os.path.lexists(self.root / side)]
        if not there and self.root.is_dir() and any(each.is_dir() for each in self.root.iterdir()):
            return {"test": ""}
        for side in there or SIDES:
            top = printable(self.root / side)
            if not (self.root / side).is_dir():
                if side in there:
                    raise DataError(f"{top}: is no folder, or a link that leads nowhere; repair it")
                raise DataMissingError(f"{top}: no such folder. To get it: {how}")
        if "test" not in there:
            raise DataMissingError(f"{printable(self.root / 'test')}: no such folder. To get it: {how}")
        return {side: side for side in there}
