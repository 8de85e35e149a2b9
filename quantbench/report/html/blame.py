"""The layer to blame: the sentence, errors along the network as a picture, trials and causes."""

from __future__ import annotations

from quantbench.records.blame import BlameRecord, LayerBlame
from quantbench.report.blame import HEADER, MARK, causes_of, cells_of, found_on, notes_of, trial_line
from quantbench.report.html.drawing import Scale, around, dot, label, line, picture
from quantbench.report.html.markup import Html, element, joined, part, scrolling, table

WIDTH, NAMES, ROW, TOP = 640.0, 170.0, 20.0, 30.0
# Layers of a picture, and decibels beyond which a layer counts as exact.
SHOWN, EXACT = 60, 100.0
NOTE = "Signal to quantization noise of each layer, decibels; right is better."


def blame_part(blame: BlameRecord | None) -> Html:
    """Everything that a blame of the experiment found; nothing without one."""
    if blame is None:
        return Html("")
    lines = [*(trial_line(blame, each) for each in blame.trials), *causes_of(blame), *notes_of(blame)]
    return part(
        "Blame",
        element("p", element("strong", blame.sentence)),
        scrolling("Error of each layer", _errors(blame)),
        table("Layers in the order in which they run", HEADER, [cells_of(blame, each) for each in blame.layers]),
        element("p", f"{found_on(blame)}."),
        element("ul", [element("li", each) for each in lines]) if lines else None,
        element("p", element("code", blame.command)),
        note=NOTE,
    )


def _errors(blame: BlameRecord) -> Html:
    layers = [each for each in blame.layers if abs(each.propagated_db) < EXACT or abs(each.local_db) < EXACT][:SHOWN]
    values = [each for layer in layers for each in (layer.propagated_db, layer.local_db) if abs(each) < EXACT]
    x = around(values or [0.0], NAMES, WIDTH - 20)
    bottom = TOP + ROW * len(layers)
    marks: list[Html] = []
    for value in x.ticks():
        marks += [line(x(value), TOP - 6, x(value), bottom, "grid")]
        marks.append(label(x(value), bottom + 15, f"{value:g} dB", "middle", "tick"))
    marks += [dot(NAMES, 10, "series-1 filled", 3.5), label(NAMES + 8, 14, "as it runs")]
    marks += [dot(NAMES + 100, 10, "series-2 filled", 3.5), label(NAMES + 108, 14, "by itself")]
    for i, layer in enumerate(layers):
        marks += _row(layer, layer.name in blame.responsible, TOP + ROW * i + ROW / 2, x)
    responsible = ", ".join(blame.responsible) or "no single layer"
    return picture(
        f"Error of each layer of {blame.experiment}; responsible: {responsible}", WIDTH, bottom + 24, joined(marks)
    )


def _row(layer: LayerBlame, is_responsible: bool, y: float, x: Scale) -> list[Html]:
    name = layer.name if len(layer.name) <= 24 else f"…{layer.name[-23:]}"
    marks = [label(NAMES - 10, y + 4, f"{MARK if is_responsible else ''}{name}", "end")]
    for value, class_ in ((layer.propagated_db, "series-1 filled"), (layer.local_db, "series-2 filled")):
        if abs(value) < EXACT:
            marks.append(dot(x(value), y, class_, 3.5))
    return marks
