"""Layers of an experiment: the precision in which each multiplied."""

from __future__ import annotations

from quantbench.records.run import RunRecord
from quantbench.report.html.markup import Html, element, joined, part, table

# Rows of a table of layers; those with most work are shown.
SHOWN = 40


def layers_part(record: RunRecord) -> Html:
    """Multiply-accumulates of each layer by the precision of the kernel that ran."""
    coverage = record.coverage
    if coverage is None:
        return Html("")
    total = coverage.int8_macs + coverage.float_macs
    work = [
        *((name, "int8", macs) for name, macs in coverage.int8_layers.items()),
        *((name, "floating point", macs) for name, macs in coverage.float_layers.items()),
    ]
    work.sort(key=lambda row: -row[2])
    rows = [(name, precision, f"{macs:,}", _bar(macs, total)) for name, precision, macs in work[:SHOWN]]
    said = f"{coverage.int8_share:.2%} of {total:,} multiply-accumulates ran in int8."
    left = f" {len(work) - SHOWN} layers with less work are left out." if len(work) > SHOWN else ""
    unknown = f" Not counted: {', '.join(coverage.uncounted)}." if coverage.uncounted else ""
    titles = ("layer", "precision", "multiply-accumulates", "share")
    return part("Layers", element("p", f"{said}{left}{unknown}"), table("Work of each layer", titles, rows))


def _bar(macs: int, total: int) -> Html:
    share = macs / total if total else 0.0
    bar = element("span", class_="bar", style=f"width:{60 * share:.1f}px", aria_hidden="true")
    return joined(bar, f" {share:.1%}")
