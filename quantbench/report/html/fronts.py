"""Pareto fronts of what is lost on the same samples, against size and time, with a label at each point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quantbench.report.html.content import Content
from quantbench.report.html.drawing import Box, Scale, around, dot, label, line, picture, placed
from quantbench.report.html.markup import Html, element, joined, scrolling, section
from quantbench.report.losses import Point, is_on_front, point_of

WIDTH, HEIGHT = 760.0, 420.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 18.0, 26.0, 46.0
NOTE = (
    "Lost against the reference on the same samples, so that the interval is that of the samples that changed. "
    "Lower and further left is better; a filled point is on the front: no other loses as little, is as small and as "
    "fast, and is better in one of them."
)


def fronts_section(content: Content) -> Html:
    """Two pictures for each workload with at least two experiments that can be compared."""
    parts = []
    for workload in content.workloads:
        own = content.workload(workload)
        points = [point for record in own if (point := point_of(record))]
        if len(points) < 2:
            continue
        unit = next((record.score.unit for record in own if record.score), "percentage points")
        by_size = _chart(f"{workload}: lost against size", unit, points, "file, KiB", lambda p: p.size_bytes / 1024)
        timed = [point for point in points if point.time is not None]
        by_time = _chart(f"{workload}: lost against time", unit, timed, "forward time / reference", lambda p: p.time)
        parts.append(joined(element("h3", workload), by_size, by_time))
    return section("fronts", "Loss against size and time", *parts, note=NOTE)


def _chart(
    title: str, unit: str, points: Sequence[Point], across: str, cost: Callable[[Point], float | None]
) -> Html | None:
    if len(points) < 2:
        return None
    costs = [cost(point) or 0.0 for point in points]
    ends = [each for point in points for each in (point.loss_interval or (point.loss, point.loss))]
    x = around(costs, LEFT, WIDTH - RIGHT)
    y = around([*ends, 0.0], HEIGHT - BOTTOM, TOP)
    marks: list[Html] = [*_axes(x, y, across, f"lost, {unit}")]
    front = {point.name for point in points if is_on_front(point, points)}
    places = [(x(c), y(point.loss)) for c, point in zip(costs, points, strict=True)]
    for point, (left, top) in zip(points, places, strict=True):
        if point.loss_interval:
            marks.append(line(left, y(point.loss_interval[0]), left, y(point.loss_interval[1]), "whisker"))
        if point.time_interval and across.startswith("forward"):
            marks.append(line(x(point.time_interval[0]), top, x(point.time_interval[1]), top, "whisker"))
    marks += [
        dot(*place, "point front" if point.name in front else "point", 5)
        for point, place in zip(points, places, strict=True)
    ]
    room = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    named = [(*place, point.name) for point, place in zip(points, places, strict=True)]
    for (left, top, words, is_far), place in zip(placed(named, room), places, strict=True):
        if is_far:
            middle = left + (0 if left > place[0] else 6.3 * len(words))
            marks.append(line(*place, middle, top - 4, "leader"))
        marks.append(label(left, top, words))
    best = ", ".join(sorted(front))
    drawn = picture(
        f"{title}. On the front: {best}. Figures are in the table of all experiments.", WIDTH, HEIGHT, marks
    )
    return scrolling(title, drawn)


def _axes(x: Scale, y: Scale, across: str, up: str) -> list[Html]:
    bottom = HEIGHT - BOTTOM
    marks = []
    for value in y.ticks():
        marks.append(line(LEFT, y(value), WIDTH - RIGHT, y(value), "zero" if abs(value) < 1e-12 else "grid"))
        marks.append(label(LEFT - 6, y(value) + 4, f"{value:.4g}", "end", "tick"))
    for value in x.ticks():
        marks.append(line(x(value), bottom, x(value), bottom + 4, "axis"))
        marks.append(label(x(value), bottom + 17, f"{value:,.4g}", "middle", "tick"))
    marks.append(line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"))
    marks.append(label((LEFT + WIDTH) / 2, HEIGHT - 8, f"{across} (left is better)", "middle"))
    marks.append(label(LEFT, TOP - 10, f"{up} (down is better)"))
    return marks
