"""A blame as lines for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.records.blame import BlameRecord, LayerBlame, Trial

HEADER = ("layer", "operator", "SQNR, dB", "by itself", "its weights", "largest error", "clipped", "error removed")
NOTHING = "–"
MARK = "→ "


def blame_text(record: BlameRecord) -> str:
    """A blame for a terminal: the table of layers, what was put back, causes, and the sentence at the end."""
    rows = [HEADER, *(cells_of(record, each) for each in record.layers)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADER))]
    lines = [f"{record.experiment} through {record.backend}: {found_on(record)}", ""]
    lines += ["  ".join(_aligned(at, cell, widths) for at, cell in enumerate(row)).rstrip() for row in rows]
    lines += ["", *(trial_line(record, each) for each in record.trials), *causes_of(record)]
    lines += [f"note: {each}" for each in notes_of(record)]
    lines += [f"{record.passes:.1f} passes over the test set, {record.seconds:.1f} s", "", record.sentence]
    return "\n".join(lines)


def blame_tables(records: Sequence[BlameRecord]) -> str:
    """Blames as Markdown."""
    parts: list[str] = []
    for record in records:
        parts += [
            f"**{record.experiment}** ({record.backend}): {record.sentence}",
            "",
            f"| {' | '.join(HEADER)} |",
            f"| --- | --- |{' ---: |' * (len(HEADER) - 2)}",
            *(f"| {' | '.join(cells_of(record, each))} |" for each in record.layers),
            "",
            f"{found_on(record)}.",
            "",
            *(f"- {trial_line(record, each)}" for each in record.trials),
            *(f"- {each}" for each in causes_of(record)),
            *(f"- note: {each}" for each in notes_of(record)),
            "",
            f"{record.passes:.1f} passes over the test set; made by `{record.command}`.",
            "",
        ]
    return "\n".join(parts).rstrip("\n")


def trial_line(record: BlameRecord, trial: Trial) -> str:
    """One trial in a line."""
    what = ", ".join(trial.layers) or "every layer"
    digits = 2 if record.unit == "pp" else 4
    limits = "" if trial.interval is None else f" [{trial.interval[0]:.{digits}f}, {trial.interval[1]:.{digits}f}]"
    early = "" if trial.complete else ", given up early"
    return (
        f"put back {what}: recovers {trial.recovered:.{digits}f}{limits} {record.unit} "
        f"(n={trial.n:,}, level {100 * trial.level:.4g} %{early})"
    )


def cells_of(record: BlameRecord, layer: LayerBlame) -> tuple[str, ...]:
    """Row of a layer, in the order of `HEADER`."""
    mark = MARK if layer.name in record.responsible else ""
    if not layer.quantized:
        return (f"{mark}{layer.name}", layer.op, _db(layer.propagated_db), *[NOTHING] * 5)
    return (
        f"{mark}{layer.name}",
        layer.op,
        _db(layer.propagated_db),
        _db(layer.local_db),
        _db(layer.weights_db),
        f"{layer.largest_error:.3g}",
        f"{100 * layer.clipped:.2g} %",
        NOTHING if layer.removed is None else f"{100 * layer.removed:.0f} %",
    )


def _db(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 100 else "exact" if value > 0 else NOTHING


def _aligned(at: int, cell: str, widths: Sequence[int]) -> str:
    return cell.ljust(widths[at]) if at < 2 else cell.rjust(widths[at])


def found_on(record: BlameRecord) -> str:
    """Samples that layers were compared and confirmed on."""
    calibration, test = record.found_on
    of = f"{calibration} calibration samples and " if calibration else ""
    return f"layers compared on {of}{test} test samples without their labels, confirmed on {record.n:,} test samples"


def causes_of(record: BlameRecord) -> list[str]:
    """A line for each cause that was checked, those of the responsible layers first."""
    looked_into = [each for each in record.layers if each.causes]
    looked_into.sort(key=lambda each: (each.name not in record.responsible, -(each.removed or 0)))
    return [
        f"{layer.name}: {f'{100 * cause.share:.0f} % of its error: ' if cause.share else ''}{cause.words}"
        for layer in looked_into
        for cause in layer.causes
        # That nothing is wrong is told where nothing else is.
        if cause.share or len(layer.causes) == 1
    ]


def notes_of(record: BlameRecord) -> list[str]:
    """Lines about what was not matched, done or left out."""
    shown = record.unmatched[:5]
    more = f" and {len(record.unmatched) - len(shown)} more" if len(record.unmatched) > len(shown) else ""
    unmatched = [f"not matched with the reference: {', '.join(shown)}{more}"] if shown else []
    return [*unmatched, *record.notes]
