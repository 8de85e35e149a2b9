"""Outputs of two models beside each other, without labels, as parts of a record."""

from __future__ import annotations

from math import isfinite

from quantbench.records.base import Part, Record, holds, is_share

Limits = tuple[float, float]


class Agreement(Part):
    """Samples that two models give the same class.

    Attributes:
        n: samples.
        same: of them, those with the same answer.
        interval: Wilson's of the share.
        level: of the interval.
    """

    n: int
    same: int
    interval: Limits
    level: float

    def impossible(self) -> str | None:
        """See `Record.impossible`."""
        if not 0 <= self.same <= self.n or self.n < 1 or not is_share(*self.interval, self.level):
            return f"{self.same} of {self.n} samples with the same answer, within {self.interval}"
        from quantbench.stats.proportions import wilson_interval

        found = wilson_interval(self.same, self.n, self.level)
        if abs(found.low - self.interval[0]) + abs(found.high - self.interval[1]) > 1e-9:
            return "an interval of the agreement that is not the one of its counts"
        return None


class Estimate(Record):
    """A figure of all samples.

    Attributes:
        value: estimate.
        interval: of it; None where so few samples differ that they tell no limits.
        strict: the wider one that a FAIL needs where many gates share a session's false alarms; None likewise.
    """

    value: float
    interval: Limits | None
    strict: Limits | None

    def impossible(self) -> str | None:
        """See `Record.impossible`."""
        if all(limits is None or holds(limits, self.value) for limits in (self.interval, self.strict)):
            return None
        return f"an interval {self.interval} or {self.strict} that does not hold its estimate {self.value}"


class OutputErrors(Part):
    """Errors of a candidate's outputs against the reference's, element by element.

    Attributes:
        n: samples.
        elements: outputs of one sample.
        sqnr_db: signal to quantization noise; None where no element differs.
        cosine: mean over samples.
        kl_nats: mean over samples of the divergence of the candidate's classes from the reference's; None where the
            outputs name no classes.
        max_abs_error: largest difference of any element.
        worst: position of its sample in the test split.
        level: of the intervals.
        strict_level: of the wider ones.
    """

    n: int
    elements: int
    sqnr_db: Estimate | None
    cosine: Estimate
    kl_nats: Estimate | None
    max_abs_error: float
    worst: int
    level: float
    strict_level: float

    def impossible(self) -> str | None:
        """See `Record.impossible`."""
        for each in (self.sqnr_db, self.cosine, self.kl_nats):
            if each is not None and (found := each.impossible()):
                return found
        if (self.sqnr_db is None) != (self.max_abs_error == 0):
            return "outputs that are the same and differ"
        if self.max_abs_error < 0 or not isfinite(self.max_abs_error) or not 0 <= self.worst < self.n:
            return f"a largest error of {self.max_abs_error} in sample {self.worst} of {self.n}"
        if self.kl_nats is not None and self.kl_nats.value < 0:
            return f"a divergence of {self.kl_nats.value} nats"
        return f"a cosine of {self.cosine.value}" if abs(self.cosine.value) > 1 + 1e-9 else None
