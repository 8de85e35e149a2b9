"""Files of one split, decoded when somebody asks for them, and kept in the cache where they have room there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.cache import CacheEntry, Meta
from quantbench.data.array_file import ArrayFile
from quantbench.data.cache import key_of
from quantbench.data.decoding import CHUNK_FILES, Chunk, ahead_of, in_order
from quantbench.data.file_source import FileSource
from quantbench.data.folders import FolderFile
from quantbench.data.room import KIND, fits, make_room, used
from quantbench.errors import CacheError
from quantbench.files import cache_dir, printable
from quantbench.progress import progress
from quantbench.temporary import temporary_name

# Entries that say which content files had, and which digests their samples, when the system last described them so.
KNOWN = "data_pools"
INPUTS, DIGESTS, HASHES = "inputs.npy", "digests.npy", "hashes.npy"
# Samples that are not in the cache are kept in memory up to here.
IN_MEMORY_BYTES = 192 << 20


class Pool:
    """Samples that are decoded together. Making one reads nothing.

    Args:
        name: of the data set.
        source: the data set.
        files: of the samples, in their order.
        made_by: hash of the code of the data set.
        keep: keep them in the cache, if they fit.

    Attributes:
        inputs: `[n, …]` as stored, in memory or mapped; None as long as they are decoded anew in each pass.
    """

    def __init__(self, name: str, source: FileSource, files: Sequence[FolderFile], made_by: str, keep: bool) -> None:
        self.name, self.source, self.files, self.made_by = name, source, files, made_by
        self.inputs: NDArray[Any] | None = None
        self._keep = keep
        self._known: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._looked = False

    @property
    def is_known(self) -> bool:
        """The content of every sample is known, from the cache or because all were decoded."""
        if self._known is None and not self._looked:
            self._looked = True
            self._look_up()
        return self._known is not None

    @property
    def digests(self) -> NDArray[np.uint8]:
        """`[n, 16]` content hash per sample."""
        return self._contents()[0]

    @property
    def hashes(self) -> NDArray[np.uint8]:
        """`[n, 32]` SHA-256 of each file's bytes."""
        return self._contents()[1]

    def _contents(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if not self.is_known:
            self._decode_all()
        if self._known is None:
            raise RuntimeError(f"{self.name}: decoded, and still not known")
        return self._known

    def _decode_all(self) -> None:
        with progress(f"making {self.name}") as show:
            for _ in self.decoded(show):
                pass

    def rows(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Some samples as stored, `[m, …]`."""
        if self.inputs is None and self.is_known and not self.keeps:
            return np.concatenate([chunk.inputs for chunk in self.again(rows)])
        if self.inputs is None:
            self._decode_all()
        if self.inputs is None:
            return self.rows(rows)
        return self.inputs[rows]

    def again(self, rows: NDArray[np.int64] | slice) -> Generator[Chunk]:
        """Some samples, decoded now and not kept."""
        files = self.files[rows] if isinstance(rows, slice) else [self.files[row] for row in rows]
        return in_order(self.source, files, lambda *_: None, is_known=self._known is not None)

    def decoded(self, show: Callable[[int, int], None] = lambda *_: None) -> Generator[Chunk]:
        """Every sample, decoded now; whoever takes all of them leaves them kept, and their content known.

        Whoever does not leaves nothing.
        """
        draft = _Draft(self.name, len(self.files)) if self.keeps else None
        in_memory: list[NDArray[Any]] | None = [] if draft is None and self._bytes() <= IN_MEMORY_BYTES else None
        digests, hashes = [], []
        try:
            for chunk in in_order(self.source, self.files, show, with_hashes=True):
                if draft is not None and not draft.append(chunk):
                    draft, self._keep = None, False
                if in_memory is not None:
                    in_memory.append(chunk.inputs)
                digests.append(chunk.digests)
                hashes.append(chunk.hashes)
                yield chunk
            known = np.concatenate(digests), np.concatenate([each for each in hashes if each is not None])
            content = self._content(known[1])
            if draft is not None:
                self._commit(draft, content, known)
        finally:
            if draft is not None:
                draft.remove()
        if in_memory is not None:
            self.inputs = np.concatenate(in_memory)
        self._note(content, known)
        self._known = known

    def _bytes(self) -> int:
        return len(self.files) * self.source.sample_bytes

    @property
    def keeps(self) -> bool:
        """Decoded samples are kept in the cache."""
        if self._keep and not fits(self._bytes()):
            self._keep = False
            print(
                f"{self.name}: {len(self.files):,} decoded samples have no room in the cache; they are decoded anew in "
                "each pass",
                file=sys.stderr,
            )
        return self._keep

    def _outline(self) -> str:
        sizes = "\0".join(f"{file.place}\0{file.size}" for file in self.files)
        return key_of("pool", self.made_by, self.source.facts(), sizes.encode(errors="surrogateescape"))

    def _content(self, hashes: NDArray[np.uint8]) -> str:
        return f"{self._outline()}-{key_of(hashes.tobytes())}"

    def _known_entry(self) -> CacheEntry:
        return CacheEntry(KNOWN, f"{self.name}-{key_of('pool', self.made_by, self.source.stat_key(self.files))}")

    def _look_up(self) -> None:
        """Finds what the cache has of these files, which may have been copied or moved since."""
        known = self._known_entry()
        with known.locked():
            meta = known.read(lambda meta: (str(meta["content"]), meta["sha256"][DIGESTS], meta["sha256"][HASHES]))
            if meta is not None:
                self._known = _loaded(known.folder)
                content = str(meta["content"])
        if meta is None:
            if not any((cache_dir() / KIND).glob(f"{self.name}-{self._outline()}-*")):
                return
            content = self._content(hashes_of(self.source, self.files))
        if self._open(content) and meta is None and self._known is not None:
            self._note(content, self._known)

    def _open(self, content: str) -> bool:
        entry = CacheEntry(KIND, f"{self.name}-{content}")
        if not self._keep or not entry.folder.exists():
            return False
        with entry.locked():
            if entry.read(_check_complete) is None:
                return False
            used(entry)
            self._known = _loaded(entry.folder)
            self.inputs = np.asarray(np.load(entry.folder / INPUTS, mmap_mode="c"))
            return True

    def _commit(self, draft: _Draft, content: str, known: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        entry = CacheEntry(KIND, f"{self.name}-{content}")
        try:
            with entry.locked():
                # Another process may have been as quick.
                if not entry.folder.exists() or entry.read(_check_complete) is None:
                    make_room(draft.n_bytes)
                    entry.write(lambda folder: draft.move_to(folder, known))
                self.inputs = np.asarray(np.load(entry.folder / INPUTS, mmap_mode="c"))
        except CacheError as error:
            self._keep = False
            print(f"{error}; until then samples are decoded anew in each pass", file=sys.stderr)

    def _note(self, content: str, known: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        def fill(folder: Path) -> Meta:
            _save(folder, known)
            return {"content": content}

        entry = self._known_entry()
        # It saves reading the files again, no more.
        with suppress(CacheError), entry.locked():
            entry.write(fill)


class _Draft:
    """Decoded samples on their way into the cache, beside the entries; removed if anything goes wrong."""

    def __init__(self, name: str, n: int) -> None:
        self.folder = cache_dir() / KIND / temporary_name(name)
        self.n_bytes = 0
        self._inputs = ArrayFile(self.folder / INPUTS, n)

    def append(self, chunk: Chunk) -> bool:
        """Writes samples; False, with a notice, where they cannot be written, and then nothing is left."""
        try:
            if chunk.start == 0:
                self.folder.mkdir(parents=True)
                self._inputs.__enter__()
            self._inputs.append(chunk.inputs)
        except OSError as error:
            self.remove()
            print(
                f"{printable(self.folder.parent)}: cannot be written ({error.strerror or error}); samples are decoded "
                "anew in each pass",
                file=sys.stderr,
            )
            return False
        self.n_bytes += chunk.inputs.nbytes
        return True

    def move_to(self, folder: Path, known: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> Meta:
        """Moves them into the folder of an entry, with their digests."""
        self._inputs.__exit__(None, None, None)
        (self.folder / INPUTS).replace(folder / INPUTS)
        _save(folder, known)
        return {}

    def remove(self) -> None:
        """Removes what is left of it."""
        with suppress(OSError):
            self._inputs.__exit__(None, None, None)
        shutil.rmtree(self.folder, ignore_errors=True)


def hashes_of(source: FileSource, files: Sequence[FolderFile], label: str = "") -> NDArray[np.uint8]:
    """SHA-256 of files, `[n, 32]` uint8, on every core and without decoding them."""

    def hashed(start: int) -> NDArray[np.uint8]:
        return np.stack([source.contents.hash_of(file) for file in files[start : start + CHUNK_FILES]])

    found = [np.empty((0, 32), np.uint8)]
    starts = range(0, len(files), CHUNK_FILES)
    with progress(label or "reading files") as show, ahead_of(hashed, starts, len(starts)) as results:
        for part in results:
            found.append(part)
            show(min(len(found) * CHUNK_FILES, len(files)), len(files))
    return np.concatenate(found)


def _check_complete(meta: Meta) -> None:
    for file in (INPUTS, DIGESTS, HASHES):
        _ = meta["sha256"][file]


def _loaded(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.load(folder / DIGESTS), np.load(folder / HASHES)


def _save(folder: Path, known: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    for file, values in zip((DIGESTS, HASHES), known, strict=True):
        np.save(folder / file, values)
