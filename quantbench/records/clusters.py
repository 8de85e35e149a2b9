"""Groups of test samples behind an accuracy, as a part of its record."""

from __future__ import annotations

from math import inf, sqrt

from quantbench.records.base import Record

Limits = tuple[float, float]


class Clustered(Record):
    """Intervals of an accuracy drop whose samples come in groups, such as those of one speaker.

    Attributes:
        clusters: number of groups.
        interval_pp: of the drop, by whole groups, percentage points; None where so few tell none.
        strict_pp: the wider one that a FAIL needs; None likewise.
        quantized_interval: of the candidate's accuracy, 0..1; None likewise.
        quantized_strict: the wider one of it.
        strict_level: of the wider ones.
        method: of the interval of the drop.
        tango_pp: Tango's score interval of the drop, which takes samples as independent.
        design_effect: variance of the drop over that of independent samples; None where nothing changed.
    """

    clusters: int
    interval_pp: Limits | None
    strict_pp: Limits | None
    quantized_interval: Limits | None
    quantized_strict: Limits | None
    strict_level: float
    method: str
    tango_pp: Limits
    design_effect: float | None

    @property
    def widening(self) -> float | None:
        """Width of the interval over that of Tango's; None where there is none."""
        if self.interval_pp is None or self.tango_pp[1] <= self.tango_pp[0]:
            return None
        return (self.interval_pp[1] - self.interval_pp[0]) / (self.tango_pp[1] - self.tango_pp[0])

    def impossible(self) -> str | None:
        """Fewer than no groups, limits that are not in order, or a variance below none."""
        pairs = (self.interval_pp, self.strict_pp, self.quantized_interval, self.quantized_strict, self.tango_pp)
        if self.clusters < 1 or any(each is not None and each[0] > each[1] for each in pairs):
            return f"{self.clusters} clusters with intervals {self.interval_pp} and {self.strict_pp}"
        if self.design_effect is not None and not 0 <= self.design_effect < inf:
            return f"a design effect of {self.design_effect}"
        return None

    def text(self) -> str:
        """Words for the evidence beside a drop."""
        if self.interval_pp is None:
            return f"; {self.clusters:,} clusters, or those of them that changed, tell no interval; measure on more"
        effect = "" if self.design_effect is None else f", design effect {self.design_effect:.2f}"
        wide = "" if self.widening is None else f": {self.widening:.2f} times as wide as Tango's"
        return f"; {self.method} of {self.clusters:,} clusters{effect}{wide}"

    def scale(self) -> float:
        """Factor of a standard error of independent samples that clusters make of it.

        Never below 1, since the interval holds that of independent samples.
        """
        return widening_of(self.design_effect)


def widening_of(effect: float | None) -> float:
    """The same of a design effect.

    Example:
        >>> widening_of(4.0), widening_of(0.25), widening_of(None)
        (2.0, 1.0, 1.0)
    """
    return 1.0 if effect is None else sqrt(max(1.0, effect))
