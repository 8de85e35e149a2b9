"""Interface of data sets of which each sample lies in one file: listed first, decoded a few files at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.data.decoding import in_order
from quantbench.data.folders import Contents, FolderFile, stat_key
from quantbench.data.source import Arrays, Decoded, Progress, Source

# Decoded bytes of a sample where a data set does not say; decides how many files are decoded at a time, no more.
TYPICAL_BYTES = 32_768


@dataclass(frozen=True)
class Listing:
    """Samples of one side, none of them decoded.

    Attributes:
        files: of the samples, in their order.
        labels: `[n]` int64 class indices.
        groups: `[n]` int64, see `Arrays`.
    """

    files: list[FolderFile]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Of the files below the data set's root."""
        return tuple(file.place for file in self.files)


class FileSource(Source):
    """Samples in one file each.

    A subclass lists the files of a side and says which settings decide the samples, and how a few files are decoded.

    Attributes:
        contents: hashes of files that were read before.
        sample_bytes: of one decoded sample, about.
        note: a line about how the folder was taken; empty where it is laid out as documented.
    """

    by_content = True
    sample_bytes: int = TYPICAL_BYTES
    note: str = ""

    def __init__(self) -> None:
        self.contents = Contents()

    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label; found without looking at the files of the training side."""

    @abstractmethod
    def listing(self, side: str) -> Listing | None:
        """Samples of a side, `train` or `test`; None for a training side that is not there."""

    @abstractmethod
    def facts(self) -> str:
        """The settings and the versions of libraries that decide the samples."""

    @abstractmethod
    def decode_files(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """Decodes files into `[n, …]`, in their order; several threads call it at a time, each with a few files."""

    def decode_again(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """Decodes unchanged files that `decode_files` accepted before, without looking for damage again."""
        return self.decode_files(files, progress)

    @property
    def training_place(self) -> str:
        """Words for where training samples belong, for messages where there are none."""
        return f"{self.root}/train/<class>/"

    def fingerprint(self) -> str:
        """Hash of all by which the system tells the files apart, without reading them."""
        return self.stat_key(self.files())

    def content(self, progress: Progress) -> str:
        """Hash of every file's place and bytes."""
        return self.contents.key(self.files(), self.facts(), progress)

    def stat_key(self, files: Sequence[FolderFile]) -> str:
        """Hash of all by which the system tells some of the files apart, and of what else decides the samples."""
        return stat_key(self.root or "", files, self.facts())

    def files(self) -> list[FolderFile]:
        """Of every sample, the training side's first."""
        return [file for listing in self.listings() if listing is not None for file in listing.files]

    def listings(self) -> tuple[Listing | None, Listing]:
        """Samples of both sides."""
        train, test = self.listing("train"), self.listing("test")
        if test is None:
            raise TypeError(f"{type(self).__name__}.listing('test') gave None")
        return train, test

    def decode(self, progress: Progress) -> Decoded:
        """Decodes every file; those that cannot be used end it with their paths."""
        train, test = self.listings()
        chunks = [chunk.inputs for chunk in in_order(self, self.files(), progress)]
        inputs, n = np.concatenate(chunks), 0 if train is None else len(train.files)

        def arrays(listing: Listing, part: NDArray[np.generic]) -> Arrays:
            return Arrays(part, listing.labels, listing.groups, listing.places)

        return Decoded(None if train is None else arrays(train, inputs[:n]), arrays(test, inputs[n:]), self.classes())
