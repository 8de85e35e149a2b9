"""Sensitivities and searches as tables, for the terminal and as Markdown, beside published ones where there are any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from quantbench.records.costs import Measure, figure, shown
from quantbench.records.run import Accuracy
from quantbench.records.search import BudgetRecord, Decision, LayerSensitivity, SearchRecord, SensitivityRecord
from quantbench.report.published_search import PublishedSearch
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


def sensitivity_columns(record: Record, published: PublishedSearch | None) -> tuple[str, ...]:
    """Titles of the table of sensitivities."""
    beside = ("published pp",) if published else ()
    return (
        f"layer at {record.low} bits", "index", "drop pp [95 %]", *beside, "n", "output SQNR dB", "logits SQNR dB",
        "KL of the logits, nats",
    )  # fmt: skip


def sensitivity_rows(record: Record, published: PublishedSearch | None) -> list[tuple[str, ...]]:
    """One row per layer, the most sensitive first; ties by index."""
    ordered = sorted(record.sensitivities, key=lambda each: (-_rank(each), each.index))
    rows = []
    for each in ordered:
        beside = (f"{published.sensitivities_pp[each.index]:+.2f}",) if published else ()
        rows.append(
            (
                each.layer,
                str(each.index),
                each.failed or points(each.drop_pp, each.drop_interval_pp),
                *beside,
                f"{each.n:,}",
                _decibels(each.output_sqnr_db),
                _decibels(each.logits_sqnr_db),
                NOTHING if each.logits_kl is None else f"{each.logits_kl:.3g}",
            )
        )
    return rows


def _rank(each: LayerSensitivity) -> float:
    return float("inf") if each.failed else each.drop_pp


def points(drop: float, interval: tuple[float, float]) -> str:
    """A drop with its interval."""
    return f"{drop:+z.2f} [{interval[0]:+z.2f}, {interval[1]:+z.2f}]"


def _decibels(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def decision_columns(published: PublishedSearch | None) -> tuple[str, ...]:
    """Titles of the decision log."""
    beside = ("published: layer", "drop pp", "decision") if published else ()
    return ("layer", "index", "total drop pp", "decision", "n", "because of", *beside)


def decision_rows(record: SearchRecord, published: PublishedSearch | None) -> list[tuple[str, ...]]:
    """The decision log, in the order of the search; the published one line by line beside it."""
    theirs: list[tuple[str, ...]] = [()] * len(record.decisions)
    if published:
        theirs = [(str(d.layer), f"{d.drop_pp:+.2f}", ACCEPTED[d.accepted]) for d in published.decisions]
    return [(*_decided(ours), *beside) for ours, beside in zip(record.decisions, theirs, strict=True)]


def _decided(decision: Decision) -> tuple[str, ...]:
    return (
        decision.layer,
        str(decision.index),
        NOTHING if decision.drop_pp is None else f"{AT_LEAST[decision.reason]}{decision.drop_pp:+z.2f}",
        ACCEPTED[decision.accepted],
        f"{decision.n:,}",
        REASONS[decision.reason],
    )


def found_sentences(record: SearchRecord | BudgetRecord, published: PublishedSearch | None) -> list[str]:
    """Sentences on the configuration that was found: its cost and its drop."""
    lines = [_widths("found", record.bits, record.low)]
    if published:
        lines.append(_widths("published", published.bits, min(published.bits)))
    costs = ", ".join(
        f"{figure(shown(record.layers, record.bits, measure), measure)} "
        f"(from {figure(shown(record.layers, [record.high] * len(record.bits), measure), measure)})"
        for measure in Measure
    )
    lines.append(f"costs: {costs}")
    if record.confirmed:
        lines.append(f"on the test split: {confirmed(record.confirmed)}")
    if isinstance(record, SearchRecord):
        ratio = record.macs_naive / record.macs_spent if record.macs_spent else float("inf")
        lines.append(
            f"cost of the search: {record.macs_spent:.3g} multiply-accumulates, {ratio:.1f} times fewer than the "
            f"published way's {1 + 2 * len(record.layers)} passes; {record.seconds:,.0f} s; values kept between "
            f"forwards took {record.memory_bytes / 1e6:,.0f} MB at most"
        )
    return lines


def _widths(whose: str, bits: Sequence[int], low: int) -> str:
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


def text(record: Record, published: PublishedSearch | None = None) -> str:
    """Tables and sentences for the terminal."""
    parts = [
        title(record) + "\n" + plain_table(sensitivity_columns(record, published), sensitivity_rows(record, published))
    ]
    if isinstance(record, SearchRecord):
        parts.append(
            search_title(record) + "\n" + plain_table(decision_columns(published), decision_rows(record, published))
        )
    if isinstance(record, BudgetRecord):
        parts.append(_budget(record) + "\n")
    if isinstance(record, SearchRecord | BudgetRecord):
        parts.append("\n".join(found_sentences(record, published)) + "\n")
    return "\n".join(parts)


def markdown(record: Record, published: PublishedSearch | None = None) -> str:
    """The same as Markdown, with where the figures come from."""
    columns = sensitivity_columns(record, published)
    lines = [f"**{title(record)}**", "", *markdown_rows(columns, sensitivity_rows(record, published)), ""]
    if isinstance(record, SearchRecord):
        rows = decision_rows(record, published)
        lines += [f"**{search_title(record)}**", "", *markdown_rows(decision_columns(published), rows, last="---"), ""]
    if isinstance(record, BudgetRecord):
        lines += [f"{_budget(record)}.", ""]
    if isinstance(record, SearchRecord | BudgetRecord):
        lines += [f"- {line}" for line in found_sentences(record, published)]
    e = record.environment
    machine = f"{e.processor} ({', '.join(e.isa)}), {e.cores} cores, torch {e.versions.get('torch', '(unknown)')}"
    lines.append(f"- {machine}, Python {e.python}; `{record.command}`")
    if published:
        lines.append(f"- published: {published.what}; {published.accuracy:.2f} %, {published.passes} passes")
    return "\n".join(lines) + "\n"
