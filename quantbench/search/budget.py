"""Layers to set low, found exactly from measured sensitivities: all trade-offs worth having, and the best in a budget.

Both take drops to add up: each layer at its low width costs what it costs alone. The greedy search takes nothing for
granted; what it measured along its way is in `quantbench.search.visited`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import QuantizationError
from quantbench.records.costs import Configuration, Measure, figure, layer_cost, unit
from quantbench.records.search import LayerCost, LayerSensitivity

if TYPE_CHECKING:
    from scipy.optimize import LinearConstraint


@dataclass(frozen=True)
class Additive:
    """The additive model over measured sensitivities, in whole numbers wherever they were counted.

    Attributes:
        layers: switchable ones, in order.
        drops: of each layer alone at the low width, in samples of `n`, or in percentage points where n differs.
        scale: percentage points that one unit of `drops` stands for.
        may_be_low: whether each layer's figures at its low width are finite.
    """

    layers: Sequence[LayerCost]
    drops: tuple[Fraction, ...]
    scale: Fraction
    may_be_low: tuple[bool, ...]
    high: int
    low: int

    @classmethod
    def of(cls, layers: Sequence[LayerCost], found: Sequence[LayerSensitivity], high: int, low: int) -> Additive:
        """The model of a search's sensitivities, one for each layer, in order."""
        sizes = {each.n for each in found}
        counted = len(sizes) == 1 and all(_is_counted(each) for each in found)
        drops = tuple(Fraction(each.lost - each.gained) if counted else Fraction(each.drop_pp) for each in found)
        scale = Fraction(100, sizes.pop()) if counted else Fraction(1)
        return cls(layers, drops, scale, tuple(not each.failed for each in found), high, low)

    def configuration(self, is_low: Sequence[bool]) -> Configuration:
        """The widths of a choice, with the drop that the model predicts."""
        drop = sum((drop for drop, low in zip(self.drops, is_low, strict=True) if low), Fraction(0))
        bits = tuple(self.low if low else self.high for low in is_low)
        return Configuration(bits, float(drop * self.scale))

    def costs(self, measure: Measure) -> tuple[list[int], list[int]]:
        """Of each layer at its high and at its low width."""
        high, low = ([layer_cost(each, bits, measure) for each in self.layers] for bits in (self.high, self.low))
        return high, low


def _is_counted(found: LayerSensitivity) -> bool:
    """True if its drop is a share of samples; in adaptive mode it is an estimate."""
    return bool(found.failed) or found.correct is not None


def additive_front(model: Additive, measure: Measure) -> list[Configuration]:
    """Every configuration of which none is as cheap and predicted as accurate, and better in one; cheapest first.

    Exact: costs and counted drops are whole numbers, and nothing is rounded. Layer by layer, a partial choice that
    another one dominates is dropped, which nothing that follows can undo; with counted drops no more are left than
    there are different sums of drops.

    Source:
        Nemhauser & Ullmann 1969, Management Science 15(9):494-505.
    """
    high, low = model.costs(measure)
    partial: list[tuple[int, Fraction, tuple[bool, ...]]] = [(0, Fraction(0), ())]
    for at_high, at_low, drop, may in zip(high, low, model.drops, model.may_be_low, strict=True):
        grown = [(spent + at_high, lost, (*chosen, False)) for spent, lost, chosen in partial]
        if may:
            grown += [(spent + at_low, lost + drop, (*chosen, True)) for spent, lost, chosen in partial]
        partial = _not_dominated(grown)
    return [model.configuration(chosen) for _, _, chosen in partial]


def _not_dominated(
    choices: list[tuple[int, Fraction, tuple[bool, ...]]],
) -> list[tuple[int, Fraction, tuple[bool, ...]]]:
    """In order of cost, each losing less than all before it."""
    kept: list[tuple[int, Fraction, tuple[bool, ...]]] = []
    for choice in sorted(choices, key=lambda each: each[:2]):
        if not kept or choice[1] < kept[-1][1]:
            kept.append(choice)
    return kept


def within_budget(model: Additive, measure: Measure, limit: float) -> Configuration:
    """The configuration that loses least, by the model, among those that cost at most `limit`; of equals the cheapest.

    Args:
        model: of the measured sensitivities.
        measure: what is limited.
        limit: in the unit that people read, such as average bits.

    Raises:
        QuantizationError: if none costs that little, with the smallest cost there is.

    Source:
        A 0-1 linear program, solved by HiGHS's branch and bound (Huangfu & Hall 2018, Math. Prog. Comp. 10:119-142)
        through `scipy.optimize.milp` with a gap of zero. HiGHS computes in floating point: what it returns is checked
        in whole numbers, and a choice that overruns the budget within its tolerance is cut off and the rest solved
        again.
    """
    high, low = model.costs(measure)
    # Costs are whole numbers, and an average that was written as a decimal should not fail by its last digit.
    allowed = math.floor(limit * unit(model.layers, measure) + 1e-6)
    saved = [up - down if may else 0 for up, down, may in zip(high, low, model.may_be_low, strict=True)]
    smallest = sum(high) - sum(max(each, 0) for each in saved)
    if smallest > allowed:
        least = figure(smallest / unit(model.layers, measure), measure)
        raise QuantizationError(
            f"a budget of {figure(limit, measure)} cannot be met: the smallest possible, with every layer low "
            f"that may be, is {least}"
        )
    return model.configuration(_least_lost(model, saved, sum(high) - allowed))


def _least_lost(model: Additive, saved: Sequence[int], needed: int) -> list[bool]:
    """The choice of low layers that saves as much as needed and loses least; of equals one that saves most."""
    from scipy.optimize import LinearConstraint

    drops = np.array([float(each) for each in model.drops])
    # Scaled, so that the solver's tolerance is far below what one layer saves.
    most = max(*saved, 1)
    savings = np.array([each / most for each in saved])

    def lost(chosen: Sequence[bool]) -> Fraction:
        return sum((drop for drop, low in zip(model.drops, chosen, strict=True) if low), Fraction(0))

    def fits(chosen: Sequence[bool]) -> bool:
        return sum(each for each, low in zip(saved, chosen, strict=True) if low) >= needed

    enough = LinearConstraint(savings, needed / most, np.inf)
    best = lost(_minimum(drops, model.may_be_low, [enough], fits))
    as_good = LinearConstraint(drops, -np.inf, float(best))
    return _minimum(-savings, model.may_be_low, [enough, as_good], lambda each: fits(each) and lost(each) <= best)


def _minimum(
    objective: NDArray[np.float64],
    may_be_one: Sequence[bool],
    constraints: Sequence[LinearConstraint],
    is_allowed: Callable[[Sequence[bool]], bool],
) -> list[bool]:
    """The 0-1 vector of the smallest objective under the constraints; those that only seem to hold are cut off."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    cuts = list(constraints)
    bounds = Bounds(np.zeros(len(objective)), np.array(may_be_one, dtype=np.float64))
    while True:
        found = milp(
            objective,
            integrality=np.ones(len(objective), np.int64),
            bounds=bounds,
            constraints=cuts,
            options={"mip_rel_gap": 0.0},
        )
        if found.x is None:
            raise QuantizationError(f"the budget could not be solved: {found.message}")
        chosen = [bool(each > 0.5) for each in found.x]
        if is_allowed(chosen):
            return chosen
        # Any other vector differs in at least one place.
        signs = np.where(chosen, 1.0, -1.0)
        cuts.append(LinearConstraint(signs, -np.inf, sum(chosen) - 1))
