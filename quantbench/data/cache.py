"""Decoded data sets on disk, memory-mapped: decoding happens once per machine, not once per pass.

One cache entry for each content holds plain `.npy` files.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.cache import CacheEntry, Meta
from quantbench.data.source import Arrays, Decoded, Source
from quantbench.errors import CacheError, DataError
from quantbench.files import printable
from quantbench.progress import progress
from quantbench.registry import DATA
from quantbench.strict_json import read_json_value

# Changes when the layout of the cache does.
CACHE_LAYOUT = 2
# Entries that say which content a folder had when the system last described its files so.
KNOWN = "data_known"
SIDES = ("train", "test")
PARTS = ("inputs", "labels", "digests")
# Only of data sets whose samples come in groups.
GROUPS = "groups"
# Only of data sets whose samples lie in files.
PLACES = "places.json"
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
        places: file with the places of the samples' files, see `Arrays`; None where they lie in none.
        root: the folder of these files.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    digests: NDArray[np.uint8]
    groups: NDArray[np.int64] | None = None
    places: Path | None = None
    root: Path | None = None

    def path_of(self, position: int) -> str | None:
        """Path of a sample's file, for messages; None where it lies in none."""
        if self.places is None:
            return None
        place: str = read_json_value(self.places, any_name=True)[position]
        return printable((self.root or Path()) / place)


@dataclass(frozen=True)
class CachedData:
    """A decoded data set."""

    train: CachedSide
    test: CachedSide
    classes: tuple[str, ...]


def open_cached(name: str, source: Source, params: Mapping[str, Any] = MappingProxyType({})) -> CachedData:
    """Opens the cached form of a data set, decoding it first if this machine has none or a damaged one.

    Args:
        name: shown in messages and part of the folder's name.
        source: the data set.
        params: of a workload file, with which it was made; part of what tells data sets apart where their code is not
            ours, since such a source may decode by a parameter that its fingerprint knows nothing of.

    Raises:
        DataError: if decoding fails.
        CacheError: if its result cannot be written.
    """
    made_by = _code_of(source)
    if params and (_is_users(source) or name not in DATA.table):
        # By `repr`, to which 1, 1.0, True and "1" are four values.
        made_by = _key(made_by, repr(sorted(params.items())))
    quick = _key(made_by, source.fingerprint())
    if not source.by_content:
        return _opened(name, quick, source)
    # The system's description of the files names no content; but while it stays, so does the content.
    known = CacheEntry(KNOWN, f"{name}-{quick}", by_users_code=_is_users(source))
    with known.locked():
        meta = known.read(lambda meta: str(meta["content"]))
        if meta is None:
            with progress(f"reading {name}") as show:
                content = _key(made_by, source.content(show))
            data = _opened(name, content, source)
            # It saves reading the files again, no more.
            with suppress(CacheError):
                known.write(lambda _: {"content": content})
            return data
    return _opened(name, str(meta["content"]), source)


def _key(*parts: object) -> str:
    return hashlib.sha256(":".join(map(str, (CACHE_LAYOUT, *parts))).encode()).hexdigest()[:16]


def _code_of(source: Source) -> str:
    """Hash of the modules that define a source, since what other code decodes is other data."""
    digest = hashlib.sha256()
    for each in type(source).__mro__:
        file = getattr(sys.modules.get(each.__module__), "__file__", None)
        if each is not Source and issubclass(each, Source) and file and Path(file).is_file():
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _is_users(source: Source) -> bool:
    """True if a data set is the user's own, whose helpers are code that decodes too."""
    return type(source).__module__.partition(".")[0] != __package__.partition(".")[0]


def _opened(name: str, key: str, source: Source) -> CachedData:
    """The entry of that key, decoded first where there is none or a damaged one."""
    entry = CacheEntry("data", f"{name}-{key}", by_users_code=_is_users(source))
    with entry.locked():
        meta = entry.read(_check_complete)
        if meta is None:
            decoded = _decoded(name, source)
            meta = entry.write(lambda folder: _write(folder, decoded))
        return _open(entry.folder, meta, source.root)


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
    if arrays.places is not None:
        (folder / f"{side}_{PLACES}").write_text(json.dumps(arrays.places), encoding="ascii")


def _check_complete(meta: Meta) -> None:
    """Refuses a description that lacks a file or the classes, with a KeyError or TypeError."""
    files = set(meta["sha256"])
    needed = (*PARTS, GROUPS) if any(file.endswith(f"_{GROUPS}.npy") for file in files) else PARTS
    if absent := {f"{side}_{part}.npy" for side in SIDES for part in needed} - files:
        raise KeyError(min(absent))
    tuple(meta["classes"])


def _open(folder: Path, meta: Meta, root: Path | None) -> CachedData:
    def side(name: str) -> CachedSide:
        # Copy-on-write: a stray in-place operation can change a tensor in memory, never the file.
        # As plain arrays on that map: numpy's memmap class would make itself felt in every slice of a batch.
        parts = [*PARTS, GROUPS] if f"{name}_{GROUPS}.npy" in meta["sha256"] else PARTS
        maps = (np.load(folder / f"{name}_{part}.npy", mmap_mode="c") for part in parts)
        places = folder / f"{name}_{PLACES}" if f"{name}_{PLACES}" in meta["sha256"] else None
        arrays = dict(zip(parts, (np.asarray(each) for each in maps), strict=True))
        return CachedSide(**arrays, places=places, root=root)

    return CachedData(side("train"), side("test"), tuple(meta["classes"]))
