"""People's own images: `<root>/train/<class>/*` and `<root>/test/<class>/*`."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from quantbench.data import folders, jpeg, pictures
from quantbench.data.folder_source import FolderSource
from quantbench.data.folders import ClassFolders, FolderFile
from quantbench.data.pictures import PictureFormat, decode_picture, strict_pillow
from quantbench.data.source import Normalization, Progress, source_digest
from quantbench.extras import version_of
from quantbench.files import printable


def _within_unit(value: float) -> float:
    """A statistic of values in 0..1; one of values in 0..255 would make every picture nearly the same to a model."""
    if not 0 <= value <= 1:
        raise PydanticCustomError("unit", "is not within 0..1, to which pictures are scaled first; divide it by 255")
    return value


Unit = Annotated[float, AfterValidator(_within_unit)]
PositiveUnit = Annotated[float, Field(gt=0), AfterValidator(_within_unit)]
Triple = tuple[Unit, Unit, Unit]
PositiveTriple = tuple[PositiveUnit, PositiveUnit, PositiveUnit]
Byte = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
# Statistics of CIFAR-10's training images; a fair default for small photographs.
DEFAULT_MEAN: Triple = (0.4914, 0.4822, 0.4465)
DEFAULT_STD: Triple = (0.2470, 0.2435, 0.2616)


class ImageFolderSource(FolderSource):
    """Images in one folder per class, decoded to RGB and resized to squares."""

    def __init__(self, root: str, wanted: PictureFormat, mean: Triple, std: Triple, obtain: str) -> None:
        super().__init__(root, obtain)
        self.format = wanted
        self.normalization = Normalization(255.0, mean, std)
        self.sample_bytes = 3 * wanted.size**2

    @property
    def size(self) -> int:
        """Side of the images, pixels."""
        return self.format.size

    def folders(self) -> ClassFolders:
        """Images, also in folders below that of their class."""
        return ClassFolders(self.root, "image", nested=True)

    def facts(self) -> str:
        """The format, the decoder and the version of the library that it calls."""
        made_by = source_digest(__file__, folders.__file__, pictures.__file__, jpeg.__file__)
        return f"image_folder:{self.format}:{made_by}:{version_of('pillow')}"

    def decode_files(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """`[n, 3, size, size]` uint8."""
        return self._decoded(files, progress, is_known=False)

    def decode_again(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """The same, in half the time for photographs."""
        return self._decoded(files, progress, is_known=True)

    def _decoded(self, files: list[FolderFile], progress: Progress, is_known: bool) -> NDArray[np.generic]:
        inputs = np.empty((len(files), 3, self.size, self.size), dtype=np.uint8)
        with strict_pillow():
            for i, file in enumerate(files):
                with self.contents.opened(file.path, file.identity) as stream:
                    inputs[i] = decode_picture(stream, printable(file.path), self.format, is_known)
                progress(i + 1, len(files))
        return inputs


def image_folder(
    root: str,
    size: Annotated[int, Field(ge=8, le=1024)] = 32,
    mean: Triple = DEFAULT_MEAN,
    std: PositiveTriple = DEFAULT_STD,
    full_scale: Annotated[int, Field(ge=255, le=65_535)] | None = None,
    background: Colour | None = None,
    obtain: str = "",
) -> ImageFolderSource:
    """Images in `<root>/{train,test}/<class>/`.

    Args:
        root: a folder, with `~` and `$VAR`; a relative one is looked for beside the workload file, then under
            `$QUANTBENCH_DATA`.
        size: side of the square images, pixels.
        mean: per RGB channel, of values in 0..1.
        std: per RGB channel, of values in 0..1.
        full_scale: of grey images of 16 bits, the value that is white; without it they are refused.
        background: RGB in 0..255 behind transparent images; without it they are refused.
        obtain: the command or place to get the data, shown when it is absent.

    Example:
        >>> image_folder("photos", size=64).size
        64
    """
    return ImageFolderSource(root, PictureFormat(size, full_scale, background), mean, std, obtain)
