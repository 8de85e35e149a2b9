"""Causes in a layer's weights and bias: each compares them with those that the reference's would be, rounded better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.insides import Grid, Parameter
from quantbench.blame.causes.interface import Cause, Checker, Facts, listed

Floats = NDArray[np.float64]
# Ranges of channels so many times their median are spread.
SPREAD = 3.0
# Codes so many times fewer than rounding would give.
COARSE = 0.35
AGAIN = "recipe: static_int8_per_channel, on the fp32 model"


class _OfWeights(Checker):
    """Base of causes in weights that are rounded."""

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        weight = facts.layer.weight
        if weight is None or weight.reference is None or weight.grid is None:
            return None
        reference, actual = np.asarray(weight.reference, np.float64), np.asarray(weight.candidate, np.float64)
        error = squares(actual - reference)
        if error <= 0 or facts.test.weights <= 0:
            return None
        return self.of(Rounded(weight, weight.grid, reference, actual, error, facts))

    def of(self, rounded: Rounded) -> Cause | None:
        """The cause in weights with their error."""
        raise NotImplementedError


class Rounded:
    """Weights that are rounded, with their error.

    Attributes:
        grid: of the integers.
        reference: `[outputs, …]`.
        actual: as the candidate has them.
        error: sum of squares.
        facts: of the layer.
    """

    def __init__(
        self, weight: Parameter, grid: Grid, reference: Floats, actual: Floats, error: float, facts: Facts
    ) -> None:
        self.weight, self.grid, self.reference, self.actual = weight, grid, reference, actual
        self.error, self.facts = error, facts

    def share(self, better: float) -> float:
        """Part of the layer's error that goes where the weights' error were `better`."""
        test = self.facts.test
        return max(1 - better / self.error, 0.0) * test.share(max(test.weights - bias_error(self.facts), 0.0))

    @property
    def per_channel(self) -> Floats:
        """The reference's weights with one fitting scale for each output channel."""
        return fitted(self.reference, self.grid, tuple(range(1, self.reference.ndim)))

    @property
    def own(self) -> Floats:
        """The reference's weights on the candidate's own grid."""
        return self.grid.rounded(self.reference)


def bias_error(facts: Facts) -> float:
    """Sum over a layer's results of the square of what its bias is off by; an activation behind it may hide some."""
    bias = facts.layer.bias
    if bias is None or bias.reference is None or not bias.candidate.size:
        return 0.0
    return float(np.square(np.asarray(bias.candidate - bias.reference, np.float64)).mean()) * facts.test.n


def squares(values: Floats) -> float:
    """Their sum."""
    return float(np.square(values).sum())


def fitted(values: Floats, grid: Grid, axes: tuple[int, ...]) -> Floats:
    """Values rounded symmetrically to as many codes, with the largest of some axes at the end of the range."""
    most = (grid.last - grid.first) // 2
    scale = np.abs(values).max(axis=axes, keepdims=True) / most
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(np.round(values / scale) * scale)


def ranges_of(values: Floats) -> Floats:
    """Largest absolute value of each output channel."""
    return np.asarray(np.abs(values.reshape(len(values), -1)).max(axis=1))


class WrongAxis(_OfWeights):
    """One scale for each slice along another axis than the output channels', or for another channel."""

    kind, explains = "wrong_axis", "scales of its weights belong to another axis or channel"
    hides = ("weight_clipped", "weight_unused_range", "weight_spread", "other_weights")

    def of(self, rounded: Rounded) -> Cause | None:
        """See `_OfWeights.of`."""
        grid, share = rounded.grid, rounded.share(squares(rounded.per_channel - rounded.reference))
        if grid.axis is None:
            return None
        if grid.axis != 0:
            words = f"its weights have {grid.scale.size} scales along axis {grid.axis}, and their channels are axis 0"
            return self.found(share, words, AGAIN)
        needed, own = ranges_of(rounded.reference), np.asarray(grid.scale).reshape(-1) * (grid.last - grid.first) / 2
        if len(own) != len(needed) or not needed.all():
            return None
        # The same scales in the right order would fit.
        order = np.empty(len(own), np.int64)
        order[np.argsort(needed, kind="stable")] = np.argsort(own, kind="stable")
        apart, sorted_apart = (np.abs(np.log(each / needed)) for each in (own, own[order]))
        moved = int((apart > 0.1).sum())
        if moved < 2 or np.median(apart[apart > 0.1]) < 4 * max(float(np.max(sorted_apart)), 0.02):
            return None
        words = f"{moved} of its {len(own)} weight scales belong to other output channels: sorted, they fit"
        return self.found(share, words, AGAIN)


class SpreadOfWeights(_OfWeights):
    """One scale for all output channels, whose ranges differ."""

    kind, explains = "weight_spread", "its channels' weights differ in range and share one scale"

    def of(self, rounded: Rounded) -> Cause | None:
        """See `_OfWeights.of`."""
        ranges = ranges_of(rounded.reference)
        if rounded.grid.axis is not None or rounded.grid.scale.ndim or len(ranges) < 2 or not ranges.any():
            return None
        spread = float(ranges.max() / max(np.median(ranges), 1e-30))
        if spread < SPREAD or _is_misfit(rounded):
            return None
        words = (
            f"its weights share one scale, and channel {int(ranges.argmax())} reaches {ranges.max():.3g} where the "
            f"median channel reaches {np.median(ranges):.3g}"
        )
        better = squares(rounded.per_channel - rounded.reference)
        return self.found(rounded.share(better), words, "recipe: static_int8_per_channel")


def _is_misfit(rounded: Rounded) -> bool:
    """The scale is not that of the largest weight: other causes tell that."""
    fit = fitted(rounded.reference, rounded.grid, tuple(range(rounded.reference.ndim)))
    return squares(fit - rounded.reference) < rounded.error / 2


class ClippedWeights(_OfWeights):
    """Weights beyond the ends of their range."""

    kind, explains = "weight_clipped", "the range of its weights is too narrow"

    def of(self, rounded: Rounded) -> Cause | None:
        """See `_OfWeights.of`."""
        lost = rounded.reference - rounded.grid.clipped(rounded.reference)
        half = np.abs(rounded.grid.scale) / 2
        beyond = np.abs(lost) > half
        if not beyond.any():
            return None
        share = rounded.share(max(rounded.error - squares(lost), 0.0))
        channels = np.flatnonzero(beyond.reshape(len(beyond), -1).any(axis=1))
        where = "" if len(channels) == len(beyond) else f", in {len(channels)} of {len(beyond)} channels"
        words = (
            f"{100 * beyond.mean():.2g} % of its weights are clipped{where} (the largest is "
            f"{np.abs(rounded.reference).max():.3g}, and becomes {np.abs(rounded.actual).max():.3g})"
        )
        return self.found(share, words, AGAIN)


class UnusedWeightRange(_OfWeights):
    """Scales of weights far larger than needed."""

    kind, explains = "weight_unused_range", "most of the range of its weights is not used"

    def of(self, rounded: Rounded) -> Cause | None:
        """See `_OfWeights.of`."""
        grid, ndim = rounded.grid, rounded.reference.ndim
        axes = tuple(each for each in range(ndim) if each != grid.axis)
        reach = np.abs(rounded.reference).max(axis=axes, keepdims=True)
        used = reach / (np.abs(grid.scale) * (grid.last - grid.first) / 2)
        if grid.axis not in (None, 0) or float(np.min(used)) >= 0.5:
            return None
        better = squares(fitted(rounded.reference, grid, axes) - rounded.reference)
        few = np.flatnonzero(used.reshape(-1) < 0.5)
        where = "" if used.size == 1 or len(few) == used.size else f" in channels {listed([int(at) for at in few])}"
        words = f"its weights use {100 * float(np.min(used)):.2g} % of their range{where}"
        # NNCF leaves half of it free on purpose, by the processor.
        return self.found(rounded.share(better), words, "" if rounded.facts.backend == "openvino" else AGAIN)


class WeightZeroPoint(_OfWeights):
    """Weights that are all off by the same number of codes."""

    kind, explains = "weight_zero_point", "the zero point of its weights is wrong"
    hides = ("weight_clipped", "other_weights", "bias")

    def of(self, rounded: Rounded) -> Cause | None:
        """See `_OfWeights.of`."""
        off = (rounded.actual - rounded.reference) / rounded.grid.scale
        by = np.round(np.median(off.reshape(len(off), -1), axis=1))
        if not (np.abs(by) >= 1).any():
            return None
        shift = by.reshape(-1, *[1] * (off.ndim - 1)) * rounded.grid.scale
        better = squares(rounded.actual - shift - rounded.reference)
        channels = int((np.abs(by) >= 1).sum())
        most = by[np.argmax(np.abs(by))]
        words = f"weights of {channels} of {len(by)} channels are off by the same number of codes ({most:+.0f})"
        return self.found(rounded.share(better), f"{words}: the zero point is wrong", AGAIN)


class WeightsTwice(_OfWeights):
    """Weights that were rounded before, to fewer values."""

    kind, explains = "double_quantization", "its values are rounded twice"

    def of(self, rounded: Rounded) -> Cause | None:
        """See `_OfWeights.of`."""
        found, expected = _distinct(rounded.grid, rounded.actual), _distinct(rounded.grid, rounded.own)
        if expected < 24 or found > COARSE * expected:
            return None
        words = f"its weights were rounded before: {found:.0f} values per channel where {expected:.0f} are due"
        return self.found(rounded.share(squares(rounded.own - rounded.reference)), words, AGAIN)


def _distinct(grid: Grid, values: Floats) -> float:
    """Median number of codes that an output channel, or a tensor with one scale, takes."""
    codes = np.round(grid.codes(values))
    rows = codes.reshape(1 if grid.axis is None else len(codes), -1)
    return float(np.median([len(np.unique(row)) for row in rows]))


class OtherWeights(_OfWeights):
    """Weights that are no rounding of the reference's, in a way that no other cause tells."""

    kind, explains = "other_weights", "its weights are not the reference's"

    def of(self, rounded: Rounded) -> Cause | None:
        """See `_OfWeights.of`."""
        others: tuple[Callable[[Rounded], Cause | None], ...] = (
            WeightsTwice().of, WeightZeroPoint().of, ClippedWeights().of,
        )  # fmt: skip
        if any(other(rounded) is not None for other in others):
            return None
        better = squares(rounded.own - rounded.reference)
        if rounded.error < 4 * better:
            return None
        apart = 100 * (rounded.error / max(squares(rounded.reference), 1e-30)) ** 0.5
        words = f"its weights are not the reference's, rounded: they are {apart:.3g} % apart"
        return self.found(rounded.share(better), words, AGAIN)


class OtherBias(Checker):
    """A bias that is not the reference's."""

    kind, explains = "bias", "its bias is not the reference's"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        bias = facts.layer.bias
        if bias is None or bias.reference is None:
            return None
        off = np.asarray(bias.candidate - bias.reference, np.float64)
        step = 0.0 if bias.grid is None else float(np.max(bias.grid.scale))
        if not off.size or np.abs(off).max() <= max(step, 1e-6 * float(np.abs(bias.reference).max())):
            return None
        share = facts.test.share(bias_error(facts))
        at = int(np.abs(off).argmax())
        words = (
            f"its bias is not the reference's: {float(bias.candidate.reshape(-1)[at]):.3g} instead of "
            f"{float(bias.reference.reshape(-1)[at]):.3g} in channel {at}"
        )
        advice = "backend: {name: openvino, bias_correction: false}" if facts.backend == "openvino" else AGAIN
        return self.found(min(share, facts.test.share(facts.test.weights)), words, advice)
