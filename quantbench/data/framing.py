"""Resizing and cropping of pictures, with torchvision's sizes and rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from quantbench.errors import DataError
from quantbench.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
# Those that torch has without a filter against aliasing.
WITHOUT_ANTIALIAS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True)
class Framing:
    """The way of a picture of any size to a square.

    Attributes:
        size: side of the squares, pixels.
        resize: length that the shorter side is resized to before the square in the middle is cut out; 0 where nothing
            is resized; None where the whole picture is squeezed into the square.
        interpolation: Pillow's filter.
        antialias: widen the filter where the picture shrinks, as Pillow always does; else torch interpolates.

    Example:
        >>> Framing(224, resize=256).resized(500, 375)
        (341, 256)
    """

    size: int
    resize: int | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a picture before it is cropped.

        Source:
            torchvision's `resize`: the longer side is cut off to whole pixels, not rounded.
        """
        if self.resize is None:
            return self.size, self.size
        if self.resize == 0:
            return width, height
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def framed(self, image: Image, shown: str) -> Image:
        """A picture as a square.

        Args:
            image: of mode RGB or L.
            shown: its path, for messages.

        Raises:
            DataError: if it is smaller than the square that is cut out of it.
        """
        wanted = self.resized(*image.size)
        if wanted != image.size:
            image = self._resized(image, wanted)
        if image.size == (self.size, self.size):
            return image
        width, height = image.size
        if min(width, height) < self.size:
            raise DataError(
                f"{shown}: is {width} × {height} pixels, less than the {self.size} that are cropped; set data.resize "
                "to the length that the shorter side is resized to first"
            )
        # Halves go to the even number, as torchvision's do.
        left, top = round((width - self.size) / 2.0), round((height - self.size) / 2.0)
        return image.crop((left, top, left + self.size, top + self.size))

    def _resized(self, image: Image, wanted: tuple[int, int]) -> Image:
        from PIL.Image import Resampling

        if self.antialias:
            return image.resize(wanted, Resampling[self.interpolation.upper()])
        require("data.antialias: false", "torchvision")
        from torchvision.transforms import InterpolationMode, functional

        tensor = functional.pil_to_tensor(image)
        mode = InterpolationMode(self.interpolation)
        resized: Image = functional.to_pil_image(functional.resize(tensor, wanted[::-1], mode, antialias=False))
        return resized
