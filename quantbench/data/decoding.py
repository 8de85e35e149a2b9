"""Files decoded in order, by every core and a bounded number ahead of whoever takes them."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantbench.data.folders import Contents, FolderFile
from quantbench.data.source import Progress
from quantbench.errors import DataError

# Decoded by one thread at a time, and by all of them ahead of whoever takes it.
CHUNK_BYTES, AHEAD_BYTES = 1 << 20, 64 << 20
CHUNK_FILES = 64
# 16 bytes make an accidental collision among millions of samples impossible in practice.
DIGEST_BYTES = 16
# Files that cannot be used and are named; the rest is counted.
SHOWN_PROBLEMS = 5
T = TypeVar("T")
R = TypeVar("R")


class Decoder(Protocol):
    """A data set that decodes files, see `FileSource`."""

    contents: Contents
    sample_bytes: int

    def decode_files(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """Decodes files into `[n, …]`, in their order."""

    def decode_again(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """The same for files that were decoded before."""


class UnusableFilesError(DataError):
    """Files of a kind that cannot be used, all of which are told at once.

    Args:
        problems: one line each, with path and reason.
        n: files that were looked at.
        kind: of the files, in the plural.
    """

    def __init__(self, problems: Sequence[str], n: int, kind: str) -> None:
        self.problems, self.kind = list(problems), kind
        more = f"; and {len(problems) - SHOWN_PROBLEMS:,} more" if len(problems) > SHOWN_PROBLEMS else ""
        super().__init__(
            f"{len(problems):,} of {n:,} {kind} cannot be used: {'; '.join(problems[:SHOWN_PROBLEMS])}{more}. Repair "
            "or remove them; nothing that was decoded before is lost"
        )


@dataclass(frozen=True)
class Chunk:
    """Samples of a few files.

    Attributes:
        start: position of the first among the files.
        inputs: `[k, …]` as stored.
        digests: `[k, 16]` uint8, a content hash per sample; empty where they are known.
        hashes: `[k, 32]` uint8, SHA-256 of the files' bytes; None where they were not asked for.
    """

    start: int
    inputs: NDArray[Any]
    digests: NDArray[np.uint8]
    hashes: NDArray[np.uint8] | None = None


def digests_of(*inputs: NDArray[Any]) -> NDArray[np.uint8]:
    """`[n, 16]` content hashes of samples, over each of their inputs `[n, …]`."""
    found = []
    for rows in zip(*(np.ascontiguousarray(each) for each in inputs), strict=True):
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for row in rows:
            digest.update(row)
        found.append(digest.digest())
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def chunk_files(sample_bytes: int) -> int:
    """Files that one thread decodes at a time."""
    return max(1, min(CHUNK_FILES, CHUNK_BYTES // max(sample_bytes, 1)))


def in_order(
    source: Decoder, files: Sequence[FolderFile], progress: Progress, with_hashes: bool = False, is_known: bool = False
) -> Generator[Chunk]:
    """Decodes files on every core and gives their samples in order.

    Args:
        source: says how.
        files: of the samples.
        progress: called with files done and in all.
        with_hashes: hash the files' bytes too.
        is_known: they were decoded before, and have not changed since.

    Raises:
        DataError: for the first file that cannot be used; of data sets that look at all of them first, naming several.
    """
    size = chunk_files(source.sample_bytes)

    def decoded(start: int) -> Chunk | UnusableFilesError:
        part = list(files[start : start + size])
        hashes = np.stack([source.contents.hash_of(file) for file in part]) if with_hashes else None
        try:
            inputs = (source.decode_again if is_known else source.decode_files)(part, lambda *_: None)
        except UnusableFilesError as error:
            return error
        return Chunk(start, inputs, digests_of(inputs[:0] if is_known else inputs), hashes)

    problems: list[str] = []
    kind = ""
    ahead = max(2, AHEAD_BYTES // (size * max(source.sample_bytes, 1)))
    with ahead_of(decoded, range(0, len(files), size), ahead) as results:
        for at, found in enumerate(results, 1):
            if isinstance(found, UnusableFilesError):
                problems, kind = problems + found.problems, found.kind
            elif not problems:
                yield found
            progress(min(at * size, len(files)), len(files))
    if problems:
        raise UnusableFilesError(problems, len(files), kind)


@contextmanager
def ahead_of(work: Callable[[T], R], tasks: Sequence[T], ahead: int) -> Iterator[Iterator[R]]:
    """Results of tasks in their order, computed by a thread for each core, at most `ahead` of them in advance.

    Whoever stops taking them ends the work.
    """
    threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="quantbench-decode")
    waiting: deque[Future[R]] = deque()

    def results() -> Iterator[R]:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > min(ahead, 8 * threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield results()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
