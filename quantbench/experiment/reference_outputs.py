"""A reference's outputs for the test split, cached by a hash of its inputs, so that the candidate runs alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.backends.interface import Artifact, Predictor
from quantbench.cache import CacheEntry, Meta
from quantbench.experiment.built import entry_of
from quantbench.experiment.reference_answers import answers_first, content_of
from quantbench.experiment.workload import OpenWorkload

KIND, AGAIN = "outputs", "running the reference again"
# Of all samples; larger ones are not kept.
LARGEST_BYTES = 256 << 20


class _Ragged(Exception):  # noqa: N818 — never leaves this module
    """The outputs of some batch are of another shape."""


def reference_outputs(
    opened: OpenWorkload, artifact: Artifact, predictor: Predictor, keeps_files: bool = False
) -> Iterator[Outputs]:
    """The reference's outputs of each batch of the test split, from the cache or made now.

    As with its evaluation, those in the cache count while the model answers the first batch with the same bits.

    Args:
        opened: the workload.
        artifact: the reference.
        predictor: loaded from it.
        keeps_files: also where it is a file made elsewhere.
    """
    size, test = opened.workload.config.evaluation.batch_size, opened.splits.test
    kept = None
    if opened.workload.config.reference is None or keeps_files:
        kept = _kept(opened, artifact, predictor)
    if kept is None:
        for inputs in test.batches(size):
            yield predictor(inputs)
        return
    for start in range(0, len(test), size):
        yield {name: array[start : start + size] for name, array in kept.items()}


def _kept(opened: OpenWorkload, artifact: Artifact, predictor: Predictor) -> Outputs | None:
    """Outputs of all samples, mapped; None where they are too large, or no array of a row per sample."""
    n, first = len(opened.splits.test), answers_first(opened, predictor)
    batch = len(next(iter(first.values()))) if first else 0
    is_plain = all(array.ndim and len(array) == batch and array.dtype.kind in "fiub" for array in first.values())
    if not batch or not is_plain or sum(array.nbytes for array in first.values()) / batch * n > LARGEST_BYTES:
        return None
    content = content_of(opened, artifact)
    entry = entry_of(KIND, opened.workload.name, content, AGAIN)

    def fill(folder: Path) -> Meta:
        names = list(first)
        rows = [
            np.lib.format.open_memmap(_file(folder, i), "w+", first[name].dtype, (n, *first[name].shape[1:]))
            for i, name in enumerate(names)
        ]
        start = 0
        for inputs in opened.splits.test.batches(batch):
            found = predictor(inputs)
            stop = start + len(next(iter(found.values())))
            for name, row in zip(names, rows, strict=True):
                if name not in found or found[name].shape != (stop - start, *row.shape[1:]):
                    raise _Ragged
                row[start:stop] = found[name]
            start = stop
        for row in rows:
            row.flush()
        return {"content": content, "names": names}

    with entry.locked():
        if found := _read(entry, entry.read(lambda meta: meta["names"]), first):
            return found
        try:
            return _read(entry, entry.write(fill), first)
        except _Ragged:
            return None


def _read(entry: CacheEntry, meta: Meta | None, first: Outputs) -> Outputs | None:
    if meta is None:
        return None
    found: dict[str, NDArray[np.generic]] = {
        name: np.load(_file(entry.folder, i), mmap_mode="r") for i, name in enumerate(meta["names"])
    }
    same = found.keys() == first.keys() and all(
        found[name][: len(array)].tobytes() == array.tobytes() for name, array in first.items()
    )
    return found if same else None


def _file(folder: Path, place: int) -> Path:
    return folder / f"{place}.npy"
