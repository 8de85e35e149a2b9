"""One experiment: its gates, and everything that was measured of it."""

from __future__ import annotations

from collections import Counter

from quantbench.records.run import RunRecord
from quantbench.report.html.blame import blame_part
from quantbench.report.html.classes import classes_part
from quantbench.report.html.content import Content, Place
from quantbench.report.html.judged import badge, gate_cell
from quantbench.report.html.layers import layers_part
from quantbench.report.html.links import experiment_anchor
from quantbench.report.html.markup import Html, element, joined, part, section, table, words_of
from quantbench.report.html.samples import samples_part
from quantbench.report.html.speed import speed_part
from quantbench.report.tables import NOTHING, overall
from quantbench.stats.verdicts import Outcome

# Bytes of a KiB; what a file's size is shown in.
KIB = 1024


def experiments_section(content: Content) -> Html:
    """All experiments, those that need attention open; and a line for each of which nothing was measured."""
    heard: set[Place] = set()
    measured = {record.experiment for record in content.records}
    parts = [_experiment(record, content, heard) for record in content.records]
    for id_ in dict.fromkeys(error.experiment for error in content.errors if error.experiment not in measured):
        reasons = [element("p", error.reason) for error in content.errors if error.experiment == id_]
        parts.append(_folded(id_, "error", "nothing was measured", joined(reasons), is_open=True))
    for each in content.not_run:
        parts.append(_folded(each.experiment, "not run", each.reason, element("p", each.reason), is_open=False))
    return section("details", "Experiments one by one", *parts)


def _experiment(record: RunRecord, content: Content, heard: set[Place]) -> Html:
    reasons = [
        element("p", badge("error"), f" {e.reason}") for e in content.errors if e.experiment == record.experiment
    ]
    blame = content.blame_of(record.experiment)
    body = joined(
        reasons, _gates(record), samples_part(record, content, heard), classes_part(record), blame_part(blame),
        layers_part(record), speed_part(record), _sizes(record), _file(record), _recipe(record),
    )  # fmt: skip
    outcome = "error" if reasons else overall(record)
    is_fine = outcome.partition(",")[0] in (Outcome.PASS, NOTHING)
    return _folded(record.experiment, outcome, _line(record), body, is_open=not is_fine)


def _folded(id_: str, outcome: str, words: str, body: Html, is_open: bool) -> Html:
    heading = element("h3", id_)
    summary = element("summary", heading, " ", badge(outcome), " ", element("span", words, class_="muted"))
    inner = element("div", body, class_="body")
    return element(
        "details", summary, inner, id=experiment_anchor(id_), class_="experiment", open=is_open,
        data_verdict=outcome.partition(",")[0], data_name=id_,
    )  # fmt: skip


def _line(record: RunRecord) -> str:
    """The most important figures in a line."""
    words = []
    if accuracy := record.accuracy:
        words.append(f"{100 * accuracy.quantized:.2f} %, {accuracy.drop_pp:+.2f} pp lost")
    elif score := record.score:
        words.append(f"{score.unit} {score.candidate:.4g}, {score.drop:+.4g} lost")
    if record.size and record.recipe_name != "fp32_baseline":
        words.append(f"{record.size.ratio:.2f}× smaller")
    if record.latency and record.recipe_name != "fp32_baseline":
        words.append(f"{record.latency.speedup:.2f}× as fast")
    return ", ".join(words)


def _gates(record: RunRecord) -> Html:
    rows = []
    for verdict in record.verdicts:
        change = (" ", badge(verdict.change)) if verdict.change and verdict.change != verdict.outcome else ""
        warning = element("span", f" Warning: {verdict.warning}", class_="warning") if verdict.warning else None
        blame = element("p", f"To blame: {verdict.blame}") if verdict.blame else None
        measured = joined(element("span", verdict.measured, warning, class_="words"), blame)
        rows.append((verdict.quantity, joined(badge(verdict.outcome), change), gate_cell(record, verdict), measured,
                     verdict.requirement))  # fmt: skip
    titles = ("gate", "verdict", "interval and bound", "measured", "required")
    return part("Gates", table(f"Gates of {record.experiment}", titles, rows, class_="gates", hidden=True, stacks=True))


def _sizes(record: RunRecord) -> Html:
    rows = []
    if size := record.size:
        rows.append(_pair("file, KiB", size.fp32_bytes / KIB, size.quantized_bytes / KIB, size.ratio))
    if memory := record.memory:
        rows.append(
            _pair("peak memory of a forward, KiB", memory.fp32_bytes / KIB, memory.quantized_bytes / KIB, memory.ratio)
        )
    return part(
        "Size and memory", table("Size and memory", ("of", "reference", "candidate", "smaller by"), rows, hidden=True)
    )


def _pair(name: str, before: float, after: float, ratio: float | None) -> tuple[str, str, str, str]:
    return name, f"{before:,.1f}", f"{after:,.1f}", "–" if ratio is None else f"{ratio:.2f}×"


def _file(record: RunRecord) -> Html:
    """The saved file: its hash, kinds of its entries, and what differs from the accepted one."""
    checkpoint = record.checkpoint
    if checkpoint is None:
        return Html("")
    kinds = Counter(str(entry.get("dtype", "other")) for entry in checkpoint.keys.values() if isinstance(entry, dict))
    reloaded = "bit-identical" if checkpoint.reload_identical else f"differing by {checkpoint.largest_difference:g}"
    facts = [
        ("sha256", element("code", checkpoint.sha256)),
        ("entries", ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())),
        ("payload", f"{checkpoint.payload_bytes:,} bytes"),
        ("loaded in a fresh process", reloaded),
    ]
    facts += [("against the accepted file", v.measured) for v in record.verdicts if v.quantity == "checkpoint"]
    return part("Saved file", _list(facts))


def _recipe(record: RunRecord) -> Html:
    settings = "; ".join(f"{key} {words_of(value)}" for key, value in record.recipe.items() if value is not None)
    facts = [
        ("recipe", f"{record.recipe_name}: {settings}"),
        ("backend", f"{record.backend}, engine {record.engine}, {record.threads} thread(s)"),
        ("data", f"{record.data_name}. {record.data_note}" if record.data_note else record.data_name),
        ("measured by", element("code", record.command)),
        ("measure again", element("code", f"quantbench run '{record.experiment}' --json record.json")),
    ]
    return part("Recipe and command", _list(facts))


def _list(facts: list[tuple[str, str]]) -> Html:
    return element("dl", [joined(element("dt", name), element("dd", value)) for name, value in facts])
