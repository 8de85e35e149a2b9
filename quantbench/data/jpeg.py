"""JPEG files whose compressed data ends before the picture does, which decoders fill up without a word."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from quantbench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# Coded by Huffman: baseline, extended and progressive. Arithmetic coding may leave zeros at its end out.
HUFFMAN = (0xC0, 0xC1, 0xC2)
FRAMES = tuple(code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC))
# Begins a marker, as often as one likes; a zero after it makes it data.
FILL = 0xFF
# Without a segment of their own: those that restart a scan, and TEM.
BARE = (*range(0xD0, 0xD9), 0x01)
# Bytes that a decoder takes for more compressed data; none is 0xFF, which would begin a marker.
MORE = bytes((37 * i + 91) % 251 for i in range(64))


def check_whole(image: Image, content: bytes, shown: str) -> None:
    """Refuses a picture of which a part is missing, whatever the decoder put in its place.

    A decoder stops at the last block, so that data after it changes nothing: where it changes a pixel, a block was
    missing. Damage within the data is found where it leaves too few blocks, and not where it leaves too many.

    Args:
        image: the decoded file.
        content: of the file.
        shown: its path, for messages.

    Raises:
        DataError: if data is missing.
    """
    from PIL import ImageChops
    from PIL.JpegImagePlugin import JpegImageFile

    longer = _with_more(content)
    if longer is None:
        return
    with JpegImageFile(io.BytesIO(longer)) as other:
        is_whole = other.mode == image.mode and ImageChops.difference(image, other).getbbox() is None
    if not is_whole:
        raise DataError(f"{shown}: a part of the picture is missing or damaged; repair or remove the file")


def _with_more(content: bytes) -> bytes | None:
    """The file with more data at the end of each scan, or part of one; None where its coding is not by Huffman."""
    parts: list[bytes] = []
    position, is_scan, done = 2, False, 0
    while (start := _marker(content, position)) >= 0:
        position = start + 1
        while content[position] == FILL:
            position += 1
        code = content[position]
        position += 1
        if is_scan:
            parts += [content[done:start], MORE]
            done = start
        if code in FRAMES and code not in HUFFMAN:
            return None
        if code == END_OF_IMAGE:
            # Without what may follow, such as a second picture for viewers of depth.
            return b"".join([*parts, content[done:position]])
        if code not in BARE:
            position += int.from_bytes(content[position : position + 2], "big")
            is_scan = code == START_OF_SCAN
    # Without an end, which the decoder says itself.
    return None


def _marker(content: bytes, position: int) -> int:
    """Place of the next marker; -1 where there is none."""
    # By `find`, which is several times as fast on compressed data as an expression.
    while (start := content.find(FILL, position)) >= 0:
        code = start + 1
        while code < len(content) and content[code] == FILL:
            code += 1
        if code == len(content):
            return -1
        if content[code]:
            return start
        position = code + 1
    return -1
