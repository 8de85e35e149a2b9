"""The table of all experiments, which can be sorted and filtered."""

from __future__ import annotations

from quantbench.records.run import RunRecord
from quantbench.report.html.content import Content
from quantbench.report.html.judged import badge, bounded, interval_picture
from quantbench.report.html.links import link_to
from quantbench.report.html.markup import Html, element, joined, scrolling, section
from quantbench.report.tables import NOTHING, columns, rows_of

# Losses that the picture of a row may be of, the first that was judged.
LOSSES = ("accuracy_drop_pp", "score_drop", "parity_pp", "layer_drop_pp", "search_drop_pp")


def overview_section(content: Content) -> Html:
    """All experiments with their figures, and what finds one of them."""
    records, errors = list(content.records), list(content.errors)
    titles = columns(records)
    by_id = {record.experiment: record for record in records}
    rows = []
    for id_, *figures, verdict in rows_of(records, errors):
        found = by_id.get(id_)
        cells = [element("td", badge(verdict)), element("td", _loss(found) if found else NOTHING)]
        cells += [element("td", figure, class_="figure") for figure in figures]
        word = verdict.partition(",")[0]
        rows.append(element("tr", element("th", link_to(id_), scope="row"), cells, data_verdict=word, data_name=id_))
    heads = [titles[0], titles[-1], "loss against its bound", *titles[1:-1]]
    made = element(
        "table",
        element("caption", "All experiments", class_="hidden"),
        element("thead", element("tr", [element("th", title, scope="col") for title in heads])),
        element("tbody", rows),
        class_="sortable",
    )
    return section("experiments", "All experiments", _controls(content), scrolling("All experiments", made))


def _controls(content: Content) -> Html:
    """Inputs that the script shows; without it the table is whole."""
    words = sorted({row[-1].partition(",")[0] for row in rows_of(list(content.records), list(content.errors))})
    options = [element("option", "every verdict", value=""), *(element("option", word, value=word) for word in words)]
    return element(
        "form",
        element("label", "Name holds ", element("input", type="search", id="filter-name", autocomplete="off")),
        element("label", "Verdict ", element("select", options, id="filter-verdict")),
        element("button", "Open all", type="button", id="open-all"),
        element("output", id="filter-count", aria_live="polite"),
        class_="controls",
        hidden=True,
        aria_label="Choose experiments",
    )


def _loss(record: RunRecord) -> Html:
    for quantity in LOSSES:
        for verdict in record.verdicts:
            if verdict.quantity == quantity and (figures := bounded(record, verdict)):
                return interval_picture(f"{record.experiment} {quantity}", figures)
    return joined(NOTHING)
