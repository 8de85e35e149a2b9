"""Sound files as one-second clips: read with soundfile, resampled, decoded in parallel."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.data.decoding import UnusableFilesError
from quantbench.data.folders import Contents, FolderFile
from quantbench.data.source import Normalization, Progress
from quantbench.errors import DataError
from quantbench.files import printable

SAMPLE_RATE = 8_000
CLIP_SAMPLES = 8_000
FULL_SCALE = 32_768.0
# Waveforms as the published M5 takes them: in −1..1, not standardized.
AUDIO_NORMALIZATION = Normalization(FULL_SCALE, (0.0,), (1.0,))
# Files that one thread decodes at a time.
CHUNK_FILES = 64
# Read beyond the clip's end, so that the resampling filter does not meet an edge there.
MARGIN_S = 0.1
# Of sound; what lies beyond is a damaged header.
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
# Files of floating point may overshoot full scale a little; this far beyond, they hold integers or nonsense.
LOUDEST = 16.0
# Share of a sound's samples of floating point that may lie beyond full scale, where they are clipped.
CLIPPED_SHARE = 0.01
FLOATING_POINT = ("FLOAT", "DOUBLE")
# libsndfile's word on a WAV file whose samples end before its header says; a header of 2 GB and more was written by a
# program that could not know the length.
CUT_SHORT = re.compile(r"^data *: (\d+) \(should be (\d+)\)$", re.MULTILINE)
UNKNOWN_LENGTH = 0x7000_0000
# A rate such as 44,101 Hz shares no divisor with the target; its filter bank would fill the memory.
LARGEST_FILTER = 1_000_000
# Zero crossings of the sinc on either side, and the share of half the lower rate that passes.
ZERO_CROSSINGS, CUTOFF = 6, 0.99


@dataclass(frozen=True)
class ClipFormat:
    """Sample rate and length that every clip of a data set is brought to.

    Attributes:
        sample_rate: of the clips, Hz.
        clip_samples: length; shorter sounds are padded with silence at their end, longer ones cut.
        source_rate: the only rate accepted of a file, Hz; None for any.
    """

    sample_rate: int = SAMPLE_RATE
    clip_samples: int = CLIP_SAMPLES
    source_rate: int | None = None


@dataclass(frozen=True)
class _Chunk:
    files: tuple[Path | FolderFile, ...]
    format: ClipFormat
    contents: Contents


def decode_clips(
    files: Sequence[Path | FolderFile], clip_format: ClipFormat, progress: Progress, contents: Contents | None = None
) -> NDArray[np.int16]:
    """Decodes files into `[n, 1, clip_samples]` int16, on every core.

    Args:
        files: of sound, in the order of the result; those that were listed must not have changed since.
        clip_format: rate and length.
        progress: called with files done and in all.
        contents: hashes that the files must have, where they are known.

    Raises:
        UnusableFilesError: naming the files that cannot be used, each with its reason, after all were looked at.
    """
    clips = np.empty((len(files), 1, clip_format.clip_samples), dtype=np.int16)
    chunks = [
        _Chunk(tuple(files[start : start + CHUNK_FILES]), clip_format, contents or Contents())
        for start in range(0, len(files), CHUNK_FILES)
    ]
    problems: list[str] = []
    done = 0
    # Threads are enough: reading and resampling hold Python's lock only in between.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part, wrong in pool.map(_decode_chunk, chunks):
            clips[done : done + len(part), 0] = part
            problems += wrong
            done += len(part)
            progress(done, len(files))
    if problems:
        raise UnusableFilesError(problems, len(files), "sound files")
    return clips


def _decode_chunk(chunk: _Chunk) -> tuple[NDArray[np.int16], list[str]]:
    """`[k, clip_samples]` int16 and what is wrong with which file."""
    clips = np.zeros((len(chunk.files), chunk.format.clip_samples), dtype=np.int16)
    problems = []
    for row, file in zip(clips, chunk.files, strict=True):
        try:
            row[:] = decode_clip(file, chunk.format, chunk.contents)
        except DataError as error:
            problems.append(str(error))
    return clips, problems


def decode_clip(
    file: Path | FolderFile, clip_format: ClipFormat, contents: Contents | None = None
) -> NDArray[np.int16]:
    """One file as `[clip_samples]` int16.

    Args:
        file: of sound; one that was listed must not have changed since.
        clip_format: rate and length.
        contents: hashes that the file must have, where they are known.

    Raises:
        DataError: if it is no sound file, cut short, empty, not mono, of a wrong rate, or holds NaN, infinity, values
            far beyond full scale, many beyond it, or none that 16 bits can tell from silence.
    """
    path, identity = (file.path, file.identity) if isinstance(file, FolderFile) else (str(file), "")
    sound, rate, is_floating = _read(path, identity, clip_format, contents or Contents())
    shown = printable(path)
    if len(sound) == 0:
        raise DataError(f"{shown}: holds no sound: its length is zero")
    if not np.isfinite(sound).all():
        raise DataError(f"{shown}: holds NaN or infinity, first at sample {int(np.argmin(np.isfinite(sound)))}")
    if (loudest := np.abs(sound).max()) > LOUDEST:
        raise DataError(f"{shown}: holds values of up to {loudest:g}; a sound of floating point stays within −1..1")
    if is_floating:
        _check_scale(shown, np.abs(sound))
    if rate != clip_format.sample_rate:
        sound = resample(sound, rate, clip_format.sample_rate)
    clip = np.zeros(clip_format.clip_samples, dtype=np.int16)
    kept = sound[: clip_format.clip_samples] * FULL_SCALE
    clip[: len(kept)] = np.clip(np.rint(kept), -FULL_SCALE, FULL_SCALE - 1)
    return clip


def _check_scale(shown: str, loudness: NDArray[np.float64]) -> None:
    """Refuses values of floating point that were not scaled to −1..1."""
    share = float((loudness > 1).mean())
    if share > CLIPPED_SHARE:
        raise DataError(
            f"{shown}: {100 * share:.0f} % of its samples lie beyond −1..1, up to {loudness.max():g}, and would be "
            "clipped; scale it"
        )
    if 0 < loudness.max() < 0.5 / FULL_SCALE:
        raise DataError(
            f"{shown}: holds values of up to {loudness.max():g} only, which is silence in 16 bits; scale it"
        )


def _read(
    path: str, identity: str, clip_format: ClipFormat, contents: Contents
) -> tuple[NDArray[np.float64], int, bool]:
    """The beginning of a file that a clip needs, `[n]`, its sample rate, and whether it holds floating point."""
    import soundfile

    shown = printable(path)
    try:
        # By its descriptor, since soundfile takes no name that is not UTF-8.
        with contents.opened(path, identity) as stream:
            # Python may have read ahead of what it gave.
            os.lseek(stream.fileno(), 0, os.SEEK_SET)
            with soundfile.SoundFile(stream.fileno(), closefd=False) as file:
                rate, promised, is_floating = file.samplerate, file.frames, file.subtype in FLOATING_POINT
                _check_header(shown, rate, file.channels, clip_format)
                _check_length(shown, file.extra_info)
                wanted_s = clip_format.clip_samples / clip_format.sample_rate + MARGIN_S
                wanted = math.ceil(wanted_s * rate)
                sound = file.read(wanted, dtype="float64")
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        # libsndfile's own words; the error as a text begins with the path again.
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise DataError(f"{shown}: not a readable sound file ({reason})") from None
    if len(sound) < min(wanted, promised):
        raise DataError(f"{shown}: is cut short: {len(sound):,} of {promised:,} samples are there")
    return sound, rate, is_floating


def _check_header(path: str, rate: int, channels: int, clip_format: ClipFormat) -> None:
    if channels != 1:
        raise DataError(f"{path}: has {channels} channels; mix it down to one")
    if clip_format.source_rate not in (None, rate):
        raise DataError(f"{path}: is sampled at {rate:,} Hz; its data set has {clip_format.source_rate:,} Hz only")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise DataError(
            f"{path}: is sampled at {rate:,} Hz, its header says; {LOWEST_RATE:,} to {HIGHEST_RATE:,} Hz are allowed"
        )
    common = math.gcd(rate, clip_format.sample_rate)
    if (rate // common) * (clip_format.sample_rate // common) > LARGEST_FILTER:
        raise DataError(
            f"{path}: {rate:,} Hz cannot be brought to {clip_format.sample_rate:,} Hz by a filter of sensible size; "
            "resample it to a common rate, such as 16,000 Hz"
        )


def _check_length(path: str, log: str) -> None:
    for promised, found in CUT_SHORT.findall(log):
        if int(found) < int(promised) < UNKNOWN_LENGTH:
            raise DataError(f"{path}: is cut short: {int(found):,} of {int(promised):,} bytes of sound are there")


def resample(sound: NDArray[np.float64], rate: int, new_rate: int) -> NDArray[np.float64]:
    """`[n]` samples at one rate to the other by a windowed sinc.

    In float64, so that the rounding to int16 that follows gives the same integers on every processor.

    Source: band-limited interpolation (Smith, ccrma.stanford.edu/~jos/resample), with the window, width and cut-off
    that torchaudio's `Resample` has by default: 56 million samples of Speech Commands come out the same.
    """
    filters, width, old, new = _filters(rate, new_rate)
    padded = np.pad(sound, (width, width + old))
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(filters))[::old]
    resampled: NDArray[np.float64] = (np.ascontiguousarray(frames) @ filters).reshape(-1)
    return resampled[: math.ceil(new * len(sound) / old)]


# Each filter takes up to 100 MB, and a folder has few rates.
@lru_cache(maxsize=8)
def _filters(rate: int, new_rate: int) -> tuple[NDArray[np.float64], int, int, int]:
    """Filters `[taps, new]` of the `new` outputs for `old` inputs, inputs in front of the first, and both numbers."""
    common = math.gcd(rate, new_rate)
    old, new = rate // common, new_rate // common
    cutoff = CUTOFF * min(old, new)
    width = math.ceil(ZERO_CROSSINGS * old / cutoff)
    distance = np.arange(-width, width + old) / old - np.arange(new)[:, None] / new
    t = np.clip(distance * cutoff, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    filters = np.sinc(t) * np.cos(t * np.pi / ZERO_CROSSINGS / 2) ** 2 * (cutoff / old)
    return np.ascontiguousarray(filters.T), width, old, new
