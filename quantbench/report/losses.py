"""Losses against size and time: a point for each experiment of any task, and a table of the tasks beside top-1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.records.run import RunRecord


@dataclass(frozen=True)
class Point:
    """One experiment.

    Attributes:
        name: of the experiment.
        loss: against the reference, in the unit of the task.
        loss_interval: of it; None where the samples tell none.
        size_bytes: of its file.
        time: of a forward as a share of the reference's in the same rounds; None where it was not timed.
        time_interval: of it.
    """

    name: str
    loss: float
    loss_interval: tuple[float, float] | None
    size_bytes: int
    time: float | None
    time_interval: tuple[float, float] | None


def point_of(record: RunRecord) -> Point | None:
    """A record's point; None where it has no loss or no size."""
    if record.accuracy:
        loss, limits = record.accuracy.drop_pp, record.accuracy.drop_interval_pp
    elif record.score:
        loss, limits = record.score.drop, record.score.interval  # type: ignore[assignment]
    else:
        return None
    if record.size is None:
        return None
    is_reference = record.recipe_name == "fp32_baseline"
    time, between = (1.0, None) if is_reference else (None, None)
    if (timed := record.latency) is not None and not is_reference:
        low, high = timed.speedup_interval
        time, between = 1 / timed.speedup, (1 / high, 1 / low)  # type: ignore[assignment]
    name = record.experiment.partition("/")[2]
    return Point(name, loss, limits, record.size.quantized_bytes, time, between)


def is_on_front(point: Point, points: Sequence[Point]) -> bool:
    """True if no other point is as good in all that both have and better in one of it."""
    return not any(_dominates(other, point) for other in points)


def _dominates(a: Point, b: Point) -> bool:
    if a.time is None and b.time is not None:
        return False
    pairs = [(a.loss, b.loss), (a.size_bytes, b.size_bytes)]
    if a.time is not None and b.time is not None:
        pairs.append((a.time, b.time))
    return all(one <= other for one, other in pairs) and any(one < other for one, other in pairs)


def loss_tables(records: Sequence[RunRecord]) -> list[str]:
    """Lines of one table for each workload whose score is no accuracy; ● marks the front.

    Example:
        >>> loss_tables([])
        []
    """
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.score and record.size:
            groups.setdefault(record.experiment.partition("/")[0], []).append(record)
    return [line for workload, own in groups.items() for line in _table(workload, own)]


def _table(workload: str, own: Sequence[RunRecord]) -> list[str]:
    points = [point for record in own if (point := point_of(record))]
    scores = {record.experiment.partition("/")[2]: record.score for record in own if record.score}
    first = next(iter(scores.values()))
    lines = [
        f"**{workload}** (n = {max(each.n for each in scores.values()):,}, task {first.task}, "
        f"{'higher' if first.higher_is_better else 'lower'} is better)",
        "",
        f"| front | experiment | {first.unit} [95 %] | lost [95 %] | bytes | time / fp32 [99 %] |",
        "| :---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for point in sorted(points, key=lambda each: (each.size_bytes, each.name)):
        score = scores[point.name]
        time = "–" if point.time is None else f"{point.time:.2f}{_between(point.time_interval, '.2f')}"
        lines.append(
            f"| {'●' if is_on_front(point, points) else ''} | {point.name} "
            f"| {score.candidate:.4g}{_between(score.candidate_interval, '.4g')} "
            f"| {score.drop:+.4g}{_between(score.interval, '+.4g')} | {point.size_bytes:,} | {time} |"
        )
    return [*lines, ""]


def _between(limits: tuple[float, float] | None, form: str) -> str:
    return "" if limits is None else f" [{limits[0]:{form}}, {limits[1]:{form}}]"
