"""One picture file in 8 bits per channel, without loss; what cannot be shown so is refused."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from quantbench.data.framing import Framing
from quantbench.data.jpeg import check_whole
from quantbench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# Told by their content, whatever a file is called. Others of Pillow's start programs, hold vectors, or lose depth
# without a word.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Photographs with a second picture for viewers of depth or contrast; the first one is what everybody sees.
OF_ONE_PICTURE = ("JPEG", "MPO")
OPAQUE = 255
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339
# TIFF's tag of the order in which colours are stored, and its value for one after the other.
PLANES, APART = 284, 2
# Values of TIFF's tag that are no unsigned integers; Pillow takes signed ones for unsigned.
KINDS = {2: "signed integers", 3: "floating point", 5: "complex integers", 6: "complex numbers"}
# Pillow's own, which code of a user may have changed.
MAX_PIXELS = 1024**3 // 4 // 3
PNG_DEPTH_AT = 24
PPM_HEADER = re.compile(rb"P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)")
HEADER_BYTES = 4096
DEEP_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")


Channels = Literal["rgb", "bgr", "grey"]


@dataclass(frozen=True)
class PictureFormat:
    """Squares of pictures, their channels, and how those are shown that have no 8 bits of their own.

    Attributes:
        framing: how a picture becomes a square.
        full_scale: of grey pictures of 16 bits, the value that is white; None where they are refused.
        background: RGB that shows through transparent pictures; None where they are refused.
        channels: in the order of the samples; grey is Pillow's luma (ITU-R BT.601), one channel.
        exif: turn a picture upright, as its EXIF orientation says.
    """

    framing: Framing
    full_scale: int | None = None
    background: tuple[int, int, int] | None = None
    channels: Channels = "rgb"
    exif: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one sample: channels, height, width."""
        return (1 if self.channels == "grey" else 3), self.framing.size, self.framing.size


class _Strictness:
    """Pillow's settings while any thread decodes; the last one to end restores what was there."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.before: tuple[bool, int | None] = (False, None)


_STRICTNESS = _Strictness()


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Makes Pillow strict, whatever code of a user made of its settings: nothing cut short, nothing far too large.

    Several threads may be in it at a time.
    """
    from PIL import Image, ImageFile

    with _STRICTNESS.lock:
        if _STRICTNESS.users == 0:
            _STRICTNESS.before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        _STRICTNESS.users += 1
        # Without Pillow's own limit, which warns first: warnings cannot be made errors in one thread alone.
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
    try:
        yield
    finally:
        with _STRICTNESS.lock:
            _STRICTNESS.users -= 1
            if _STRICTNESS.users == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = _STRICTNESS.before


def decode_picture(stream: BinaryIO, shown: str, wanted: PictureFormat, is_known: bool = False) -> NDArray[np.uint8]:
    """One file as `[channels, size, size]` uint8.

    Args:
        stream: the file.
        shown: its path, for messages.
        wanted: size and channels, and what is done with greys of 16 bits and with transparency.
        is_known: it was shown before, so that no part of it is missing.

    Raises:
        DataError: naming the file, if it is no picture, damaged, or cannot be shown in 8 bits without loss.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    header = stream.read(HEADER_BYTES)
    stream.seek(0)
    try:
        with Image.open(stream, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{shown}: claims more than {MAX_PIXELS:,} pixels, which would fill the memory; make it "
                    "smaller, or remove the file"
                )
            frames = 1 if image.format in OF_ONE_PICTURE else getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(f"{shown}: holds {frames} pictures; save the one that is meant in a file of its own")
            depth = _depth(image, header, shown)
            _check_covered(image, shown)
            if image.format in OF_ONE_PICTURE and not is_known:
                image.load()
                stream.seek(0)
                check_whole(image, stream.read(), shown)
            upright = ImageOps.exif_transpose(image) if wanted.exif else image
            rgb = _rgb(upright, depth, shown, wanted)
            # Grey first, as torchvision's `Grayscale` in front of a `Resize` does and behind one does not.
            square = wanted.framing.framed(rgb.convert("L") if wanted.channels == "grey" else rgb, shown)
            pixels = np.asarray(square, dtype=np.uint8).reshape(*square.size, -1).transpose(2, 0, 1)
            return pixels[::-1] if wanted.channels == "bgr" else pixels
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders let through whatever their parsers meet in damaged bytes
        reason = " ".join(str(error).split()) if not isinstance(error, UnidentifiedImageError) else ""
        reason = reason or f"its content is none of {', '.join(FORMATS)}"
        raise DataError(f"{shown}: not a readable image ({reason}); repair or remove the file") from None


def _check_covered(image: ImageFile, shown: str) -> None:
    """Refuses a picture of which the file holds a part; Pillow makes the rest black, whatever its size.

    Raises:
        DataError: with the pixels that there are.
    """
    width, height = image.size
    # Colours that are stored one after the other, each as a picture of its own.
    planes = len(image.getbands()) if image.format == "TIFF" and image.tag_v2.get(PLANES) == APART else 1  # type: ignore[attr-defined]
    found = 0
    for tile in image.tile:
        left, top, right, bottom = tile[1] or (0, 0, width, height)
        found += max(min(right, width) - left, 0) * max(min(bottom, height) - top, 0)
    if image.tile and found < width * height * planes:
        raise DataError(
            f"{shown}: holds {found // planes:,} of the {width:,} × {height:,} pixels that it claims; repair or remove "
            "the file"
        )


def _depth(image: Image, header: bytes, shown: str) -> int:
    """Bits per channel as stored, which Pillow reduces to 8 for colours without a word."""
    if image.mode == "F":
        raise _of_no_scale(shown, "floating point")
    if image.format == "PNG":
        return header[PNG_DEPTH_AT]
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        depth = int(np.max(tags.get(BITS_PER_SAMPLE, 1)))
        kinds = [KINDS[each] for each in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1)).tolist() if each in KINDS]
        if kinds and (depth <= 16 or kinds[0] != KINDS[2]):
            raise _of_no_scale(shown, kinds[0])
        return depth
    if image.format == "PPM" and (found := PPM_HEADER.match(header)):
        return int(found[1]).bit_length()
    return 8


def _of_no_scale(shown: str, kind: str) -> DataError:
    return DataError(f"{shown}: holds {kind}, of which none says what is white; save it with 8 bits per channel")


def _rgb(image: Image, depth: int, shown: str, wanted: PictureFormat) -> Image:
    if depth > 16:
        raise _of_no_scale(shown, f"integers of {depth} bits")
    if depth > 8:
        return _scaled(image, shown, wanted.full_scale)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (OPAQUE, OPAQUE):
        return rgba.convert("RGB")
    if wanted.background is None:
        raise DataError(
            f"{shown}: is transparent in places, and nothing says what lies behind; set data.background, for example "
            "[255, 255, 255], or save it without transparency"
        )
    return _flattened(rgba, wanted.background)


def _flattened(rgba: Image, background: tuple[int, int, int]) -> Image:
    from PIL import Image

    below = Image.new("RGBA", rgba.size, (*background, OPAQUE))
    return Image.alpha_composite(below, rgba).convert("RGB")


def _scaled(image: Image, shown: str, full_scale: int | None) -> Image:
    """A grey picture of up to 16 bits, by the value that is white."""
    from PIL import Image

    if image.mode not in DEEP_GREY:
        raise DataError(f"{shown}: holds colours of more than 8 bits; save it with 8 bits per channel")
    values = np.asarray(image).astype(np.int64)
    largest = int(values.max())
    if full_scale is None:
        raise DataError(
            f"{shown}: holds greys of more than 8 bits, up to {largest:,}; set data.full_scale to the value that is "
            "white in all pictures, such as 65535, or save it with 8 bits"
        )
    if largest > full_scale:
        raise DataError(f"{shown}: holds values up to {largest:,}, above data.full_scale: {full_scale:,}; raise that")
    grey = (values * 255 + full_scale // 2) // full_scale
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
