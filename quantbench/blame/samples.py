"""Samples that layers are compared on, and test samples in random order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Inputs
from quantbench.data.splits import Split
from quantbench.experiment.workload import OpenWorkload
from quantbench.recipes.spec import Recipe, StaticInt8

CALIBRATION_N, TEST_N = 96, 64
BATCH = 32
# Of all inputs that are kept.
MOST_BYTES = 128 << 20
SEED = 20_210_615


@dataclass(frozen=True)
class Samples:
    """Inputs that are kept, in batches.

    Attributes:
        shown: calibration samples that the recipe has calibrated with, as far as they are taken.
        unshown: other calibration samples.
        test: test samples, without labels.
        calibration_n: samples that the recipe calibrated with; None where that is not known.
    """

    shown: list[Inputs]
    unshown: list[Inputs]
    test: list[Inputs]
    calibration_n: int | None

    @property
    def counts(self) -> tuple[int, int]:
        """Calibration samples and test samples."""
        return count(self.shown) + count(self.unshown), count(self.test)


def samples_for(opened: OpenWorkload, recipe: Recipe) -> Samples:
    """Those that layers are compared on; without a training side they are all of the test set."""
    test, calibration = opened.splits.test, opened.splits.calibration
    known = recipe.calibration_n if isinstance(recipe, StaticInt8) else None
    most = _most(test)
    if calibration.absent or not len(calibration):
        return Samples([], [], _batches(test, 0, min(TEST_N * 2, most)), None)
    n = min(CALIBRATION_N, len(calibration), most)
    border = min(n, known or 0)
    return Samples(
        _batches(calibration, 0, border),
        _batches(calibration, border, n),
        _batches(test, 0, min(TEST_N, most)),
        None if known is None else min(known, len(calibration)),
    )


def count(batches: list[Inputs]) -> int:
    """Samples in batches."""
    return sum(len(next(iter(each.values()))) for each in batches)


def samples_at(split: Split, positions: NDArray[np.int64]) -> Inputs:
    """Inputs of samples at positions of a split, normalized."""
    indices = split.settled().indices
    rows = split.side.rows(positions if indices is None else indices[positions])
    return {name: split.normalization(array) for name, array in rows.items()}


def shuffled(n: int, parts: tuple[float, ...]) -> Iterator[NDArray[np.int64]]:
    """Positions of `n` samples, drawn without replacement, in as many pieces as parts, which sum to 1."""
    order = np.random.default_rng(SEED).permutation(n)
    ends = [round(n * each) for each in np.cumsum(parts)]
    for start, end in zip([0, *ends[:-1]], [*ends[:-1], n], strict=True):
        yield np.sort(order[start:end])


def _most(split: Split) -> int:
    one = samples_at(split, np.arange(min(1, len(split))))
    return max(8, MOST_BYTES // max(sum(array.nbytes for array in one.values()), 1))


def _batches(split: Split, start: int, end: int) -> list[Inputs]:
    end = min(end, len(split))
    return [samples_at(split, np.arange(at, min(at + BATCH, end))) for at in range(start, end, BATCH)]
