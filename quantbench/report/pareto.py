"""Which experiments nobody beats: accuracy against size and against latency, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.files import replacing
from quantbench.records import RunRecord


@dataclass(frozen=True)
class Point:
    """One experiment of one workload.

    Attributes:
        name: of the experiment.
        accuracy: 0..1, with its Wilson interval.
        size_bytes: of the saved file.
        relative_time: forward time as a share of the fp32 model's in the same rounds, or None if not timed.
        relative_time_interval: bootstrap interval of it.
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
    """The measured experiments of one workload with the front marked, in order of size.

    The baseline's time is 1 by definition; an experiment that was not timed can be on the front only by its accuracy
    and size, and dominates nobody that was timed.
    """
    points = [_point(record) for record in records if record.accuracy and record.size]
    marked = [
        Point(**{**vars(point), "front": not any(_dominates(other, point) for other in points)}) for point in points
    ]
    return sorted(marked, key=lambda point: (point.size_bytes, point.name))


def _point(record: RunRecord) -> Point:
    accuracy, size, latency = record.accuracy, record.size, record.latency
    if accuracy is None or size is None:
        raise ConfigError(f"{record.experiment}: the record has no accuracy or no size; run all of its claims")
    time: float | None = 1.0 if record.recipe_name == "fp32_baseline" else None
    interval = None
    if latency is not None:
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
    """One table per workload: accuracy with its interval, bytes, time relative to fp32; ● marks the front."""
    lines = []
    for workload, own in by_workload(records).items():
        n = own[0].accuracy.n if own[0].accuracy else 0
        lines += [
            f"**{workload}** (n = {n:,})",
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
    return "\n".join(lines)


def pareto_plot(records: Sequence[RunRecord], paths: Sequence[Path]) -> None:
    """Draws accuracy against size and against relative time, one row per workload, into each of the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    groups = by_workload(records)
    # A fixed salt and no date: the same records give the same SVG.
    with plt.rc_context({"svg.hashsalt": "quantbench", "font.size": 9}):
        figure, axes = plt.subplots(
            len(groups), 2, figsize=(11, 3.6 * len(groups)), squeeze=False, layout="constrained"
        )
        for row, (workload, own) in zip(axes, groups.items(), strict=True):
            points = pareto_points(own)
            _draw(row[0], [(p.size_bytes / 1024, None, p) for p in points], "file size, KiB", workload)
            timed = [(p.relative_time, p.relative_time_interval, p) for p in points if p.relative_time is not None]
            _draw(row[1], timed, "forward time / fp32, paired (lower is faster)", workload)
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {}
            with replacing(path) as temporary:
                figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=130, metadata=metadata)
        plt.close(figure)


def _draw(axis, points, label: str, workload: str) -> None:  # type: ignore[no-untyped-def]
    """One panel; names are stacked at its right edge's side so that near points stay readable."""
    colors = [f"C{i}" for i in range(len(points))]
    for color, (x, x_interval, p) in zip(colors, points, strict=True):
        low, high = p.accuracy_interval
        y = 100 * p.accuracy
        x_error = None if x_interval is None else [[x - x_interval[0]], [x_interval[1] - x]]
        axis.errorbar(
            x, y, yerr=[[y - 100 * low], [100 * high - y]], xerr=x_error, fmt="o",
            markerfacecolor=color if p.front else "white", color=color, capsize=2, markersize=7, linewidth=1,
            label=f"{p.name}{' (front)' if p.front else ''}",
        )  # fmt: skip
    front = sorted((x, 100 * p.accuracy) for x, _, p in points if p.front)
    axis.step([x for x, _ in front], [y for _, y in front], where="post", color="0.7", linewidth=1, zorder=0)
    axis.set(xlabel=label, ylabel="accuracy, % (95 % interval)", title=workload)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7, loc="best", framealpha=0.85)


def by_workload(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Records grouped by the workload in their id."""
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(record.experiment.partition("/")[0], []).append(record)
    return groups
