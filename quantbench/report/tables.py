"""Records as tables: for the terminal and as Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from quantbench.config.selection import claims_command
from quantbench.errors import ForeignError
from quantbench.files import printable
from quantbench.foreign import calling
from quantbench.records.base import Environment, Part
from quantbench.records.run import ExperimentError, NotRun, RunRecord
from quantbench.registry import QUANTITIES
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome

NOTHING = "–"
# In the versions of every record.
PACKAGES_OF_ALL = ("numpy", "quantbench-suite")
# In the place of a figure that its quantity cannot show.
BROKEN = "error"


def overall(record: RunRecord) -> str:
    """The worst verdict of a record's gates, or a dash where none was judged.

    That no speed-up was accepted for this class of machine yet is said, and hides no other verdict.
    """
    without = any(verdict.change == Change.NO_BASELINE for verdict in record.verdicts)
    outcomes = {verdict.outcome for verdict in record.verdicts if verdict.change != Change.NO_BASELINE}
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS):
        if outcome in outcomes:
            return f"{outcome.value}, no baseline" if without else outcome.value
    return NOTHING


def without_baseline(messages: Sequence[tuple[str, str]]) -> list[str]:
    """The words for verdicts that find no baseline for this machine: the first, and how to accept for all of them.

    Args:
        messages: an experiment's id and the words for its verdict, each.
    """
    if len(messages) < 2:
        return [text for _, text in messages]
    workloads = sorted({id_.partition("/")[0] for id_, _ in messages})
    names = " ".join(f"--experiment '{workload}/*'" for workload in workloads)
    more = (
        f"{len(messages) - 1} more experiments have no accepted speed-up for this machine either; accept them all: "
        f'{claims_command()} {names} -m latency --update-golden --reason "…"'
    )
    return [messages[0][1], more]


def columns(records: Sequence[RunRecord] = ()) -> tuple[str, ...]:
    """Titles of the table: the experiment, the columns of each quantity, the verdict."""
    return ("experiment", *(column.header for _, column in _shown(records)), "verdict")


def _shown(records: Sequence[RunRecord]) -> list[tuple[Any, Any]]:
    """Quantities and columns of the table of some records; of a task's own kind only where one of them has it."""
    parts = {part for record in records for part in record.parts}
    return [
        (each, column)
        for each in QUANTITIES.all()
        for column in each.columns
        if column.everywhere or each.part in parts
    ]


def cells(record: RunRecord, records: Sequence[RunRecord] = ()) -> tuple[str, ...]:
    """One row, in the order of `columns`.

    Args:
        record: of the row.
        records: of the table.
    """
    is_reference, parts = record.recipe_name == "fp32_baseline", record.parts
    figures = (
        NOTHING
        if each.part not in parts or (is_reference and not column.of_reference)
        else _cell(column, parts[each.part])
        for each, column in _shown(records)
    )
    return (record.experiment, *figures, overall(record))


def rows_of(records: Sequence[RunRecord], errors: Sequence[ExperimentError] = ()) -> list[tuple[str, ...]]:
    """A row for each record, and one for each experiment that an error left without a record.

    Args:
        records: of the experiments that were measured.
        errors: their verdicts begin with `error`, since some claim was not made.
    """
    missing = dict.fromkeys(error.experiment for error in errors)
    rows = []
    for record in records:
        *figures, verdict = cells(record, records)
        if record.experiment in missing:
            verdict = BROKEN if verdict == NOTHING else f"{BROKEN}, {verdict}"
            del missing[record.experiment]
        rows.append((*figures, verdict))
    return rows + [(id_, *[NOTHING] * (len(columns(records)) - 2), BROKEN) for id_ in missing]


def error_lines(errors: Sequence[ExperimentError]) -> list[str]:
    """One line for each reason that an experiment's claims could not be made for."""
    lines = [printable(f"{each.experiment}: {BROKEN}: {' '.join(each.reason.split())}") for each in errors]
    return list(dict.fromkeys(lines))


def broken_cells(records: Sequence[RunRecord]) -> list[str]:
    """A line for each column that cannot show what was measured of an experiment; its cell says so as well."""
    lines = []
    for record in records:
        parts = record.parts
        for each in QUANTITIES.all():
            for column in each.columns:
                try:
                    if each.part in parts:
                        _text_of(column, parts[each.part])
                except ForeignError as error:
                    lines.append(f"{record.experiment}: {error}")
    return lines


def _cell(column: Any, part: Part) -> str:
    try:
        return _text_of(column, part)
    except ForeignError:
        return BROKEN


def _text_of(column: Any, part: Part) -> str:
    """One line of text for a figure.

    Raises:
        ForeignError: if the column's own code raises, or gives no text.
    """
    with calling(f"column '{column.header}'"):
        text: object = column.cell(part)
    if not isinstance(text, str):
        raise ForeignError(f"column '{column.header}' gave a {type(text).__name__}; return text")
    return " ".join(text.split())


def terminal_table(
    records: Sequence[RunRecord],
    not_run: Sequence[NotRun],
    width: int,
    color: bool,
    errors: Sequence[ExperimentError] = (),
) -> str:
    """The table that ends a run; the reasons of errors are told by whoever shows it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    titles = columns(records)
    for i, title in enumerate(titles):
        table.add_column(title, justify="left" if i in (0, len(titles) - 1) else "right", no_wrap=True)
    styles = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INCONCLUSIVE: "yellow", BROKEN: "red"}
    for *figures, verdict in rows_of(records, errors):
        style = styles.get(verdict.partition(",")[0])
        table.add_row(*map(escape, figures), f"[{style}]{verdict}" if style else verdict)
    stream = io.StringIO()
    # Where no width is known, or a narrow one, a verdict still must not be cut. Without a height rich ignores the width
    # and takes 80 columns where TERM is "dumb", as CI services set it.
    needed = Console(width=1_000, height=25).measure(table).maximum
    console = Console(
        file=stream,
        width=max(width, needed),
        height=25,
        color_system="standard" if color else None,
        force_terminal=color,
        no_color=not color,
        highlight=False,
    )
    if records:
        console.print(table)
    for line in not_run_lines(not_run):
        console.print(line, soft_wrap=True, markup=False)
    return stream.getvalue()


def not_run_lines(not_run: Sequence[NotRun]) -> list[str]:
    """One line per reason and workload: absent data is one fact, however many experiments wait for it."""
    alike: dict[tuple[str, str], list[str]] = {}
    for entry in not_run:
        alike.setdefault((entry.experiment.partition("/")[0], entry.reason), []).append(entry.experiment)
    return [
        printable(
            f"{ids[0]}: not run: {reason}" if len(ids) == 1 else f"{workload}: {len(ids)} experiments not run: {reason}"
        )
        for (workload, reason), ids in alike.items()
    ]


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], text_last: bool = False) -> str:
    """Aligned columns for the terminal, the first to the left and figures to the right.

    Args:
        columns: titles.
        rows: cells, in the order of the titles.
        text_last: the last column holds text, to the left.
    """
    left = {0, len(columns) - 1} if text_last else {0}
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (columns, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown_table(records: Sequence[RunRecord], errors: Sequence[ExperimentError] = ()) -> str:
    """The same rows as a Markdown table."""
    return "\n".join(markdown_rows(columns(records), rows_of(records, errors), last="---")) + "\n"


def markdown_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], last: str = "---:") -> list[str]:
    """The lines of a Markdown table, figures to the right.

    Args:
        columns: titles, the first over names.
        rows: cells, in the order of the titles.
        last: alignment of the last column.
    """
    head = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 2) + f" {last} |"]
    return head + ["| " + " | ".join(row) + " |" for row in rows]


def provenance(records: Sequence[RunRecord]) -> str:
    """One line per distinct circumstance of the records: n, intervals, processor, versions, command."""
    circumstances: dict[str, set[int]] = {}
    for record in records:
        e = record.environment
        samples = record.accuracy or record.score
        n = f"n = {samples.n:,} test samples" if samples else "accuracy not measured"
        timing = (
            f"speed-up: median of {{rounds}} interleaved rounds, batch {t.batch_size}, {t.threads} thread(s)"
            if (t := record.latency)
            else "not timed"
        )
        machine = f"{e.processor} ({', '.join(e.isa)}), {e.cores} cores, engine {record.engine}"
        software = f"{_library(e)}, Python {e.python}"
        workload = record.experiment.partition("/")[0]
        line = f"`{workload}`: {n}; {timing}; {machine}, {software}; `{record.command}`"
        circumstances.setdefault(line, set()).update({t.rounds} if t else ())
    return "\n".join(f"- {line.replace('{rounds}', _range(rounds))}" for line, rounds in circumstances.items()) + "\n"


def _library(environment: Environment) -> str:
    """Torch with its version, or the runtimes of a machine without it."""
    versions = environment.versions
    runtimes = [f"{name} {version}" for name, version in versions.items() if name not in PACKAGES_OF_ALL]
    if runtimes and "torch" not in versions:
        return ", ".join(runtimes)
    return f"torch {versions.get('torch', '(unknown)')}"


def _range(rounds: set[int]) -> str:
    """Rounds that were needed to decide: one number, or from the fewest to the most."""
    return "–".join(str(n) for n in sorted({min(rounds), max(rounds)})) if rounds else ""
