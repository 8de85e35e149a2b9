"""The table of causes: each a checker, in the order in which equal ones are told."""

from __future__ import annotations

from dataclasses import replace

from quantbench.blame.causes.interface import Cause, Checker, Facts
from quantbench.blame.causes.kernels import NotKnown, Rounding, Saturation
from quantbench.blame.causes.results import (
    Clipped,
    DeadChannels,
    FewSamples,
    OtherSamples,
    OutlierChannel,
    ShiftedZeroPoint,
    Twice,
    UnusedRange,
    ZeroOffGrid,
)
from quantbench.blame.causes.weights import (
    ClippedWeights,
    OtherBias,
    OtherWeights,
    SpreadOfWeights,
    UnusedWeightRange,
    WeightsTwice,
    WeightZeroPoint,
    WrongAxis,
)
from quantbench.quant.limits import MAX_BITS
from quantbench.recipes.spec import Function, LowBit, WeightOnly

CHECKERS: tuple[Checker, ...] = (
    WrongAxis(), WeightsTwice(), WeightZeroPoint(), ShiftedZeroPoint(), FewSamples(), OtherSamples(), Clipped(),
    ZeroOffGrid(), Twice(), DeadChannels(), Saturation(), SpreadOfWeights(), ClippedWeights(), UnusedWeightRange(),
    OtherBias(), OtherWeights(), OutlierChannel(), UnusedRange(), NotKnown(), Rounding(),
)  # fmt: skip
KINDS = tuple(dict.fromkeys(each.kind for each in CHECKERS))


def causes_of(facts: Facts) -> list[Cause]:
    """The causes of a layer's error, the largest part first; the last is what is left where nothing is wrong."""
    found = {each: cause for each in CHECKERS if (cause := each.check(facts)) is not None}
    hidden = [(kind, cause.share) for each, cause in found.items() for kind in each.hides]
    told = [
        each
        for each in found.values()
        if not any(each.kind == kind and share >= each.share / 2 for kind, share in hidden)
    ]
    return sorted((_advised(each, facts) for each in told), key=lambda cause: -cause.share)


def _advised(cause: Cause, facts: Facts) -> Cause:
    """The cause with what recipes of a few bits, or a function of the user's, can do about it: no other runs there."""
    recipe = facts.recipe
    if isinstance(recipe, Function):
        better = {SpreadOfWeights.kind: "one scale for each output channel", Rounding.kind: "more bits for it"}
        return replace(cause, advice=f"{better.get(cause.kind, 'another way to round it')} in '{recipe.function}'")
    if isinstance(recipe, WeightOnly):
        more = recipe.bits < MAX_BITS
        return replace(cause, advice="recipe: weight_only_int8" if more else "leaving it in floating point")
    if not isinstance(recipe, LowBit):
        return cause
    key = "activation_bits" if facts.layer.weight is None else "weight_bits"
    own = getattr(recipe, key)
    return replace(cause, advice=f"{key}: {own + 1}, or more epochs" if own < MAX_BITS else "more epochs")
