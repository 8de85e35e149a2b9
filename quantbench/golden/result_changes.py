"""Differences between one accepted result and the next, in the lines that a reviewer reads."""

from __future__ import annotations

from quantbench.golden.accepted import AcceptedResult, AcceptedSpeedup
from quantbench.records.classes import unpack_answers


def changes_of(before: AcceptedResult | None, after: AcceptedResult) -> list[str]:
    """Changes that a reviewer wants to read, as `name: old → new`."""
    lines = []
    old_metrics = before.metrics if before else {}
    for name, new in after.metrics.items():
        if old_metrics.get(name) != new:
            lines.append(f"{name}: {_figure(old_metrics.get(name))} → {_figure(new)}")
    if before:
        lines += _changed_bits(before, after)
        if str(before.machine) != str(after.machine):
            lines.append(f"machine: {before.machine} → {after.machine}")
        old, new_versions = before.versions, after.versions
        lines += [
            f"{name}: {old.get(name, '–')} → {version}"
            for name, version in new_versions.items()
            if old.get(name) != version
        ]
        lines += [f"input {name}: changed" for name in after.inputs.differing(before.inputs)]
    for speedup in after.speedups:
        old_speedup = before.speedup_on(speedup.machine) if before else None
        if old_speedup != speedup:
            lines.append(f"speed-up on {speedup.machine}: {_speed(old_speedup)} → {_speed(speedup)}")
    gone = [each for each in (before.speedups if before else []) if after.speedup_on(each.machine) is None]
    return lines + [f"speed-up on {each.machine}: {_speed(each)} → removed: its inputs changed" for each in gone]


def _changed_bits(before: AcceptedResult, after: AcceptedResult) -> list[str]:
    if before.inputs.test != after.inputs.test or before.n != after.n:
        return [f"test samples: {before.n:,} → {after.n:,}, others"]
    lines = _changed_predictions(before, after)
    if before.answers is not None and after.answers is not None:
        changed = unpack_answers(before.answers, before.n) != unpack_answers(after.answers, after.n)
        lines += [f"answers: {int(changed.sum())} of {after.n:,} are of another class"] if changed.any() else []
    elif before.answers != after.answers:
        lines.append(f"answers: {'none kept → kept' if before.answers is None else 'kept → none kept'}")
    return lines


def _changed_predictions(before: AcceptedResult, after: AcceptedResult) -> list[str]:
    if before.task != after.task:
        return [f"task: {before.task or 'scores of 0 and 1'} → {after.task or 'scores of 0 and 1'}"]
    if before.scores is None:
        flipped = int((before.bits != after.bits).sum())
        return [f"predictions: {flipped} of {after.n:,} flipped"] if flipped else []
    one, other = before.statistics, after.statistics
    if one.shape != other.shape:
        return [f"scores: {one.shape[1]} → {other.shape[1]} numbers of each sample"]
    changed = int((one != other).any(axis=1).sum())
    return [f"scores: {changed} of {after.n:,} changed"] if changed else []


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _speed(speedup: AcceptedSpeedup | None) -> str:
    if speedup is None:
        return "–"
    low, high = speedup.speedup_interval
    return f"{speedup.speedup:.3f}× [{low:.3f}, {high:.3f}]"
