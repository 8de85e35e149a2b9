"""Pictures as inline SVG: a scale, marks and a title that says the same in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.report.html.markup import Child, Html, element

# Width of a character of a label, px at font size 11; labels that are a little too far apart hurt nobody.
CHARACTER, LINE = 6.3, 13.0


def picture(title: str, width: float, height: float, *children: Child, class_: str = "") -> Html:
    """A picture with its title, which screen readers read in its place."""
    return element(
        "svg",
        element("title", title),
        *children,
        role="img",
        aria_label=title,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        class_=class_ or None,
    )


@dataclass(frozen=True)
class Scale:
    """Values of an axis → pixels.

    Attributes:
        low: value at `start`.
        high: value at `stop`.
        start: px.
        stop: px.
        is_log: ratios are spaced evenly.
    """

    low: float
    high: float
    start: float
    stop: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Pixels of a value; of one beyond the scale, of its end."""
        low, high = self._of(self.low), self._of(self.high)
        share = (self._of(min(max(value, self.low), self.high)) - low) / (high - low or 1.0)
        return self.start + share * (self.stop - self.start)

    def _of(self, value: float) -> float:
        return math.log(value) if self.is_log else value

    def ticks(self, most: int = 6) -> list[float]:
        """Round values along the scale."""
        if self.is_log:
            steps = (0.1, 0.2, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)
            within = [each for each in steps if self.low <= each <= self.high]
            return within if len(within) <= most else [each for each in within if each in (0.1, 0.5, 1, 2, 5, 10, 50)]
        span = self.high - self.low
        if not span > 0:
            return [self.low]
        raw = span / most
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * each for each in (1, 2, 5, 10) if size * each >= raw)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def around(values: Sequence[float], start: float, stop: float, is_log: bool = False, share: float = 0.08) -> Scale:
    """A scale that holds all values with some room on both sides."""
    low, high = min(values), max(values)
    if is_log:
        room = max((high / low) ** share, 1.02)
        return Scale(low / room, high * room, start, stop, is_log=True)
    room = (high - low) * share or max(abs(high) * 0.1, 1e-6)
    return Scale(low - room, high + room, start, stop)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def dot(x: float, y: float, class_: str, radius: float = 4.0) -> Html:
    """A point."""
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def label(x: float, y: float, words: str, anchor: str = "start", class_: str = "label") -> Html:
    """Words in a picture."""
    return element("text", words, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_)


def dots(points: Sequence[tuple[float, float]], class_: str, radius: float = 1.8) -> Html:
    """Many points as one path, which takes a tenth of the bytes."""
    d = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return element("path", d=d, class_=class_, stroke_width=2 * radius)


@dataclass(frozen=True)
class Box:
    """A rectangle that a label takes."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """True if both share some of their area."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def placed(points: Sequence[tuple[float, float, str]], room: Box) -> list[tuple[float, float, str, bool]]:
    """Places for the labels of points, so that none covers another label or a point, where that is possible.

    Args:
        points: x, y and label of each.
        room: that labels stay within.

    Returns:
        x of the label's left end, y of its base line, the label, and whether it is so far off that it needs a line to
        its point; in the order of the points.
    """
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points]
    found: dict[int, tuple[float, float, str, bool]] = {}
    for i in sorted(range(len(points)), key=lambda i: (points[i][1], points[i][0])):
        x, y, words = points[i]
        width = CHARACTER * len(words)
        tried = [_box(x + dx if dx > 0 else x + dx - width, y + dy, width) for dy in _steps() for dx in (8.0, -8.0)]
        inside = [box for box in tried if _is_within(box, room)] or [_clamped(tried[0], room)]
        free = [box for box in inside if not any(box.meets(other) for other in taken)]
        box = free[0] if free else inside[0]
        taken.append(box)
        found[i] = (box.left, box.bottom - 3, words, abs((box.top + box.bottom) / 2 - y) > LINE)
    return [found[i] for i in range(len(points))]


def _steps() -> list[float]:
    return [0.0, *(sign * LINE * i for i in range(1, 16) for sign in (-1, 1))]


def _box(left: float, middle: float, width: float) -> Box:
    return Box(left, middle - LINE / 2, left + width, middle + LINE / 2)


def _is_within(box: Box, room: Box) -> bool:
    return room.left <= box.left and box.right <= room.right and room.top <= box.top and box.bottom <= room.bottom


def _clamped(box: Box, room: Box) -> Box:
    shift = min(0.0, room.right - box.right) + max(0.0, room.left - box.left)
    return Box(box.left + shift, box.top, box.right + shift, box.bottom)
