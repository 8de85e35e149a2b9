"""Layers of two artifacts matched: by the name that they had before they were fused, or by their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quantbench.parity.layers import Floats, Layer, Scale

# Of their norm: two roundings of the same weights to 8 bits differ by about a hundredth of it, other weights by all.
SAME_WEIGHTS = 0.1
Matched = Literal["name", "weights"]


@dataclass(frozen=True)
class Pair:
    """One layer in both artifacts.

    Attributes:
        base: of the artifact that is compared with.
        other: of the other one.
        by: what they were matched by.
    """

    base: Layer
    other: Layer
    by: Matched


def matched(base: Sequence[Layer], other: Sequence[Layer]) -> tuple[list[Pair], list[Layer], list[Layer]]:
    """Layers that both have, and those of the one and of the other alone; in the order of the first.

    Example:
        >>> pairs, left, right = matched([Layer("conv", "conv"), Layer("fc", "fc")], [Layer("fc", "fc")])
        >>> [each.base.name for each in pairs], [each.name for each in left], right
        (['fc'], ['conv'], [])
    """
    free = {each.place: each for each in other}
    found: dict[str, Pair] = {}
    for each in base:
        if (same := free.get(each.place)) is not None and _may_be_one(each, same):
            found[each.place] = Pair(each, free.pop(each.place), "name")
    for each in base:
        if each.place not in found and (near := _nearest(each, list(free.values()))) is not None:
            found[each.place] = Pair(each, free.pop(near.place), "weights")
    left = [each for each in base if each.place not in found]
    return [found[each.place] for each in base if each.place in found], left, list(free.values())


def _may_be_one(one: Layer, other: Layer) -> bool:
    """False for layers of one name whose weights are of other shapes."""
    if one.weights is None or other.weights is None:
        return True
    return _shape(one.weights.values) == _shape(other.weights.values)


def _nearest(layer: Layer, others: Sequence[Layer]) -> Layer | None:
    """The layer whose weights are the same but for rounding; None without one."""
    if layer.weights is None:
        return None
    own = layer.weights.values
    apart = {at: _apart(own, each.weights.values) for at, each in enumerate(others) if each.weights is not None}
    nearest = min(apart, key=lambda at: apart[at], default=None)
    return None if nearest is None or apart[nearest] > SAME_WEIGHTS else others[nearest]


def _apart(one: Floats, other: Floats) -> float:
    """Norm of the difference, as a share of the first's; infinite for other shapes."""
    if _shape(one) != _shape(other):
        return np.inf
    norm = float(np.linalg.norm(one))
    return float(np.linalg.norm(one.reshape(-1) - other.reshape(-1))) / norm if norm else np.inf


def _shape(values: Floats) -> tuple[int, ...]:
    """Without sizes of 1: a 1-D convolution may be written as a 2-D one."""
    return tuple(size for size in values.shape if size > 1)


def scales_of(pair: Pair) -> Iterator[tuple[str, Scale | None, Scale | None]]:
    """`weights` and `outputs` of a pair, as far as one of both quantizes them."""
    weights = tuple(None if each.weights is None else each.weights.scale for each in (pair.base, pair.other))
    for part, (one, other) in (("weights", weights), ("outputs", (pair.base.outputs, pair.other.outputs))):
        if one is not None or other is not None:
            yield part, one, other
