"""Verdicts as they are shown: a badge, and the interval of what was measured against its bound as a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from quantbench.records.judged import Judged
from quantbench.records.run import RunRecord, VerdictRecord
from quantbench.report.html.drawing import around, dot, label, line, picture
from quantbench.report.html.links import link_to
from quantbench.report.html.markup import Html, element, joined
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome

WIDTH, HEIGHT = 230.0, 46.0
# Sign, class and word of a badge: never told by colour alone.
SIGNS: Mapping[str, tuple[str, str]] = {
    Outcome.PASS: ("✓", "pass"),
    Outcome.FAIL: ("✗", "fail"),
    Outcome.INCONCLUSIVE: ("?", "open"),
    "error": ("!", "fail"),
    "not run": ("–", "none"),
    Change.IMPROVED: ("▲", "pass"),
    Change.SAME: ("=", "none"),
    Change.REGRESSED: ("▼", "fail"),
    Change.NO_BASELINE: ("○", "none"),
}
# Characters of what was measured in a list; all of it stands in the experiment's own part.
LISTED = 240
# Bound of a requirement in words, for records of before figures were noted.
REQUIRED = re.compile(r"at (?:most|least) (-?\d+(?:\.\d+)?(?:e-?\d+)?)")


def badge(word: str) -> Html:
    """A verdict, or a change since acceptance, with a sign before it."""
    sign, class_ = SIGNS.get(word.partition(",")[0], ("–", "none"))
    return element("span", element("span", sign, aria_hidden="true"), f" {word}", class_=f"badge {class_}")


@dataclass(frozen=True)
class Bounded:
    """A figure with its bound, as a picture needs them.

    Attributes:
        estimate: measured.
        low: end of its interval; the estimate where it is exact.
        high: the other end.
        level: of the interval; None where it is exact.
        bound: of the gate.
        is_most: the bound is the largest value that is allowed, or the smallest.
    """

    estimate: float
    low: float
    high: float
    level: float | None
    bound: float
    is_most: bool


def bounded(record: RunRecord, verdict: VerdictRecord) -> Bounded | None:
    """The figures of a verdict; None where it is on no number, or its bound has no side."""
    figures = verdict.figures or _of_parts(record, verdict)
    side = verdict.requirement.partition(" ")[2][:5]
    if figures is None or figures.bound is None or side not in ("most ", "least"):
        return None
    low, high = figures.interval or (figures.estimate, figures.estimate)
    level = figures.level if figures.interval else None
    return Bounded(figures.estimate, low, high, level, figures.bound, side == "most ")


def _of_parts(record: RunRecord, verdict: VerdictRecord) -> Judged | None:
    """The figures of a record that noted none beside its verdicts, from its parts."""
    found = REQUIRED.match(verdict.requirement)
    if found is None:
        return None
    estimate: float | None = None
    interval, level, n = None, None, 1
    accuracy, latency, size, memory = record.accuracy, record.latency, record.size, record.memory
    if verdict.quantity == "accuracy_drop_pp" and accuracy:
        estimate, interval = accuracy.drop_pp, accuracy.drop_interval_pp
        level, n = accuracy.level, accuracy.n
    elif verdict.quantity == "speedup" and latency:
        estimate, interval = latency.speedup, latency.speedup_interval
        level, n = latency.level, latency.rounds
    elif verdict.quantity == "score_drop" and record.score:
        estimate, interval = record.score.drop, record.score.interval
        level, n = record.score.level, record.score.n
    elif verdict.quantity == "size_ratio" and size:
        estimate = size.ratio
    elif verdict.quantity == "memory_ratio" and memory:
        estimate, interval = memory.ratio, memory.ratio_range
    elif verdict.quantity == "int8_share" and record.coverage:
        estimate = record.coverage.int8_share
    if estimate is None:
        return None
    return Judged(estimate=estimate, interval=interval, level=level, bound=float(found[1]), n=n)


def interval_picture(what: str, figures: Bounded) -> Html:
    """The interval of a figure beside its bound; what is beyond the bound is shaded.

    Args:
        what: is measured.
        figures: of it.
    """
    values = [figures.low, figures.high, figures.estimate, figures.bound]
    # Loss has a natural origin, and a bound far away needs no more room than that.
    if figures.is_most and figures.bound >= 0:
        values.append(0.0)
    scale = around(values, 6.0, WIDTH - 6.0, share=0.12)
    at, middle = scale(figures.bound), 16.0
    left, right = (at, WIDTH) if figures.is_most else (0.0, at)
    marks = [
        element("rect", x=left, y=0, width=max(right - left, 0.0), height=32, class_="beyond"),
        line(0, middle, WIDTH, middle, "axis"),
    ]
    if scale.low < 0 < scale.high and figures.is_most:
        marks.append(line(scale(0.0), 6, scale(0.0), 26, "zero"))
    marks.append(line(at, 0, at, 32, "bound"))
    if figures.level is not None:
        marks.append(line(scale(figures.low), middle, scale(figures.high), middle, "interval"))
    marks += [dot(scale(figures.estimate), middle, "estimate", 4.5), *_labels(scale(figures.estimate), at, figures)]
    return picture(_title(what, figures), WIDTH, HEIGHT, *marks, class_="gate")


def _labels(x: float, at: float, figures: Bounded) -> list[Html]:
    sign = "≤" if figures.is_most else "≥"
    anchor = "end" if at > WIDTH * 0.6 else "start" if at < WIDTH * 0.4 else "middle"
    words = [label(min(max(at, 2.0), WIDTH - 2.0), 43, f"bound {sign} {figures.bound:g}", anchor, "label bound-label")]
    # The figure stands beside the picture as well; where it would cover the bound's, it is left out here.
    if abs(x - at) > WIDTH * 0.5:
        own = "end" if x > WIDTH * 0.6 else "start"
        words.append(label(min(max(x, 2.0), WIDTH - 2.0), 43, f"{figures.estimate:.3g}", own))
    return words


def _title(what: str, figures: Bounded) -> str:
    most = "at most" if figures.is_most else "at least"
    ends = "" if figures.level is None else f", {figures.level:.0%} interval {figures.low:.4g} to {figures.high:.4g}"
    beyond = figures.high > figures.bound if figures.is_most else figures.low < figures.bound
    reaches = "reaches beyond the bound" if beyond else "stays within the bound"
    return f"{what}: {figures.estimate:.4g}{ends}; {reaches}, {most} {figures.bound:g}"


def gate_cell(record: RunRecord, verdict: VerdictRecord) -> Html:
    """The picture of a verdict in a table; a dash where there is no number to draw."""
    figures = bounded(record, verdict)
    return element("span", "–", class_="muted") if figures is None else interval_picture(verdict.quantity, figures)


def verdict_words(record: RunRecord, verdict: VerdictRecord) -> Html:
    """A verdict as an item of a list that leads to its experiment."""
    warning = element("span", f" Warning: {verdict.warning}", class_="warning") if verdict.warning else None
    blame = element("p", f"To blame: {verdict.blame}") if verdict.blame else None
    return joined(
        badge(verdict.change or verdict.outcome), " ", link_to(record.experiment), f" {verdict.quantity}: ",
        element("span", _cut(verdict.measured), class_="words"), element("span", f"; required: {verdict.requirement}",
        class_="muted"), warning, blame,
    )  # fmt: skip


def _cut(words: str) -> str:
    """The beginning of a long text, up to the end of a word."""
    return words if len(words) <= LISTED else f"{words[:LISTED].rpartition(' ')[0]} …"
