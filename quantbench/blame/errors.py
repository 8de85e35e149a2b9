"""Errors of one layer over samples: sums that batches are added to, and what follows from them.

Signal-to-quantization-noise ratios are in decibels, `10 · log10(Σ x² / Σ (x - x̂)²)`, as in Nagel et al.,
arXiv:2106.08295, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, log10

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.insides import Array, Grid, InnerLayer, Values

Floats = NDArray[np.float64]
# Shown where there is no error at all, and where there is no signal.
LARGEST_DB = 150.0


def decibels(signal: float, noise: float) -> float:
    """The ratio of two sums of squares.

    Example:
        >>> decibels(100.0, 1.0), decibels(1.0, 0.0)
        (20.0, 150.0)
    """
    if noise <= 0:
        return LARGEST_DB
    return min(10 * log10(signal / noise), LARGEST_DB) if signal > 0 else -LARGEST_DB


@dataclass
class Errors:
    """Sums over the values of one layer's results; `Σ (a - b)²` where two names meet.

    Attributes:
        layer: see `InnerLayer`.
        n: values.
        signal: of the reference.
        propagated: candidate - reference: as it runs.
        local: results from the reference's inputs - reference: what the layer does by itself.
        weights: the same before results are rounded: what its weights and bias do.
        rounded: what rounding and clipping its results does.
        clipped: the part of it that is beyond the ends of the grid.
        twice: what a second, other quantizer does after the first.
        kernel: what it really gave - what its own inputs give in floating point.
        off: results that are more than one code away from these.
        beyond: values of the reference beyond the ends of the grid.
        zeros: values of the reference that are exactly 0.
        sum: of the absolute local error.
        largest: absolute local error.
        low: of the reference, `[channels]`.
        high: the same.
        candidate_low: of the results from the reference's inputs, `[channels]`.
        candidate_high: the same.
        by_channel: local error, `[channels]`.
    """

    layer: InnerLayer
    n: int = 0
    signal: float = 0.0
    propagated: float = 0.0
    local: float = 0.0
    weights: float = 0.0
    rounded: float = 0.0
    clipped: float = 0.0
    twice: float = 0.0
    kernel: float = 0.0
    off: int = 0
    beyond: int = 0
    zeros: int = 0
    sum: float = 0.0
    largest: float = 0.0
    low: Floats = field(default_factory=lambda: np.full(1, inf))
    high: Floats = field(default_factory=lambda: np.full(1, -inf))
    candidate_low: Floats = field(default_factory=lambda: np.full(1, inf))
    candidate_high: Floats = field(default_factory=lambda: np.full(1, -inf))
    by_channel: Floats = field(default_factory=lambda: np.zeros(1))

    def add(self, values: Values) -> None:
        """Adds a batch."""
        reference, exact = (np.asarray(each, np.float64) for each in (values.reference, values.exact))
        once = self._once(exact)
        local = self._twice(once)
        difference = local - reference
        self.n += reference.size
        self.signal += _squares(reference)
        self.propagated += _squares(values.candidate - reference)
        self.local += _squares(difference)
        self.weights += _squares(exact - reference)
        self.rounded += _squares(once - exact)
        self.twice += _squares(local - once)
        self.zeros += int((reference == 0).sum())
        self.sum += float(np.abs(difference).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        if (grid := self.layer.grid) is not None:
            self.clipped += _squares(exact - grid.clipped(exact))
            half = float(np.max(grid.scale)) / 2
            self.beyond += int(((reference < grid.low - half) | (reference > grid.high + half)).sum())
        self._add_kernel(values, grid)
        self._add_channels(reference, local, difference)

    def join(self, other: Errors) -> None:
        """Adds the sums of other samples."""
        for name in ("n", "signal", "propagated", "local", "weights", "rounded", "clipped", "twice", "kernel", "off",
                     "beyond", "zeros", "sum", "by_channel"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest = max(self.largest, other.largest)
        for name in ("low", "candidate_low"):
            setattr(self, name, np.minimum(getattr(self, name), getattr(other, name)))
        for name in ("high", "candidate_high"):
            setattr(self, name, np.maximum(getattr(self, name), getattr(other, name)))

    def _once(self, exact: Floats) -> Floats:
        return exact if self.layer.grid is None else self.layer.grid.rounded(exact)

    def _twice(self, once: Floats) -> Floats:
        for grid in self.layer.results[1:]:
            once = grid.rounded(once)
        return once

    def _add_kernel(self, values: Values, grid: Grid | None) -> None:
        if values.simulated is None:
            return
        expected = self._once(np.asarray(values.simulated, np.float64))
        difference = np.abs(values.candidate - expected)
        self.kernel += _squares(difference)
        if grid is not None:
            self.off += int((difference > 1.5 * grid.scale).sum())

    def _add_channels(self, reference: Floats, local: Floats, difference: Floats) -> None:
        first, last = by_channel(reference, self.layer), by_channel(local, self.layer)
        self.low, self.high = np.minimum(self.low, first.min(axis=1)), np.maximum(self.high, first.max(axis=1))
        self.candidate_low = np.minimum(self.candidate_low, last.min(axis=1))
        self.candidate_high = np.maximum(self.candidate_high, last.max(axis=1))
        self.by_channel = self.by_channel + np.square(by_channel(difference, self.layer)).sum(axis=1)

    @property
    def range(self) -> tuple[float, float]:
        """Of the reference's results, zero included."""
        return min(float(self.low.min()), 0.0), max(float(self.high.max()), 0.0)

    @property
    def propagated_db(self) -> float:
        """SQNR as it runs."""
        return decibels(self.signal, self.propagated)

    @property
    def local_db(self) -> float:
        """SQNR of the layer by itself."""
        return decibels(self.signal, self.local)

    @property
    def weights_db(self) -> float:
        """SQNR of its weights' part."""
        return decibels(self.signal, self.weights)

    def share(self, energy: float) -> float:
        """Part of the local error, 0..1."""
        return min(energy / self.local, 1.0) if self.local > 0 else 0.0


def by_channel(values: Array, layer: InnerLayer) -> Floats:
    """`[channels, …]` of results."""
    if values.ndim < 2:
        return np.asarray(values).reshape(1, -1)
    axis = -1 if layer.channels_last else 1
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _squares(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())
