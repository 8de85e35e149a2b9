"""The page of figures through time: a picture and a table for each quantity of each experiment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from quantbench.report.history import COLUMNS, Series, figure, rows, surroundings
from quantbench.report.html.drawing import Scale, around, dot, label, line, picture
from quantbench.report.html.links import experiment_anchor
from quantbench.report.html.markup import Html, element, joined, scrolling, section, table
from quantbench.report.html.shell import shell

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720.0, 190.0, 60.0, 20.0, 22.0, 34.0
NOTE = "Shown, never gated. A dashed line marks another machine or other versions of libraries; whiskers are intervals."


def history_page(found: Sequence[Series], notes: Sequence[str] = ()) -> str:
    """The page: the same figures give the same bytes."""
    parts = []
    for experiment, own in groupby(found, key=lambda each: each.experiment):
        shown = [_one(each) for each in own]
        summary = element("summary", element("h3", experiment))
        parts.append(
            element("details", summary, element("div", shown, class_="body"), id=experiment_anchor(experiment),
                    class_="experiment", open=len(found) <= 12, data_name=experiment, data_verdict="")
        )  # fmt: skip
    said = [element("p", note) for note in notes]
    sections = [section("history", "Figures through time", said, *parts, note=NOTE)]
    return shell("Figures through time – quantbench", "quantbench history", sections, (("history", "Figures"),))


def _one(series: Series) -> Html:
    drawn = scrolling(f"{series.experiment} {series.quantity}", _trend(series))
    listed = table(f"{series.quantity}", COLUMNS, rows(series), hidden=True)
    return element("div", element("h4", series.quantity), drawn, listed, class_="part")


def _trend(series: Series) -> Html:
    points = series.observations
    values = [end for each in points for end in (each.interval or (each.value, each.value))]
    x = Scale(0, max(len(points) - 1, 1), LEFT + 12, WIDTH - RIGHT - 40)
    y = around(values, HEIGHT - BOTTOM, TOP, share=0.15)
    marks: list[Html] = []
    for value in y.ticks(4):
        marks += [line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")]
        marks.append(label(LEFT - 5, y(value) + 4, f"{value:.4g}", "end", "tick"))
    before = None
    for i, each in enumerate(points):
        if before is not None and surroundings(before, each):
            middle = x(i - 0.5)
            marks.append(line(middle, TOP, middle, HEIGHT - BOTTOM, "zero"))
        if each.interval:
            marks.append(line(x(i), y(each.interval[0]), x(i), y(each.interval[1]), "whisker"))
        before = each
    path = "M" + "L".join(f"{x(i):.1f} {y(each.value):.1f}" for i, each in enumerate(points))
    marks.append(element("path", d=path, class_="curve series-1"))
    marks += [dot(x(i), y(each.value), "estimate", 3.5) for i, each in enumerate(points)]
    marks += [label(x(i), HEIGHT - 14, points[i].when, "middle", "tick") for i in _shown(len(points))]
    told = f"from {figure(points[0])} ({points[0].when}) to {figure(points[-1])} ({points[-1].when})"
    return picture(f"{series.experiment}, {series.quantity}: {told}", WIDTH, HEIGHT, joined(marks))


def _shown(n: int) -> list[int]:
    """Positions that are named on the axis: at most five, the first and the last among them."""
    if n <= 5:
        return list(range(n))
    return sorted({round(i * (n - 1) / 4) for i in range(5)})
