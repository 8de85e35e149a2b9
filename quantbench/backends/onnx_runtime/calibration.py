"""Ranges of activations: seen in forwards over calibration batches, found as the recipe says.

ONNX Runtime's own calibrators are not used. Its moving average weighs all batches alike, which torch's does not; its
entropy and percentile methods minimize something else than the squared error that `histogram` stands for, and keep all
activations of all batches in memory. Here memory is that of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import QuantizationError

Range = tuple[float, float]
# Gives one batch at a time: values of each tensor by its name.
Activations = Callable[[], Iterable[Mapping[str, NDArray[np.float32]]]]
# Of a moving average, as torch's observers have it.
AVERAGING = 0.01
BINS = 2048
# Ends that are tried on each side: every eighth bin.
STRIDE = 8
CODES = 256


def ranges_of(activations: Activations, method: str) -> dict[str, Range]:
    """The range of each tensor, zero included.

    Args:
        activations: gives the batches anew at each call.
        method: `minmax`, `moving_average` or `histogram`, see `quantbench.recipes.spec.Quantizer`.

    Raises:
        QuantizationError: if a tensor holds NaN or infinity, or there is no batch.
    """
    ends = _ends(activations(), averaged=method == "moving_average")
    if not ends:
        raise QuantizationError("there is no calibration batch: raise calibration_n")
    if method == "histogram":
        histograms = {name: Histogram(*each) for name, each in ends.items()}
        for batch in activations():
            for name, values in batch.items():
                histograms[name].add(values)
        ends = {name: each.least_squares() for name, each in histograms.items()}
    return ends


def _ends(batches: Iterable[Mapping[str, NDArray[np.float32]]], averaged: bool) -> dict[str, Range]:
    """Smallest and largest values, or moving averages of those of batches."""
    ends: dict[str, Range] = {}
    for batch in batches:
        for name, values in batch.items():
            if not values.size:
                continue
            low, high = float(values.min()), float(values.max())
            if not np.isfinite([low, high]).all():
                raise QuantizationError(
                    f"'{name}' holds NaN or infinity in calibration: no scale fits it; look at the weights and at the "
                    "samples of the calibration"
                )
            if name not in ends:
                ends[name] = low, high
            elif averaged:
                before = ends[name]
                ends[name] = before[0] + AVERAGING * (low - before[0]), before[1] + AVERAGING * (high - before[1])
            else:
                ends[name] = min(ends[name][0], low), max(ends[name][1], high)
    return {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in ends.items()}


@dataclass
class Histogram:
    """Counts of a tensor's values between two ends, which hold zero.

    Zeros are left out: they are exact with every scale, and after a ReLU they are most of the values.

    Attributes:
        low: end of the lowest bin.
        high: end of the highest bin.

    Example:
        >>> seen = Histogram(0.0, 100.0)
        >>> seen.add(np.append(np.linspace(0, 1, 10_000, dtype=np.float32), np.float32(100)))
        >>> seen.least_squares()[1] < 100
        True
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Counts more values."""
        if self.high > self.low:
            self.counts += np.histogram(values[values != 0], bins=BINS, range=(self.low, self.high))[0]

    def least_squares(self) -> Range:
        """The range of the least squared error, by the formula of uniform quantization.

        Inside of a range values are off by `scale² / 12` on average; those beyond an end by their distance to it.
        Source: the criterion of torch's HistogramObserver; deviation: all pairs of ends in a grid are compared, instead
        of narrowing the range step by step.
        """
        if not self.counts.any():
            return self.low, self.high
        edges = np.linspace(self.low, self.high, BINS + 1)
        centers = (edges[:-1] + edges[1:]) / 2
        sums = [np.concatenate([[0.0], np.cumsum(self.counts * centers**power)]) for power in range(3)]
        # Every eighth end on both sides of zero, and the outermost ones.
        lows = np.unique([0, *np.flatnonzero(edges <= 0)[::STRIDE]])
        highs = np.unique([BINS, *np.flatnonzero(edges >= 0)[::-STRIDE]])
        below = _squares([each[lows] for each in sums], edges[lows])
        above = _squares([each[-1] - each[highs] for each in sums], edges[highs])
        inside = sums[0][highs][None, :] - sums[0][lows][:, None]
        width = edges[highs][None, :] - edges[lows][:, None]
        errors = below[:, None] + above[None, :] + inside * (width / (CODES - 1)) ** 2 / 12
        errors[width <= 0] = np.inf
        at, to = np.unravel_index(np.argmin(errors), errors.shape)
        return float(min(edges[lows[at]], 0.0)), float(max(edges[highs[to]], 0.0))


def _squares(sums: list[NDArray[np.float64]], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of `(x − end)²` from those of 1, x and x²."""
    count, first, second = sums
    found: NDArray[np.float64] = second - 2 * end * first + end**2 * count
    return found
