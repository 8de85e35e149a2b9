"""Sensitivities and searches as tables, for the terminal and as Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.records.costs import Measure, figure, shown
from quantbench.records.run import Accuracy
from quantbench.records.search import (
    BudgetRecord,
    Decision,
    FoundArtifact,
    LayerSensitivity,
    SearchRecord,
    SensitivityRecord,
)
from quantbench.report.tables import NOTHING, markdown_rows, plain_table

Record = SearchRecord | SensitivityRecord
ACCEPTED = {True: "accepted", False: "rejected"}
# Before a drop: of a rejection that was certain early, what is lost for certain is known, and no more.
AT_LEAST = defaultdict(str, early="≥ ")
# What a decision rests on, for the table.
REASONS = {
    "measured": "all samples",
    "early": "the rest could change nothing",
    "known": "measured before",
    "not_finite": "logits not finite",
    "confident": "confidence sequence",
    "indifferent": "within the indifference zone",
}


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        ends_in_words: whether the last column holds words, not figures.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    ends_in_words: bool = False


@dataclass(frozen=True)
class SearchReport:
    """Report of a sensitivity analysis or a search.

    Attributes:
        sensitivities: one row per layer.
        decisions: the decision log of a search, or None.
        budget: that was to be met; empty where there was none.
        found: sentences of what was found.
        origin: sentences of where the figures come from.
    """

    sensitivities: Table
    decisions: Table | None
    budget: str
    found: list[str]
    origin: list[str]

    @property
    def tables(self) -> list[Table]:
        """The tables there are."""
        return [table for table in (self.sensitivities, self.decisions) if table]


def sensitivity_table(record: Record) -> Table:
    """One row per layer, the most sensitive first; ties by index."""
    columns = (
        f"layer at {record.low} bits", "index", "drop pp [95 %]", "n", "output SQNR dB", "logits SQNR dB",
        "KL of the logits, nats",
    )  # fmt: skip
    rows = [
        (
            each.layer,
            str(each.index),
            each.failed or points(each.drop_pp, each.drop_interval_pp),
            f"{each.n:,}",
            _decibels(each.output_sqnr_db),
            _decibels(each.logits_sqnr_db),
            NOTHING if each.logits_kl is None else f"{each.logits_kl:.3g}",
        )
        for each in sorted(record.sensitivities, key=lambda each: (-_rank(each), each.index))
    ]
    return Table(title(record), columns, rows)


def _rank(each: LayerSensitivity) -> float:
    return float("inf") if each.failed else each.drop_pp


def points(drop: float, interval: tuple[float, float]) -> str:
    """A drop with its interval."""
    return f"{drop:+z.2f} [{interval[0]:+z.2f}, {interval[1]:+z.2f}]"


def _decibels(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def decision_table(record: SearchRecord) -> Table:
    """The decision log, in the order of the search."""
    columns = ("layer", "index", "total drop pp", "decision", "n", "because of")
    return Table(search_title(record), columns, [_decided(each) for each in record.decisions], ends_in_words=True)


def _decided(decision: Decision) -> tuple[str, ...]:
    return (
        decision.layer,
        str(decision.index),
        NOTHING if decision.drop_pp is None else f"{AT_LEAST[decision.reason]}{decision.drop_pp:+z.2f}",
        ACCEPTED[decision.accepted],
        f"{decision.n:,}",
        REASONS[decision.reason],
    )


def found_sentences(record: SearchRecord | BudgetRecord) -> list[str]:
    """Sentences on the configuration that was found: its cost and its drop."""
    lines = [widths("found", record.bits, record.low)]
    costs = ", ".join(
        f"{figure(shown(record.layers, record.bits, measure), measure)} "
        f"(from {figure(shown(record.layers, [record.high] * len(record.bits), measure), measure)})"
        for measure in Measure
    )
    lines.append(f"costs: {costs}")
    if record.confirmed:
        lines.append(f"on the test split: {confirmed(record.confirmed)}")
    if record.artifact:
        lines += quantized_sentences(record.artifact)
    if isinstance(record, SearchRecord):
        ratio = record.macs_naive / record.macs_spent if record.macs_spent else float("inf")
        lines.append(
            f"cost of the search: {record.macs_spent:.3g} multiply-accumulates, {ratio:.1f} times fewer than the "
            f"published way's {1 + 2 * len(record.layers)} passes; {record.seconds:,.0f} s; values kept between "
            f"forwards took {record.memory_bytes / 1e6:,.0f} MB at most"
        )
    return lines


def quantized_sentences(found: FoundArtifact) -> list[str]:
    """Sentences on what the backend makes of the layers that were found, and the experiment that gates it."""
    same = "the same bits" if found.reload_identical else "other outputs: look at `quantbench gate` of it first"
    names = ", ".join(f"{key}: {_yaml(value)}" for key, value in found.recipe.items())
    return [
        f"quantized by {found.backend}: {confirmed(found.accuracy)}; {found.otherwise:,} sample(s) right or wrong "
        f"otherwise than in the search; {found.size_bytes:,} bytes; a fresh process gives {same}",
        f"as an experiment: recipe: {{{names}}}, backend: {found.backend}",
    ]


def _yaml(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def full_passes_sentence(record: Record) -> str:
    """The sentence on trials that nothing could be kept for; empty where values were kept."""
    return f"every trial is a full pass, since {record.full_passes}" if record.full_passes else ""


def widths(whose: str, bits: Sequence[int], low: int) -> str:
    """The sentence of one width per layer."""
    at_low = sum(each == low for each in bits)
    return f"{whose}: {list(bits)}: {at_low} of {len(bits)} layers ({100 * at_low / len(bits):.1f} %) at {low} bits"


def confirmed(a: Accuracy) -> str:
    """The configuration that was found against all layers high, on the same samples."""
    return (
        f"drop {points(a.drop_pp, a.drop_interval_pp)} pp ({100 * a.fp32:.2f} % → {100 * a.quantized:.2f} %, "
        f"n={a.n:,}: {a.lost} lost, {a.gained} gained)"
    )


def title(record: Record) -> str:
    """Of the table of sensitivities."""
    return (
        f"{record.experiment}: each layer alone at {record.low} bits, all others at {record.high} (split "
        f"'{record.split}', n = {record.n:,}, accuracy {100 * record.accuracy:.2f} %)"
    )


def _budget(record: BudgetRecord) -> str:
    return (
        f"least lost within {figure(record.limit, Measure(record.measure))}, if drops add up: "
        f"{record.predicted_pp:+z.2f} pp predicted on split '{record.split}'"
    )


def search_title(record: SearchRecord) -> str:
    """Of the decision log."""
    risk = f", risk of a wrong decision {record.delta:g}" if record.delta is not None else ""
    return f"greedy search, total drop at most {record.epsilon_pp:g} pp ({record.mode}{risk})"


def report_of(record: Record) -> SearchReport:
    """Tables and sentences of a record."""
    e = record.environment
    machine = f"{e.processor} ({', '.join(e.isa)}), {e.cores} cores, torch {e.versions.get('torch', '(unknown)')}"
    return SearchReport(
        sensitivity_table(record),
        decision_table(record) if isinstance(record, SearchRecord) else None,
        _budget(record) if isinstance(record, BudgetRecord) else "",
        [
            *(found_sentences(record) if isinstance(record, SearchRecord | BudgetRecord) else []),
            *filter(None, [full_passes_sentence(record)]),
        ],
        [f"{machine}, Python {e.python}; `{record.command}`"],
    )


def text(record: Record) -> str:
    """Tables and sentences for the terminal."""
    report = report_of(record)
    parts = [f"{table.title}\n{plain_table(table.columns, table.rows)}" for table in report.tables]
    if report.budget:
        parts.append(f"{report.budget}\n")
    if report.found:
        parts.append("\n".join(report.found) + "\n")
    return "\n".join(parts)


def markdown(report: SearchReport) -> str:
    """The same as Markdown, with the origin of the figures."""
    lines: list[str] = []
    for table in report.tables:
        rows = markdown_rows(table.columns, table.rows, last="---" if table.ends_in_words else "---:")
        lines += [f"**{table.title}**", "", *rows, ""]
    if report.budget:
        lines += [f"{report.budget}.", ""]
    lines += [f"- {line}" for line in [*report.found, *report.origin]]
    return "\n".join(lines) + "\n"
