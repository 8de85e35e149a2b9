"""An ablation as a table, for the terminal and as Markdown, with what its ranking says beside the published one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantbench.files import write_text
from quantbench.records.ablation import AblationRecord, PairRecord, RowRecord
from quantbench.report.curves import Curves, curves_of, overfitting
from quantbench.report.curves_plot import rows_plot
from quantbench.report.tables import NOTHING, markdown_rows, plain_table

FAILED = "failed"


def columns(record: AblationRecord) -> tuple[str, ...]:
    """Titles of the table."""
    return (
        "row",
        "changes",
        "test accuracy % [95 %]",
        f"over {record.rows[0].name}, pp [95 %]",
        "validation % at its best epoch [95 %]",
        "published %",
    )


def cells(row: RowRecord) -> tuple[str, ...]:
    """One row, in the order of `columns`."""
    trained = row.trained
    best = f", epoch {trained.best_epoch} of {len(trained.history)}" if trained else ""
    return (
        row.name,
        ", ".join(f"{key} {_plain(value)}" for key, value in row.changes.items()) or NOTHING,
        FAILED if row.failed else _percent(row.accuracy, row.accuracy_interval),
        _points(row.difference_pp, row.difference_interval_pp),
        _percent(row.validation_accuracy, row.validation_interval) + (best if row.validation_interval else ""),
        NOTHING if row.published is None else f"{row.published:.1f}",
    )


def _plain(value: object) -> str:
    return str(value).replace("'", "")


def _percent(share: float | None, interval: tuple[float, float] | None) -> str:
    if share is None or interval is None:
        return NOTHING
    return f"{100 * share:.2f} [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"


def _points(difference: float | None, interval: tuple[float, float] | None) -> str:
    if difference is None or interval is None:
        return NOTHING
    return f"{difference:+z.2f} [{interval[0]:+z.2f}, {interval[1]:+z.2f}]"


def ranking_sentences(record: AblationRecord) -> list[str]:
    """Sentences on our ranking beside the published one, and on the neighbours that the samples separate."""
    done = [row for row in record.rows if row.accuracy is not None]
    if len(done) < 2:
        return ["Fewer than two rows have a result: there is nothing to rank."]
    ranked = sorted(done, key=lambda row: -(row.accuracy or 0.0))
    sentences = [f"By test accuracy: {' > '.join(row.name for row in ranked)}."]
    if record.tau is not None and record.p_value is not None:
        sentences.append(
            f"Against the published ranking: Kendall's tau-b = {record.tau:+.2f} (n = {record.n_ranked} rows; a tau as "
            f"far from 0 would come about with probability {record.p_value:.3f} if the two had nothing to do with each "
            "other)."
        )
    elif record.n_ranked:
        sentences.append("Against the published ranking: no tau, since one of the two ranks nothing.")
    which = "the published ranking" if record.ranked_by == "published" else "this ranking"
    apart = sum(pair.separated for pair in record.pairs)
    sentences.append(
        f"Neighbours in {which} that their intervals separate ({100 * record.level:.0f} % for all of them together): "
        f"{apart} of {len(record.pairs)}. {'; '.join(map(_pair, record.pairs))}."
    )
    return sentences


def _pair(pair: PairRecord) -> str:
    verdict = "not separated"
    if pair.separated:
        verdict = "separated" if pair.difference_pp > 0 else "separated, the other way round"
    return f"{pair.upper} over {pair.lower} {_points(pair.difference_pp, pair.interval_pp)} pp, {verdict}"


def provenance(record: AblationRecord) -> list[str]:
    """Provenance of the figures: samples, budget, machine, command; and the limits of the intervals."""
    lines = [f"{row.name}: {FAILED}: {row.failed}" for row in record.rows if row.failed]
    circumstances: dict[str, list[str]] = {}
    for row in record.rows:
        if (trained := row.trained) is None:
            continue
        e = trained.environment
        amp = f"; {trained.amp}" if trained.amp else ""
        circumstances.setdefault(
            f"{trained.n_train:,} training, {trained.n_validation:,} validation and {trained.n_test:,} test samples, "
            f"{trained.training['epochs']} epoch(s), seed {trained.training['seed']}; "
            f"{e.accelerator or e.processor}, {trained.threads} thread(s), "
            f"torch {e.versions.get('torch', '(unknown)')}{amp}",
            [],
        ).append(row.name)
    for line, names in circumstances.items():
        who = "all rows" if len(names) == len(record.rows) else ", ".join(names)
        lines.append(f"{who}: {line}")
    seconds = [f"{row.trained.duration_s:,.0f} s ({row.name})" for row in record.rows if row.trained]
    lines += [f"training took {', '.join(seconds)}"] if seconds else []
    data = f" ({record.data_note})" if record.data_note else ""
    lines.append(f"workload {record.workload}{data}; `{record.command}`")
    if record.published:
        lines.append(f"published: {record.published}")
    lines.append(
        "each row was trained once: the intervals say what other test samples would have changed, not what another "
        "seed would"
    )
    return lines


def ablation_text(record: AblationRecord) -> str:
    """Table and sentences for the terminal."""
    table = plain_table(columns(record), [cells(row) for row in record.rows])
    return "\n".join([table, *ranking_sentences(record), *provenance(record)]) + "\n"


def ablation_markdown(record: AblationRecord, plot: str) -> str:
    """The same as a document with the picture named `plot`."""
    lines = [f"# Ablation {record.name}", ""]
    lines += [*markdown_rows(columns(record), [cells(row) for row in record.rows]), ""]
    lines += [" ".join(ranking_sentences(record)), ""]
    if curves := row_curves(record):
        lines += [f"![Loss and accuracy of each row, epoch by epoch]({plot})", ""]
        lines += [*(f"- {overfitting(each)}" for each in curves), ""]
    return "\n".join([*lines, *(f"- {line}" for line in provenance(record))]) + "\n"


def row_curves(record: AblationRecord) -> list[Curves]:
    """The history of every row that was trained."""
    return [curves_of(row.name, row.trained, record.name) for row in record.rows if row.trained]


def write_ablation(record: AblationRecord, folder: Path) -> Sequence[Path]:
    """Writes the record, the document and the picture, as `ablation_<name>` with their suffixes.

    Returns:
        Their paths; no picture where no row was trained.
    """
    json, markdown, *plots = (folder / f"ablation_{record.name}.{suffix}" for suffix in ("json", "md", "png", "svg"))
    write_text(json, record.model_dump_json(indent=1) + "\n")
    curves = row_curves(record)
    if curves:
        rows_plot(curves, plots)
    write_text(markdown, ablation_markdown(record, plots[0].name))
    return [json, markdown, *(plots if curves else [])]
