"""People's own images: `<root>/train/<class>/*` and `<root>/test/<class>/*`, read through torchvision's ImageFolder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from quantbench.data.source import Arrays, Decoded, Normalization, Progress, Source
from quantbench.errors import DataError, DataMissingError
from quantbench.files import data_dir

Triple = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]
PositiveTriple = tuple[Positive, Positive, Positive]
# Statistics of CIFAR-10's training images; a fair default for small photographs.
DEFAULT_MEAN: Triple = (0.4914, 0.4822, 0.4465)
DEFAULT_STD: Triple = (0.2470, 0.2435, 0.2616)


class ImageFolderSource(Source):
    """Images in one folder per class, decoded to RGB and resized to squares of `size` pixels."""

    def __init__(self, root: Path, size: int, mean: Triple, std: Triple, obtain: str) -> None:
        self.root = root
        self.size = size
        self.obtain = obtain
        self.normalization = Normalization(255.0, mean, std)

    def fingerprint(self) -> str:
        """Hash of the size and of every file's relative path, length and modification time."""
        digest = hashlib.sha256(f"image_folder:{self.size}".encode())
        for side in ("train", "test"):
            folder = self.root / side
            if not folder.is_dir():
                # Spelled out, so that the command can be pasted where the variable is not set.
                how = (
                    self.obtain.replace("$QUANTBENCH_DATA", str(data_dir()))
                    or "name the folder that holds train/ and test/ with data.root"
                )
                raise DataMissingError(f"{folder}: no such folder. To get it: {how}")
            # scandir hands out sizes and times without a second look at each of tens of thousands of files.
            for entry in _files(folder):
                stat = entry.stat()
                place = os.path.relpath(entry.path, self.root)
                digest.update(f"{place}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def decode(self, progress: Progress) -> Decoded:
        """Decodes every image; a damaged one ends it with its name."""
        from torchvision.datasets import ImageFolder

        try:
            sides = {side: ImageFolder(str(self.root / side)) for side in ("train", "test")}
        except FileNotFoundError as error:
            problem = str(error).splitlines()[0].rstrip(".")
            raise DataError(f"{self.root}: {problem}; put images into train/<class>/ and test/<class>/") from None
        train, test = sides["train"], sides["test"]
        if train.classes != test.classes:
            odd = ", ".join(sorted(set(train.classes) ^ set(test.classes)))
            raise DataError(
                f"{self.root}: train/ and test/ have different class folders: {odd}; give both the same ones"
            )
        if len(train.classes) < 2:
            only = f"{self.root}: one class folder only, '{train.classes[0]}'"
            raise DataError(f"{only}; a classification data set needs at least two")
        total = len(train) + len(test)
        first = self._decode_side(train.samples, 0, total, progress)
        second = self._decode_side(test.samples, len(train), total, progress)
        return Decoded(first, second, tuple(train.classes))

    def _decode_side(self, samples: list[tuple[str, int]], done: int, total: int, progress: Progress) -> Arrays:
        inputs = np.empty((len(samples), 3, self.size, self.size), dtype=np.uint8)
        for i, (path, _) in enumerate(samples):
            inputs[i] = self._decode_image(path)
            progress(done + i + 1, total)
        return Arrays(inputs, np.array([label for _, label in samples], dtype=np.int64))

    def _decode_image(self, path: str) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
        from PIL import Image

        try:
            with Image.open(path) as image:
                rgb = image.convert("RGB")
                if rgb.size != (self.size, self.size):
                    rgb = rgb.resize((self.size, self.size), Image.Resampling.BILINEAR)
                return np.asarray(rgb, dtype=np.uint8).transpose(2, 0, 1)
        except Exception as error:  # Pillow's decoders let through whatever their parsers meet in damaged bytes
            raise DataError(f"{path}: not a readable image ({error}); repair or remove the file") from None


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder, in a fixed order."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                yield from _files(Path(entry.path))
            else:
                yield entry


def image_folder(
    root: str,
    size: Annotated[int, Field(ge=8, le=1024)] = 32,
    mean: Triple = DEFAULT_MEAN,
    std: PositiveTriple = DEFAULT_STD,
    obtain: str = "",
) -> ImageFolderSource:
    """Images in `<root>/{train,test}/<class>/`.

    Args:
        root: a folder; a relative one is looked for under `$QUANTBENCH_DATA`.
        size: side of the square images, pixels.
        mean: per RGB channel, of values in 0..1.
        std: per RGB channel, of values in 0..1.
        obtain: the command or place to get the data, shown when it is absent.

    Example:
        >>> image_folder("photos", size=64).size
        64
    """
    return ImageFolderSource(data_dir() / Path(root).expanduser(), size, mean, std, obtain)
