"""Batches of a split whose files are decoded meanwhile, a bounded number ahead of whoever takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import INPUT
from quantbench.data.decoding import Chunk
from quantbench.data.file_side import FileSide
from quantbench.data.pools import Pool

# Samples as stored and their positions in the side.
Part = tuple[NDArray[Any], NDArray[np.int64]]
Batches = Generator[tuple[dict[str, NDArray[Any]], NDArray[np.int64]]]


@dataclass(frozen=True)
class Asked:
    """Samples that somebody asks for.

    Attributes:
        batch_size: samples of a batch.
        limit: samples in all; None for those of the whole split.
        distinct: leave those out that repeat an earlier one.
        checked: check the whole split before a part of it is given.
    """

    batch_size: int
    limit: int | None
    distinct: bool
    checked: bool


def streamed(
    side: FileSide,
    indices: NDArray[np.int64] | None,
    settled: Callable[[], NDArray[np.int64] | None],
    asked: Asked,
) -> Batches | None:
    """Batches as stored, with the positions of their samples in the side; None where they lie in memory or are mapped.

    Args:
        side: the samples' side.
        indices: positions of a split's samples in it; None for all of them.
        settled: gives the positions that are left once repeats are known.
        asked: which samples, and how many at a time.
    """
    whole = np.arange(len(side)) if indices is None else indices
    if len(whole) == 0:
        return None
    pool, _ = side.pool_of(whole)
    if not pool.is_known:
        if asked.limit is None or asked.limit >= len(whole):
            chunks = pool.decoded()
        elif asked.checked:
            return None
        else:
            chunks = _few_at_a_time(pool, len(whole), asked.limit)
        parts = _parts(chunks, whole)
        found = _without_repeats(parts) if asked.distinct else ((inputs, at) for _, inputs, at in parts)
        return _batches(_at_most(found, asked.limit), asked.batch_size, chunks)
    if pool.inputs is not None:
        return None
    wanted = settled()
    wanted = whole if wanted is None else wanted
    _, rows = side.pool_of(wanted)
    if pool.keeps and asked.limit is None:
        # It was in the cache, and is not any more.
        chunks = pool.decoded()
        return _batches(_chosen(_parts(chunks, whole), wanted), asked.batch_size, chunks)
    chunks = pool.again(rows[: asked.limit])
    parts = _parts(chunks, wanted)
    return _batches(((inputs, at) for _, inputs, at in parts), asked.batch_size, chunks)


def _few_at_a_time(pool: Pool, n: int, step: int) -> Generator[Chunk]:
    """Samples in order, decoded `step` at a time, since few of them will be taken."""
    for start in range(0, n, step):
        with closing(pool.again(slice(start, start + step))) as chunks:
            for chunk in chunks:
                yield replace(chunk, start=start + chunk.start)


def _parts(chunks: Iterable[Chunk], positions: NDArray[np.int64]) -> Iterator[tuple[Chunk, NDArray[Any], NDArray[Any]]]:
    """Chunks, with the positions of their samples."""
    for chunk in chunks:
        yield chunk, chunk.inputs, positions[chunk.start : chunk.start + len(chunk.inputs)]


def _without_repeats(parts: Iterable[tuple[Chunk, NDArray[Any], NDArray[Any]]]) -> Iterator[Part]:
    seen: set[bytes] = set()
    for chunk, inputs, positions in parts:
        is_new = np.zeros(len(inputs), np.bool_)
        for at, digest in enumerate(map(bytes, chunk.digests)):
            is_new[at] = digest not in seen
            seen.add(digest)
        yield (inputs, positions) if is_new.all() else (inputs[is_new], positions[is_new])


def _chosen(parts: Iterable[tuple[Chunk, NDArray[Any], NDArray[Any]]], wanted: NDArray[np.int64]) -> Iterator[Part]:
    for _, inputs, positions in parts:
        kept = np.isin(positions, wanted)
        yield inputs[kept], positions[kept]


def _at_most(parts: Iterable[Part], limit: int | None) -> Iterator[Part]:
    left = limit
    for inputs, positions in parts:
        if left is None:
            yield inputs, positions
            continue
        yield inputs[:left], positions[:left]
        left -= len(inputs)
        if left <= 0:
            return


def _batches(parts: Iterable[Part], size: int, source: Generator[Chunk]) -> Batches:
    """Samples in batches of that size, the last perhaps smaller; whoever stops taking them ends the decoding."""
    batch: NDArray[Any] | None = None
    at, filled = np.empty(size, np.int64), 0
    with closing(source):
        for inputs, positions in parts:
            taken = 0
            while taken < len(inputs):
                if batch is None:
                    batch = np.empty((size, *inputs.shape[1:]), inputs.dtype)
                n = min(size - filled, len(inputs) - taken)
                batch[filled : filled + n], at[filled : filled + n] = (
                    inputs[taken : taken + n],
                    positions[taken : taken + n],
                )
                filled, taken = filled + n, taken + n
                if filled == size:
                    yield {INPUT: batch}, at
                    batch, at, filled = None, np.empty(size, np.int64), 0
        if batch is not None:
            yield {INPUT: batch[:filled]}, at[:filled]
