"""Causes in the quantizer of a layer's results."""

from __future__ import annotations

import numpy as np

from quantbench.backends.insides import INPUT
from quantbench.blame.causes.interface import Cause, Checker, Facts, figures, listed
from quantbench.recipes.spec import StaticInt8

# A range that is so much wider than another is another one.
WIDER = 1.1
# Of the grid's width; less is used by no fault of its range.
MOSTLY_USED = 0.75
# A channel is an outlier if the others stay within this part of its range.
OUTLYING = 0.5
# Below any width.
TINY = 1e-30
# Calibration samples below this are few.
FEW = 64


def covers(wide: tuple[float, float], narrow: tuple[float, float], by: float = WIDER) -> bool:
    """One range holds another one, but for a part of it."""
    slack = (by - 1) * (narrow[1] - narrow[0])
    return wide[0] <= narrow[0] + slack and wide[1] >= narrow[1] - slack


def held(facts: Facts) -> tuple[float, float] | None:
    """The range of the layer's grid; None without one."""
    grid = facts.layer.grid
    return None if grid is None else (float(np.min(grid.low)), float(np.max(grid.high)))


class _Clipping(Checker):
    """Base of the causes of clipping, of which at most one is told."""

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        own = held(facts)
        if own is None or not facts.test.beyond or _kind_of_clipping(facts, own) != self.kind:
            return None
        part = 100 * facts.test.beyond / facts.test.n
        what = "the model's inputs" if facts.layer.op == INPUT else "its results"
        words = f"{_percent(part)} of {what} are clipped (range {figures(*own)}, needed {figures(*facts.needed)}"
        return self.found(facts.test.share(facts.test.clipped), f"{words}{self.more(facts)})", self.advice(facts))

    def more(self, facts: Facts) -> str:  # noqa: ARG002 — for those that know more
        """Goes on with the words."""
        return ""

    def advice(self, facts: Facts) -> str:  # noqa: ARG002
        """See `Cause.advice`."""
        return ""


def _percent(part: float) -> str:
    return f"{part:.0f} %" if part >= 10 else f"{part:.2g} %"


def _kind_of_clipping(facts: Facts, own: tuple[float, float]) -> str:
    """The reason why a range is too narrow, by the ranges of the samples that it was made of and of others."""
    needed = facts.needed
    if needed[1] - needed[0] <= WIDER * (own[1] - own[0]) and not covers(own, needed):
        return ShiftedZeroPoint.kind
    if facts.shown is not None and covers(own, facts.shown.range) and not covers(own, needed):
        seen = facts.calibration_n or 0
        return FewSamples.kind if seen < FEW or _beyond_in_calibration(facts, own) else OtherSamples.kind
    return Clipped.kind


def _beyond_in_calibration(facts: Facts, own: tuple[float, float]) -> bool:
    return facts.calibration is not None and not covers(own, facts.calibration.range)


class Clipped(_Clipping):
    """A range that does not even hold the samples it was calibrated with, as far as these are known."""

    kind, explains = "clipped", "the range of its results is too narrow"

    def more(self, facts: Facts) -> str:
        """See `_Clipping.more`."""
        return "" if facts.shown is None else f", by its own calibration samples {figures(*facts.shown.range)}"

    def advice(self, facts: Facts) -> str:
        """See `_Clipping.advice`."""
        if isinstance(facts.recipe, StaticInt8) and (
            facts.recipe.activation is None or facts.recipe.activation.range != "minmax"
        ):
            return "recipe: static_int8_per_channel, whose ranges hold every value seen"
        return "recipe: static_int8_per_channel"


class FewSamples(_Clipping):
    """A range that holds the samples it was calibrated with, which were few."""

    kind, explains = "few_samples", "it was calibrated on too few samples"

    def more(self, facts: Facts) -> str:
        """See `_Clipping.more`."""
        return f"; calibrated on {facts.calibration_n} sample{'s' * (facts.calibration_n != 1)}"

    def advice(self, facts: Facts) -> str:
        """See `_Clipping.advice`."""
        return f"calibration_n: {max(256, 4 * (facts.calibration_n or 1))}"


class OtherSamples(_Clipping):
    """A range that holds all calibration samples; those of the test set are others."""

    kind, explains = "other_samples", "calibration samples are others than those of the test set"

    def more(self, facts: Facts) -> str:
        """See `_Clipping.more`."""
        assert_range = facts.calibration or facts.shown
        own = "" if assert_range is None else f", by calibration samples {figures(*assert_range.range)}"
        return f"{own}: they are others than the test samples"

    def advice(self, facts: Facts) -> str:  # noqa: ARG002
        """See `_Clipping.advice`."""
        return "calibration samples of the same kind, prepared in the same way as the test samples"


class ShiftedZeroPoint(_Clipping):
    """A range as wide as needed in the wrong place."""

    kind, explains = "zero_point", "the zero point of its results is wrong"

    def more(self, facts: Facts) -> str:
        """See `_Clipping.more`."""
        zero_point = 0.0 if facts.layer.grid is None else float(np.mean(facts.layer.grid.zero_point))
        return f": as wide, with the zero point {zero_point:g} in the wrong place"

    def advice(self, facts: Facts) -> str:  # noqa: ARG002
        """See `_Clipping.advice`."""
        return "recipe: static_int8_per_channel"


class ZeroOffGrid(Checker):
    """No code stands for zero, although many values are exactly that."""

    kind, explains = "zero_off_grid", "no code stands for zero"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        grid = facts.layer.grid
        if grid is None:
            return None
        off = float(np.max(np.abs(grid.rounded(np.zeros(grid.scale.shape)))))
        if off <= 1e-6 * float(np.max(grid.scale)):
            return None
        share = facts.test.share(facts.test.zeros * off**2)
        part = 100 * facts.test.zeros / max(facts.test.n, 1)
        words = f"no code stands for zero, which {part:.0f} % of its results are: they become {off:.3g}"
        return self.found(share, words, "recipe: static_int8_per_channel, whose zero points are whole")


class UnusedRange(Checker):
    """A range far wider than the values."""

    kind, explains = "unused_range", "most of the range of its results is not used"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        own = held(facts)
        if own is None or own[1] <= own[0]:
            return None
        needed = facts.needed
        used = (needed[1] - needed[0]) / (own[1] - own[0])
        if used >= MOSTLY_USED:
            return None
        test = facts.test
        share = test.share(test.rounded - test.clipped) * (1 - used**2)
        words = f"{100 * (1 - used):.0f} % of the range of its results is not used (range {figures(*own)}, needed "
        return self.found(share, f"{words}{figures(*needed)})", self._advice(facts))

    def _advice(self, facts: Facts) -> str:
        recipe = facts.recipe
        if isinstance(recipe, StaticInt8) and facts.backend in ("eager", "fx", "pt2e"):
            reduces = recipe.activation is None or recipe.activation.reduce_range is not False
            if reduces:
                where = "" if facts.has_vnni else ", on a processor with VNNI: on this one products would saturate"
                return f"recipe: static_int8_full_range, which uses all 8 bits{where}"
        return "recipe: static_int8_histogram"


class OutlierChannel(Checker):
    """One channel, or a few, that all others share a scale with."""

    kind, explains = "outlier_channel", "one channel of its results takes the range for itself"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        own, test = held(facts), facts.test
        if own is None or len(test.low) < 4:
            return None
        widths = np.maximum(test.high, 0) - np.minimum(test.low, 0)
        order = np.argsort(-widths)
        # Up to a twentieth of them, as many as the next one is farthest from.
        few = min(
            range(1, max(1, len(widths) // 20) + 1), key=lambda n: widths[order[n]] / max(widths[order[n - 1]], TINY)
        )
        rest, width = float(widths[order[few]]), own[1] - own[0]
        if rest > OUTLYING * widths[order[few - 1]] or not width:
            return None
        # Without them the range would be so much narrower, whatever part of it is not used.
        needed = min(facts.needed[1] - facts.needed[0], width)
        share = test.share(test.rounded - test.clipped) * max(1 - (rest / max(needed, TINY)) ** 2, 0.0)
        at = order[0]
        words = (
            f"channel {listed(sorted(int(each) for each in order[:few]))} of {len(widths)} reaches "
            f"{figures(float(test.low[at]), float(test.high[at]))} where the others stay within a width of "
            f"{rest:.3g}, and they share one scale"
        )
        return self.found(share, words, "recipe: static_int8_histogram, which clips outliers, or leave it in fp32")


class Twice(Checker):
    """Two quantizers of other scales, one after the other."""

    kind, explains = "double_quantization", "its values are rounded twice"

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        grids = facts.layer.results
        if len(grids) < 2:
            return None
        scales = [float(np.mean(each.scale)) for each in grids]
        words = f"its results are rounded twice, with scales {scales[0]:.3g} and then {scales[1]:.3g}"
        return self.found(facts.test.share(facts.test.twice), words, "quantizing the fp32 model again")


class DeadChannels(Checker):
    """Channels that vary in the reference and give one value in the candidate."""

    kind, explains = "dead_channel", "channels of it give one value only"
    hides = ("weight_unused_range", "weight_clipped", "other_weights")

    def check(self, facts: Facts) -> Cause | None:
        """See `Checker.check`."""
        test = facts.test
        dead = (test.candidate_low == test.candidate_high) & (test.high - test.low > 0)
        # All of them: a scale that is far too coarse, which others tell.
        if len(dead) < 2 or not dead.any() or dead.all():
            return None
        share = test.share(float(test.by_channel[dead].sum()))
        names = [int(each) for each in np.flatnonzero(dead)]
        words = (
            f"channel{'s' * (len(names) > 1)} {listed(names)} of {len(dead)} give{'s' * (len(names) == 1)} one value"
        )
        return self.found(share, f"{words} for every sample", "recipe: static_int8_per_channel")
