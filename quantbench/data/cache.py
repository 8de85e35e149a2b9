"""Decoded data sets on disk, memory-mapped: decoding happens once per machine, not once per pass.

One folder per fingerprint holds plain `.npy` files and a `meta.json` with their sha256. The folder is written beside
its place and renamed, under a lock, so that a crash leaves nothing half-written and parallel first use builds it once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from quantbench.data.source import Arrays, Source
from quantbench.errors import DataError
from quantbench.files import cache_dir, sha256_of_file, write_json
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
        DataError: if decoding fails or its result cannot be written.
    """
    fingerprint = source.fingerprint()
    key = hashlib.sha256(f"{CACHE_LAYOUT}:{fingerprint}".encode()).hexdigest()[:16]
    folder = cache_dir() / "data" / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if folder.exists():
            damage = _damage(folder)
            if damage is None:
                return _open(folder)
            print(f"{folder}: {damage}; making it again", file=sys.stderr)
            shutil.rmtree(folder)
        _build(name, source, folder)
        return _open(folder)


def _build(name: str, source: Source, folder: Path) -> None:
    with progress(f"making {name}") as show:
        decoded = source.decode(show)
    if len(decoded.classes) < 2:
        raise DataError(f"{name}: {len(decoded.classes)} class(es); a classification data set needs at least two")
    # The caller holds the lock, so that whatever lies here was left by a process that was killed.
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for side, arrays in zip(SIDES, (decoded.train, decoded.test), strict=True):
            _write_side(temporary, side, arrays)
        files = {file.name: sha256_of_file(file) for file in sorted(temporary.glob("*.npy"))}
        write_json(temporary / "meta.json", {"classes": decoded.classes, "sha256": files})
        temporary.rename(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); free some space, or name another "
            "folder with QUANTBENCH_CACHE"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


def _damage(folder: Path) -> str | None:
    """What is wrong with a cache folder, or None; hashing costs a fraction of one evaluation."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        expected = dict(meta["sha256"])
        needed = (*PARTS, GROUPS) if any(file.endswith(f"_{GROUPS}.npy") for file in expected) else PARTS
        absent = {f"{side}_{part}.npy" for side in SIDES for part in needed} - set(expected)
        if absent:
            raise KeyError(min(absent))
        tuple(meta["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"unreadable meta.json ({type(error).__name__}: {error})"
    for file, sha256 in expected.items():
        path = folder / file
        if not path.is_file() or sha256_of_file(path) != sha256:
            return f"{file} is cut short or changed"
    return None


def _open(folder: Path) -> CachedData:
    def side(name: str) -> CachedSide:
        # Copy-on-write: a stray in-place operation can change a tensor in memory, never the file.
        # As plain arrays on that map: numpy's memmap class would make itself felt in every slice of a batch.
        parts = [*PARTS, GROUPS] if f"{name}_{GROUPS}.npy" in meta["sha256"] else PARTS
        maps = (np.load(folder / f"{name}_{part}.npy", mmap_mode="c") for part in parts)
        return CachedSide(*(np.asarray(each) for each in maps))

    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return CachedData(side("train"), side("test"), tuple(meta["classes"]))
