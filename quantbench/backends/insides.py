"""Values inside of a reference and its candidate, layer by layer, and the candidate with layers put back.

Every quantizer is given to one layer: that whose weights, or whose results, it rounds. A layer that is put back
computes in floating point with the reference's weights, and hands on what it computed without rounding it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Inputs, Outputs

Floats = NDArray[np.float64]
Array = NDArray[Any]
# One batch through a model.
Forward = Callable[[Inputs], Outputs]
# The name of what stands for the model's input.
INPUT = "input"


@dataclass(frozen=True)
class Grid:
    """The values that integers stand for: `scale · (code - zero_point)`.

    Attributes:
        scale: one, or one per channel, in a shape that meets the values.
        zero_point: the same; no whole number where zero is not on the grid.
        first: the lowest code.
        last: the highest code.
        axis: of the channels; None for one scale, or for one of each value, as blocks have.

    Example:
        >>> Grid.of(0.5, 0, 0, 255).rounded(np.array([0.2, 0.3, 400.0]))
        array([  0. ,   0.5, 127.5])
    """

    scale: Floats
    zero_point: Floats
    first: int
    last: int
    axis: int | None = None

    @classmethod
    def of(cls, scale: Any, zero_point: Any, first: int, last: int, axis: int | None = None, ndim: int = 0) -> Grid:
        """From numbers, or from arrays along an axis of values of `ndim` axes."""
        scales = np.asarray(scale, np.float64).reshape(-1)
        zeros = np.asarray(zero_point, np.float64).reshape(-1)
        shape: tuple[int, ...] = ()
        if scales.size > 1 and axis is not None:
            shape = tuple(-1 if each == axis % ndim else 1 for each in range(ndim))
        else:
            axis = None
            scales = scales[:1]
        zeros = zeros if zeros.size == scales.size else zeros[:1]
        return cls(scales.reshape(shape), zeros.reshape(shape if zeros.size > 1 else ()), first, last, axis)

    @property
    def low(self) -> Floats:
        """The lowest values."""
        return np.minimum(*self._ends)

    @property
    def high(self) -> Floats:
        """The highest values."""
        return np.maximum(*self._ends)

    @property
    def _ends(self) -> tuple[Floats, Floats]:
        """Values of the first and of the last code: scales of blocks may be negative."""
        first, last = (np.asarray(self.scale * (code - self.zero_point)) for code in (self.first, self.last))
        return first, last

    def clipped(self, values: Array) -> Floats:
        """Values within the ends of the grid, not rounded."""
        return np.clip(values, self.low, self.high)

    def rounded(self, values: Array) -> Floats:
        """Values as integers hold them."""
        codes = np.clip(np.round(values / self.scale + self.zero_point), self.first, self.last)
        return np.asarray(self.scale * (codes - self.zero_point))

    def moved(self, channel: int) -> Grid:
        """The grid of the same values with an axis of theirs moved to the front."""
        if not self.scale.ndim:
            return self
        ndim = self.scale.ndim
        channel, axis = channel % ndim, None if self.axis is None else self.axis % ndim
        zero_point = np.moveaxis(self.zero_point, channel, 0) if self.zero_point.ndim else self.zero_point
        # Of blocks each value has a scale of its own.
        at = None if axis is None else 0 if axis == channel else axis + (axis < channel)
        return Grid(np.moveaxis(self.scale, channel, 0), zero_point, self.first, self.last, at)

    def codes(self, values: Array) -> Floats:
        """Places on the grid, neither rounded nor clipped."""
        return np.asarray(values / self.scale + self.zero_point)


@dataclass(frozen=True)
class Parameter:
    """A layer's weight or bias, output channels first.

    Attributes:
        reference: real values of the reference; None where they are not known.
        candidate: real values of the candidate.
        grid: of the candidate's integers; None where it keeps real numbers. Its axis is 0 where it has one scale for
            each output channel.
    """

    reference: Array | None
    candidate: Array
    grid: Grid | None = None

    @classmethod
    def of(cls, reference: Array | None, candidate: Array, grid: Grid | None, channel: int) -> Parameter:
        """With its output channels moved to the front.

        Args:
            reference: see `Parameter`; left out where its shape is another one.
            candidate: the same.
            grid: that meets the values as they are given.
            channel: axis of the output channels.
        """
        if reference is not None and reference.shape != candidate.shape:
            reference = None
        moved = None if reference is None else np.moveaxis(reference, channel, 0)
        return cls(moved, np.moveaxis(candidate, channel, 0), None if grid is None else grid.moved(channel))


@dataclass(frozen=True)
class InnerLayer:
    """A layer of a candidate beside the reference's.

    Attributes:
        name: in the candidate, without what tools add.
        op: the operator or the type of the module; `input` for the model's input.
        weight: see `Parameter`; None for a layer without.
        bias: the same.
        results: grids of its results, in the order in which they are rounded; none where they stay real numbers.
        channels_last: channels of its results are their last axis instead of the second.
        is_changed: it computes otherwise than the reference's, and what it rounds is not known but by its weights.
    """

    name: str
    op: str
    weight: Parameter | None = None
    bias: Parameter | None = None
    results: tuple[Grid, ...] = ()
    channels_last: bool = False
    is_changed: bool = False

    @property
    def is_quantized(self) -> bool:
        """It has a quantizer, or may have one."""
        return self.is_changed or bool(self.results) or (self.weight is not None and self.weight.grid is not None)

    @property
    def grid(self) -> Grid | None:
        """Of its results; None where they stay real numbers."""
        return self.results[0] if self.results else None


@dataclass(frozen=True)
class Values:
    """Results of one layer for one batch, `[n, …]` each.

    Attributes:
        reference: in the reference.
        candidate: in the candidate as it runs.
        exact: with the candidate's weights, from the reference's inputs, before its results are rounded.
        simulated: from the candidate's own inputs, before rounding, in floating point; None where it is not known.
    """

    reference: Array
    candidate: Array
    exact: Array
    simulated: Array | None = None


@dataclass(frozen=True)
class Inside:
    """One batch.

    Attributes:
        layers: values by layer.
        reference: outputs of the reference.
        candidate: outputs of the candidate.
        all_back: outputs of the candidate with every layer put back; None where that is the reference for sure.
    """

    layers: Mapping[str, Values]
    reference: Mapping[str, Array]
    candidate: Mapping[str, Array]
    all_back: Mapping[str, Array] | None = None


class Insides(ABC):
    """A reference and its candidate, opened.

    Attributes:
        layers: matched ones, in the order in which they run.
        unmatched: layers of the candidate that the reference has not, or not in the same place.
        notes: lines about what was done.
    """

    layers: Sequence[InnerLayer]
    unmatched: Sequence[str] = ()
    notes: Sequence[str] = ()

    @abstractmethod
    def run(self, inputs: Inputs) -> Inside:
        """Runs one batch through both.

        Args:
            inputs: arrays `[n, …]`.
        """

    @abstractmethod
    def put_back(self, layers: Collection[str]) -> Forward:
        """The candidate with these layers in the reference's precision.

        Raises:
            QuantizationError: if its graph cannot be edited.
        """
