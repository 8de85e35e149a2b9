"""Each experiment since the revision that a run was measured against: base → head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.records.against import VERDICTS, Base, SinceBase
from quantbench.records.run import RunRecord
from quantbench.report.tables import plain_table
from quantbench.stats.regression import Change

NOTHING = "–"
TITLES = ("experiment", "base → head", "lost [95 %]", "flips", "size", "speed", "since the base")
# The worst first, as a row tells them.
ORDER = (Change.REGRESSED, Change.INCONCLUSIVE, Change.IMPROVED, Change.SAME)
# Lines of a list; the rest is counted.
SHOWN = 8


@dataclass(frozen=True)
class Row:
    """One experiment, as tables show it.

    Attributes:
        experiment: its id.
        cells: in the order of `TITLES`, after the first.
        change: the worst of its verdicts since the base.
        is_same: both models are the same.
    """

    experiment: str
    cells: tuple[str, ...]
    change: str
    is_same: bool


def rows(records: Sequence[RunRecord]) -> list[Row]:
    """A row for each experiment that the base has, too; those that changed for the worse first."""
    found = [_row(record, record.since_base) for record in records if record.since_base is not None]
    return sorted(found, key=lambda row: ORDER.index(Change(row.change)))


def _row(record: RunRecord, since: SinceBase) -> Row:
    changes = [each.change for each in record.verdicts if each.quantity in VERDICTS]
    change = next((each for each in ORDER if each in changes), Change.INCONCLUSIVE)
    size = NOTHING if since.size_ratio is None else f"{since.size_ratio:.3f}×"
    cells = (*_figures(since), size, _speed(since), "same model" if since.is_same else str(change))
    return Row(record.experiment, cells, str(change), since.is_same)


def _figures(since: SinceBase) -> tuple[str, str, str]:
    figures = since.figures
    if figures is None:
        return NOTHING, NOTHING, NOTHING
    if figures.unit == "accuracy":
        values, unit, digits = f"{100 * figures.base:.2f} → {100 * figures.head:.2f} %", " pp", "+.2f"
    else:
        values, unit, digits = f"{figures.base:.4g} → {figures.head:.4g} {figures.unit}", "", "+.3g"
    limits = "" if figures.interval is None else f" [{figures.interval[0]:{digits}}, {figures.interval[1]:{digits}}]"
    flips = NOTHING if figures.lost is None else f"−{figures.lost} +{figures.gained}"
    return values, f"{figures.drop:{digits}}{limits}{unit}", flips


def _speed(since: SinceBase) -> str:
    if since.speed is None:
        return NOTHING
    low, high = since.speed.interval
    return f"{since.speed.ratio:.3f}× [{low:.3f}, {high:.3f}]"


def against_text(base: Base, records: Sequence[RunRecord]) -> str:
    """The table and lines for the terminal."""
    found = rows(records)
    table = plain_table(TITLES, [(row.experiment, *row.cells) for row in found]) if found else ""
    return f"against {base.name}\n{table}" + "".join(f"{line}\n" for line in [*told(base, records), *reasons(records)])


def told(base: Base, records: Sequence[RunRecord]) -> list[str]:
    """Lines about what is not compared, and what both share."""
    compared = sum(record.since_base is not None for record in records)
    lines = [] if compared else [f"no experiment of this run is at {base.name}"]
    if base.head_only:
        lines.append(f"new since the base: {_few(base.head_only)}")
    if base.base_only:
        lines.append(f"gone since the base: {_few(base.base_only)}")
    return [*lines, *base.notes]


def reasons(records: Sequence[RunRecord]) -> list[str]:
    """Lines about each experiment: why it is not compared, and what changed in its configuration and files."""
    lines = []
    for record in records:
        since = record.since_base
        if since is None:
            continue
        if since.problem:
            lines.append(f"{record.experiment}: {since.problem}")
        if since.changed:
            lines.append(f"{record.experiment}: changed: {'; '.join(since.changed[:SHOWN])}{_more(since.changed)}")
        if since.keys:
            more = len(since.keys) + since.more_keys - SHOWN
            rest = f" and {more} more" if more > 0 else ""
            lines.append(f"{record.experiment}: entries of the file: {'; '.join(since.keys[:SHOWN])}{rest}")
    return lines


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + _more(names)


def _more(items: Sequence[str]) -> str:
    return f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
