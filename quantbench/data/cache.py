"""Decoded data sets on disk, memory-mapped: decoding happens once per machine, not once per pass.

One cache entry per fingerprint holds plain `.npy` files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.cache import CacheEntry, Meta
from quantbench.data.source import Arrays, Decoded, Source
from quantbench.errors import DataError
from quantbench.progress import progress

# Changes when the layout of the cache does.
CACHE_LAYOUT = 1
SIDES = ("train", "test")
PARTS = ("inputs", "labels", "digests")
# Only of data sets whose samples come in groups.
GROUPS = "groups"
# 16 bytes make an accidental collision among millions of samples impossible in practice.
DIGEST_BYTES = 16


@dataclass(frozen=True)
class CachedSide:
    """One published side of a data set, memory-mapped.

    Attributes:
        inputs: `[n, channels, …]` as stored: uint8 images, int16 sound.
        labels: `[n]` int64.
        digests: `[n, 16]` uint8, a content hash per sample.
        groups: `[n]` int64, see `Arrays`; None where samples are independent.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    digests: NDArray[np.uint8]
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class CachedData:
    """A decoded data set."""

    train: CachedSide
    test: CachedSide
    classes: tuple[str, ...]


def open_cached(name: str, source: Source) -> CachedData:
    """Opens the cached form of a data set, decoding it first if this machine has none or a damaged one.

    Args:
        name: shown in messages and part of the folder's name.
        source: the data set.

    Raises:
        DataError: if decoding fails.
        CacheError: if its result cannot be written.
    """
    fingerprint = source.fingerprint()
    key = hashlib.sha256(f"{CACHE_LAYOUT}:{fingerprint}".encode()).hexdigest()[:16]
    entry = CacheEntry("data", f"{name}-{key}")
    with entry.locked():
        meta = entry.read(_check_complete)
        if meta is None:
            decoded = _decoded(name, source)
            meta = entry.write(lambda folder: _write(folder, decoded))
        return _open(entry.folder, meta)


def _decoded(name: str, source: Source) -> Decoded:
    with progress(f"making {name}") as show:
        decoded = source.decode(show)
    if len(decoded.classes) < 2:
        raise DataError(f"{name}: {len(decoded.classes)} class(es); a classification data set needs at least two")
    return decoded


def _write(folder: Path, decoded: Decoded) -> Meta:
    for side, arrays in zip(SIDES, (decoded.train, decoded.test), strict=True):
        _write_side(folder, side, arrays)
    return {"classes": decoded.classes}


def _write_side(folder: Path, side: str, arrays: Arrays) -> None:
    digests = np.frombuffer(
        b"".join(
            hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in np.ascontiguousarray(arrays.inputs)
        ),
        dtype=np.uint8,
    )
    np.save(folder / f"{side}_inputs.npy", arrays.inputs)
    np.save(folder / f"{side}_labels.npy", arrays.labels.astype(np.int64))
    np.save(folder / f"{side}_digests.npy", digests.reshape(-1, DIGEST_BYTES))
    if arrays.groups is not None:
        np.save(folder / f"{side}_{GROUPS}.npy", arrays.groups.astype(np.int64))


def _check_complete(meta: Meta) -> None:
    """Refuses a description that lacks a file or the classes, with a KeyError or TypeError."""
    files = set(meta["sha256"])
    needed = (*PARTS, GROUPS) if any(file.endswith(f"_{GROUPS}.npy") for file in files) else PARTS
    if absent := {f"{side}_{part}.npy" for side in SIDES for part in needed} - files:
        raise KeyError(min(absent))
    tuple(meta["classes"])


def _open(folder: Path, meta: Meta) -> CachedData:
    def side(name: str) -> CachedSide:
        # Copy-on-write: a stray in-place operation can change a tensor in memory, never the file.
        # As plain arrays on that map: numpy's memmap class would make itself felt in every slice of a batch.
        parts = [*PARTS, GROUPS] if f"{name}_{GROUPS}.npy" in meta["sha256"] else PARTS
        maps = (np.load(folder / f"{name}_{part}.npy", mmap_mode="c") for part in parts)
        return CachedSide(*(np.asarray(each) for each in maps))

    return CachedData(side("train"), side("test"), tuple(meta["classes"]))
