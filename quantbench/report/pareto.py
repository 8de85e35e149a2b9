"""Pareto fronts: accuracy, or what is lost of another score, against size and against latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.config.selection import claims_command
from quantbench.errors import ConfigError
from quantbench.records.run import RunRecord
from quantbench.report.figures import COLORS, drawn, legend_below
from quantbench.report.losses import loss_tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
WIDTH, PANEL_HEIGHT, LEGEND_HEIGHT = 10.5, 3.4, 0.9
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h")
LINE_COLOR, LINE_WIDTH = "0.82", 3.5
Style = tuple[str, str]
Range = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """One experiment of one workload.

    Attributes:
        name: of the experiment.
        accuracy: 0..1, with its Wilson interval.
        size_bytes: of the saved file.
        relative_time: forward time as a share of the fp32 model's in the same rounds, or None if not timed.
        relative_time_interval: distribution-free interval of it.
        front: whether no other point is at least as good in accuracy, size and time and better in one of them.
    """

    name: str
    accuracy: float
    accuracy_interval: tuple[float, float]
    size_bytes: int
    relative_time: float | None
    relative_time_interval: tuple[float, float] | None
    front: bool = False


def pareto_points(records: Sequence[RunRecord]) -> list[Point]:
    """The experiments of one workload, each with accuracy and size, with the front marked, in order of size.

    The baseline's time is 1 by definition; an experiment that was not timed can be on the front only by its accuracy
    and size, and dominates nobody that was timed.
    """
    points = [_point(record) for record in records]
    marked = [
        Point(**{**vars(point), "front": not any(_dominates(other, point) for other in points)}) for point in points
    ]
    return sorted(marked, key=lambda point: (point.size_bytes, point.name))


def _point(record: RunRecord) -> Point:
    accuracy, size, latency = record.accuracy, record.size, record.latency
    if accuracy is None or size is None:
        raise ConfigError(f"{record.experiment}: its record has no accuracy or no size; measure all of its claims")
    time: float | None = 1.0 if record.recipe_name == "fp32_baseline" else None
    interval = None
    if latency is not None:
        if not min(latency.speedup, *latency.speedup_interval) > 0:
            raise ConfigError(f"{record.experiment}: its record has a speed-up of {latency.speedup}; measure it again")
        time = 1 / latency.speedup
        interval = (1 / latency.speedup_interval[1], 1 / latency.speedup_interval[0])
    name = record.experiment.partition("/")[2]
    return Point(name, accuracy.quantized, accuracy.quantized_interval, size.quantized_bytes, time, interval)


def _dominates(a: Point, b: Point) -> bool:
    timed = a.relative_time is not None and b.relative_time is not None
    if not timed and b.relative_time is not None:
        return False
    mine = (-a.accuracy, a.size_bytes, a.relative_time if timed else 0.0)
    other = (-b.accuracy, b.size_bytes, b.relative_time if timed else 0.0)
    return all(x <= y for x, y in zip(mine, other, strict=True)) and mine != other  # type: ignore[operator]


def pareto_markdown(records: Sequence[RunRecord]) -> str:
    """One table per workload: accuracy with its interval, bytes, time relative to fp32; ● marks the front.

    Of other tasks than top-1 the figure and what is lost.
    """
    lines = []
    for workload, own in by_workload(records).items():
        lines += [
            f"**{workload}** (n = {_n(own):,})",
            "",
            "| front | experiment | accuracy % [95 %] | bytes | time / fp32 [99 %] |",
            "| :---: | --- | ---: | ---: | ---: |",
        ]
        for p in pareto_points(own):
            low, high = p.accuracy_interval
            time = "–" if p.relative_time is None else f"{p.relative_time:.2f}"
            if p.relative_time_interval:
                time += f" [{p.relative_time_interval[0]:.2f}, {p.relative_time_interval[1]:.2f}]"
            lines.append(
                f"| {'●' if p.front else ''} | {p.name} | {100 * p.accuracy:.2f} [{100 * low:.2f}, {100 * high:.2f}] "
                f"| {p.size_bytes:,} | {time} |"
            )
        lines.append("")
    return "\n".join([*lines, *loss_tables(records)])


def pareto_plot(records: Sequence[RunRecord], paths: Sequence[Path]) -> Sequence[Path]:
    """Draws accuracy against size and against relative time, one row per workload, into each of the files.

    Returns:
        The files; none where no experiment has an accuracy.
    """
    groups = by_workload(records)
    if not groups:
        return []
    styles = point_styles(groups)
    size = WIDTH, PANEL_HEIGHT * len(groups) + LEGEND_HEIGHT
    with drawn(paths, size, rows=len(groups), columns=2) as (figure, axes):
        for row, (workload, own) in zip(axes, groups.items(), strict=True):
            points = pareto_points(own)
            title = f"{workload}, n = {_n(own):,}: accuracy against"
            row[0].set(title=f"{title} size", xlabel="file size, KiB", ylabel="accuracy, % (95 % interval)")
            _draw(row[0], [(p.size_bytes / 1024, None, p) for p in points], styles)
            row[1].set(title=f"{title} time", xlabel="forward time / fp32 in the same rounds (99 % interval)")
            row[1].sharey(row[0])
            timed = [(p.relative_time, p.relative_time_interval, p) for p in points if p.relative_time is not None]
            _draw(row[1], timed, styles)
        _legend(figure, styles)
    return paths


def point_styles(groups: dict[str, list[RunRecord]]) -> dict[str, Style]:
    """Colour by recipe and marker by experiment's name, the same in every panel."""
    named = {record.experiment.partition("/")[2]: record.recipe_name for own in groups.values() for record in own}
    recipes = list(dict.fromkeys(named.values()))
    return {
        name: (COLORS[recipes.index(recipe) % len(COLORS)], MARKERS[i % len(MARKERS)])
        for i, (name, recipe) in enumerate(named.items())
    }


def _n(own: Sequence[RunRecord]) -> int:
    return max(record.accuracy.n if record.accuracy else 0 for record in own)


def _draw(axis: Axes, points: Sequence[tuple[float, Range | None, Point]], styles: dict[str, Style]) -> None:
    """One panel; x, its interval and the point for each experiment. The line is the best accuracy up to an x."""
    from matplotlib.patheffects import withStroke

    # White around each marker, and each a little smaller than the one below it, keep apart what stands in one place.
    outline = [withStroke(linewidth=2.5, foreground="white")]
    for i, (x, x_interval, p) in enumerate(points):
        color, marker = styles[p.name]
        low, high = p.accuracy_interval
        y = 100 * p.accuracy
        x_error = None if x_interval is None else [[x - x_interval[0]], [x_interval[1] - x]]
        axis.errorbar(
            x, y, yerr=[[y - 100 * low], [100 * high - y]], xerr=x_error,
            fmt="none", ecolor=color, elinewidth=1, capsize=2, alpha=0.5, zorder=2,
        )  # fmt: skip
        axis.plot(
            x, y, marker, color=color, markerfacecolor=color if p.front else "none",
            markersize=8 - 2.5 * i / len(points), markeredgewidth=1.4, zorder=3,
            path_effects=outline if p.front else None,
        )  # fmt: skip
    reached = staircase([(x, 100 * p.accuracy) for x, _, p in points])
    if reached:
        right = axis.get_xlim()[1]
        axis.step(
            [*(x for x, _ in reached), right], [*(y for _, y in reached), reached[-1][1]],
            where="post", color=LINE_COLOR, linewidth=LINE_WIDTH, zorder=1,
        )  # fmt: skip
        axis.set_xlim(right=right)
    axis.grid(alpha=0.25)


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, gain) pairs that no cheaper or equally cheap one reaches, in order of cost."""
    steps: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not steps or y > steps[-1][1]:
            steps.append((x, y))
    return steps


def _legend(figure: Figure, styles: dict[str, Style]) -> None:
    """Legend of colors and markers."""
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=color, marker=marker, linestyle="none", label=name)
        for name, (color, marker) in styles.items()
    ]
    grey = "0.3"
    entries += [
        Line2D([], [], color=grey, marker="o", linestyle="none", label="filled: on the front"),
        Line2D(
            [], [], color=grey, marker="o", markerfacecolor="none", linestyle="none",
            label="hollow: another is as accurate, small and fast, and better in one",
        ),
        Line2D([], [], color=LINE_COLOR, linewidth=LINE_WIDTH, label="best accuracy up to that size or time"),
    ]  # fmt: skip
    legend_below(figure, {str(each.get_label()): each for each in entries}, 3)


def without_accuracy(records: Sequence[RunRecord]) -> list[str]:
    """Experiments whose score is no accuracy, so that they stand in the results alone."""
    return [record.experiment for record in records if record.score is not None]


def by_workload(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Records that can be compared, having accuracy and size, grouped by the workload in their id.

    Raises:
        ConfigError: if there is none, and no record of another score whose results could be shown.
    """
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.accuracy and record.size:
            groups.setdefault(record.experiment.partition("/")[0], []).append(record)
    if not groups and not without_accuracy(records):
        raise ConfigError(
            f"no record has both accuracy and size; measure all claims with: {claims_command()} --json FILE"
        )
    return groups
