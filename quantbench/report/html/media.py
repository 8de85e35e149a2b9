"""Samples as pictures and sounds within the page, encoded here from arrays."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Pixels of a side, and seconds and rate of a sound, that a page shows; more is left out.
LARGEST_SIDE, LONGEST_S, HIGHEST_RATE = 96, 2.0, 8_000


@dataclass(frozen=True)
class Media:
    """A sample that can be looked at or listened to.

    Attributes:
        kind: of it.
        uri: its bytes as a `data:` address.
        width: of a picture, px.
        height: of a picture, px.
    """

    kind: Literal["picture", "sound"]
    uri: str
    width: int = 0
    height: int = 0


def media_of(sample: NDArray[Any], sample_rate: int | None = None) -> Media | None:
    """A stored sample as media; None for what is neither a picture nor a sound.

    Values are stretched to the range that the sample has, since a model is given numbers and no colours.

    Args:
        sample: `[1 or 3, h, w]` of a picture, `[1, n]` of a sound.
        sample_rate: of a sound, Hz; None where samples are none.
    """
    if sample.ndim == 3 and sample.shape[0] in (1, 3) and min(sample.shape) > 0:
        return _picture(sample)
    if sample.ndim == 2 and sample.shape[0] == 1 and sample.shape[1] > 0 and sample_rate:
        return _sound(sample[0], sample_rate)
    return None


def _picture(sample: NDArray[Any]) -> Media:
    step = -(-max(sample.shape[1:]) // LARGEST_SIDE)
    pixels = sample[:, ::step, ::step]
    shown = pixels if pixels.dtype == np.uint8 else _stretched(pixels)
    rows = np.ascontiguousarray(shown.transpose(1, 2, 0))
    height, width, channels = rows.shape
    # A filter of 0 before each row: the bytes as they are.
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw, 9)) + _chunk(b"IEND", b"")
    return Media("picture", _uri("image/png", png), width, height)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    found = np.nan_to_num(values.astype(np.float64))
    low, high = float(found.min()), float(found.max())
    return np.asarray(np.rint(255 * (found - low) / ((high - low) or 1.0)), dtype=np.uint8)


def _sound(sample: NDArray[Any], rate: int) -> Media:
    step = -(-rate // HIGHEST_RATE)
    wave = np.nan_to_num(sample.astype(np.float64))[: int(LONGEST_S * rate)]
    # The mean of neighbours, so that what the lower rate cannot hold does not whistle.
    wave = wave[: len(wave) // step * step].reshape(-1, step).mean(axis=1) if len(wave) >= step else wave
    peak = float(np.abs(wave).max()) or 1.0
    data = np.asarray(np.rint(128 + 127 * wave / peak), dtype=np.uint8).tobytes()
    own = rate // step
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, own, own, 1, 8,
                       b"data", len(data))  # fmt: skip
    return Media("sound", _uri("audio/wav", head + data))


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
