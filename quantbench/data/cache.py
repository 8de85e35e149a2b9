"""Decoded data sets on disk, memory-mapped: decoding happens once per machine, not once per pass.

One cache entry for each content holds plain `.npy` files. Files are decoded into it a few at a time, so that no more of
them is in memory.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import INPUT
from quantbench.cache import CacheEntry, Meta
from quantbench.data.array_file import ArrayFile
from quantbench.data.decoding import digests_of, in_order
from quantbench.data.file_source import FileSource, Listing
from quantbench.data.room import KIND, make_room, used
from quantbench.data.source import Arrays, Decoded, Progress, Source
from quantbench.errors import CacheError, DataError
from quantbench.files import printable
from quantbench.progress import progress
from quantbench.registry import DATA
from quantbench.strict_json import read_json_value

# Changes when the layout of the cache does.
CACHE_LAYOUT = 3
# Entries that say which content a folder had when the system last described its files so.
KNOWN = "data_known"
SIDES = ("train", "test")
PARTS = ("inputs", "labels", "digests")
# Only of data sets whose samples come in groups.
GROUPS = "groups"
# Only of data sets whose samples lie in files.
PLACES = "places.json"


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
        input_name: of `inputs`.
        others: name → `[n, …]`, the inputs beside `inputs`.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    digests: NDArray[np.uint8]
    groups: NDArray[np.int64] | None = None
    places: Path | None = None
    root: Path | None = None
    input_name: str = INPUT
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_paths(self) -> bool:
        """Samples are named by their files."""
        return self.places is not None

    @property
    def named(self) -> dict[str, NDArray[Any]]:
        """Every input by its name."""
        return {self.input_name: self.inputs, **self.others}

    def digests_at(self, rows: NDArray[np.int64] | None) -> NDArray[np.uint8]:
        """`[m, 16]` content hashes of some samples; of all where `rows` is None."""
        return self.digests if rows is None else self.digests[rows]

    def rows(self, rows: NDArray[np.int64] | slice) -> dict[str, NDArray[Any]]:
        """Some samples as stored, name → `[m, …]`; without a copy where they lie together."""
        return {name: inputs[rows] for name, inputs in self.named.items()}

    def path_of(self, position: int) -> str | None:
        """Path of a sample's file, for messages; None where it lies in none."""
        if self.places is None:
            return None
        place: str = read_json_value(self.places, any_name=True)[position]
        return printable((self.root or Path()) / place)


@dataclass(frozen=True)
class CachedData:
    """A decoded data set; `train` is None where there are samples to test with only."""

    train: CachedSide | None
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
    made_by = made_by_of(name, source, params)
    quick = key_of(made_by, source.fingerprint())
    if not source.by_content:
        return _opened(name, quick, source)
    # The system's description of the files names no content; but while it stays, so does the content.
    known = CacheEntry(KNOWN, f"{name}-{quick}", by_users_code=is_users(source))
    with known.locked():
        meta = known.read(lambda meta: str(meta["content"]))
        if meta is None:
            with progress(f"reading {name}") as show:
                content = key_of(made_by, source.content(show))
            data = _opened(name, content, source)
            # It saves reading the files again, no more.
            with suppress(CacheError):
                known.write(lambda _: {"content": content})
            return data
    return _opened(name, str(meta["content"]), source)


def open_uncached(name: str, source: Source) -> CachedData:
    """A data set, decoded into memory and not kept."""
    decoded = _decoded(name, source)

    def side(arrays: Arrays) -> CachedSide:
        digests = digests_of(arrays.inputs, *arrays.others.values())
        return CachedSide(
            arrays.inputs,
            _labels(arrays),
            digests,
            arrays.groups,
            root=source.root,
            input_name=arrays.input_name,
            others=arrays.others,
        )

    train = None if decoded.train is None else side(decoded.train)
    return CachedData(train, side(decoded.test), tuple(decoded.classes))


def made_by_of(name: str, source: Source, params: Mapping[str, Any]) -> str:
    """Hash of the code of a data set, and of its parameters where the code is not ours."""
    made_by = _code_of(source)
    if params and (is_users(source) or name not in DATA.table):
        # By `repr`, to which 1, 1.0, True and "1" are four values.
        made_by = key_of(made_by, repr(sorted(params.items())))
    return made_by


def key_of(*parts: object) -> str:
    """Hash of what tells data sets apart, as the end of an entry's name."""
    return hashlib.sha256(":".join(map(str, (CACHE_LAYOUT, *parts))).encode()).hexdigest()[:16]


def _code_of(source: Source) -> str:
    """Hash of the modules that define a source, since what other code decodes is other data."""
    digest = hashlib.sha256()
    for each in type(source).__mro__:
        file = getattr(sys.modules.get(each.__module__), "__file__", None)
        if each is not Source and issubclass(each, Source) and file and Path(file).is_file():
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def is_users(source: Source) -> bool:
    """True if a data set is the user's own, whose helpers are code that decodes too."""
    return type(source).__module__.partition(".")[0] != __package__.partition(".")[0]


def _opened(name: str, key: str, source: Source) -> CachedData:
    """The entry of that key, decoded first where there is none or a damaged one."""
    entry = CacheEntry(KIND, f"{name}-{key}", by_users_code=is_users(source))
    with entry.locked():
        meta = entry.read(_check_complete)
        if meta is None:
            # Code of a user may need all of its files at once.
            if isinstance(source, FileSource) and not is_users(source):
                meta = entry.write(lambda folder: _decode_into(folder, name, source))
            else:
                decoded = _decoded(name, source)
                make_room(sum(_size_of(each) for each in (decoded.train, decoded.test)))
                meta = entry.write(lambda folder: _write(folder, decoded))
        used(entry)
        return _open(entry.folder, meta, source.root)


def _decoded(name: str, source: Source) -> Decoded:
    with progress(f"making {name}") as show:
        decoded = source.decode(show)
    check_classes(name, decoded.classes)
    return decoded


def check_classes(name: str, classes: Sequence[str]) -> None:
    """Refuses a data set of one class; one of none has targets of another kind.

    Raises:
        DataError: naming it.
    """
    if len(classes) == 1:
        raise DataError(f"{name}: 1 class(es); a classification data set needs at least two")


def _decode_into(folder: Path, name: str, source: FileSource) -> Meta:
    """Decodes both sides into files, a few samples at a time."""
    listings = dict(zip(SIDES, source.listings(), strict=True))
    classes = source.classes()
    check_classes(name, classes)
    present = {side: listing for side, listing in listings.items() if listing is not None}
    files = [file for listing in present.values() for file in listing.files]
    make_room(len(files) * source.sample_bytes)
    with progress(f"making {name}") as show:
        _decode_sides(folder, source, present, show)
    return {"classes": classes, "sides": list(present)}


def _decode_sides(folder: Path, source: FileSource, sides: Mapping[str, Listing], show: Progress) -> None:
    files = [file for listing in sides.values() for file in listing.files]
    chunks = in_order(source, files, show)
    start, waiting = 0, None
    for side, listing in sides.items():
        end = start + len(listing.files)
        with (
            ArrayFile(folder / f"{side}_inputs.npy", len(listing.files)) as inputs,
            ArrayFile(folder / f"{side}_digests.npy", len(listing.files)) as digests,
        ):
            while inputs.written < len(listing.files):
                chunk = waiting or next(chunks)
                # One chunk may hold the last samples of a side and the first of the next one.
                part = slice(max(start - chunk.start, 0), end - chunk.start)
                inputs.append(chunk.inputs[part])
                digests.append(chunk.digests[part])
                waiting = chunk if chunk.start + len(chunk.inputs) > end else None
        _write_rest(folder, side, listing.labels, listing.groups, listing.places)
        start = end
    # Its end tells of the files that cannot be used.
    next(chunks, None)


def _size_of(arrays: Arrays | None) -> int:
    return 0 if arrays is None else sum(each.nbytes for each in (arrays.inputs, *arrays.others.values()))


def _write(folder: Path, decoded: Decoded) -> Meta:
    sides = {side: arrays for side in SIDES if (arrays := getattr(decoded, side)) is not None}
    for side, arrays in sides.items():
        np.save(folder / f"{side}_inputs.npy", arrays.inputs)
        for at, other in enumerate(arrays.others.values()):
            np.save(folder / f"{side}_inputs_{at + 1}.npy", other)
        _write_rest(folder, side, _labels(arrays), arrays.groups, arrays.places)
        np.save(folder / f"{side}_digests.npy", digests_of(arrays.inputs, *arrays.others.values()))
    names = [decoded.test.input_name, *decoded.test.others]
    return {"classes": decoded.classes, "sides": list(sides), **({} if names == [INPUT] else {"inputs": names})}


def _labels(arrays: Arrays) -> NDArray[Any]:
    """Classes as int64; targets of other kinds as they are."""
    return arrays.labels.astype(np.int64) if arrays.labels.dtype.kind in "iub" else arrays.labels


def _write_rest(
    folder: Path,
    side: str,
    labels: NDArray[Any],
    groups: NDArray[np.int64] | None,
    places: tuple[str, ...] | None,
) -> None:
    np.save(folder / f"{side}_labels.npy", labels)
    if groups is not None:
        np.save(folder / f"{side}_{GROUPS}.npy", groups.astype(np.int64))
    if places is not None:
        (folder / f"{side}_{PLACES}").write_text(json.dumps(places), encoding="ascii")


def _check_complete(meta: Meta) -> None:
    """Refuses a description that lacks a file or the classes, with a KeyError or TypeError."""
    files = set(meta["sha256"])
    needed = (*PARTS, GROUPS) if any(file.endswith(f"_{GROUPS}.npy") for file in files) else PARTS
    needed = (*needed, *(f"inputs_{at}" for at in range(1, len(meta.get("inputs", [INPUT])))))
    if absent := {f"{side}_{part}.npy" for side in meta["sides"] for part in needed} - files:
        raise KeyError(min(absent))
    tuple(meta["classes"])


def _open(folder: Path, meta: Meta, root: Path | None) -> CachedData:
    input_name, *others = meta.get("inputs", [INPUT])

    def mapped(file: str) -> NDArray[Any]:
        # Copy-on-write: a stray in-place operation can change a tensor in memory, never the file.
        # As plain arrays on that map: numpy's memmap class would make itself felt in every slice of a batch.
        return np.asarray(np.load(folder / file, mmap_mode="c"))

    def side(name: str) -> CachedSide:
        parts = [*PARTS, GROUPS] if f"{name}_{GROUPS}.npy" in meta["sha256"] else PARTS
        places = folder / f"{name}_{PLACES}" if f"{name}_{PLACES}" in meta["sha256"] else None
        return CachedSide(
            **{part: mapped(f"{name}_{part}.npy") for part in parts},
            places=places,
            root=root,
            input_name=input_name,
            others={other: mapped(f"{name}_inputs_{at}.npy") for at, other in enumerate(others, 1)},
        )

    return CachedData(side("train") if "train" in meta["sides"] else None, side("test"), tuple(meta["classes"]))
