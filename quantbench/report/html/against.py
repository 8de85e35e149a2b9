"""The revision that a run was measured against: each experiment, base → head."""

from __future__ import annotations

from quantbench.report.against import TITLES, reasons, rows, told
from quantbench.report.html.content import Content
from quantbench.report.html.judged import badge
from quantbench.report.html.links import link_to
from quantbench.report.html.markup import Html, element, joined, section, table

NOTE = "Both revisions on this machine: the same samples, and forwards in the same rounds."


def against_section(content: Content) -> Html:
    """A table of all experiments that both have, and lines about the rest; nothing without another revision."""
    if content.base is None:
        return Html("")
    made = []
    for row in rows(content.records):
        *cells, word = row.cells
        last = badge(row.change) if word == row.change else joined(word)
        made.append((link_to(row.experiment), *cells, last))
    name = f"Since {content.base.name}"
    lines = [*told(content.base, content.records), *reasons(content.records)]
    listed = element("ul", [element("li", line) for line in lines]) if lines else None
    whole = table(name, TITLES, made, hidden=True) if made else None
    return section("against", name, whole, listed, note=NOTE)
