"""Trainings epoch by epoch, and layers by what each loses alone."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.errors import QuantbenchError
from quantbench.records.run import Accuracy
from quantbench.report.curves import Curves, overfitting
from quantbench.report.html.content import Content
from quantbench.report.html.drawing import Scale, around, dot, label, line, picture
from quantbench.report.html.markup import Html, element, joined, scrolling, section, table
from quantbench.report.sensitivity import Part, sensitivities, sensitivity_tables

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420.0, 220.0, 46.0, 92.0, 16.0, 34.0
ROW, NAMES = 30.0, 150.0


def training_section(content: Content) -> Html:
    """Accuracy of each training, on the samples that it learned from and on those held out."""
    parts = [element("figure", _accuracies(each), element("figcaption", overfitting(each))) for each in content.curves]
    grid = element("div", parts, class_="grid") if parts else None
    return section("training", "Trainings", grid, note="Of the weights that the experiments above are about.")


def _accuracies(curves: Curves) -> Html:
    lines = [("training", [100 * each for each in curves.accuracy], "series-1")]
    if curves.validation_accuracy:
        lines.append(("validation", [100 * each for each in curves.validation_accuracy], "series-2"))
    x = Scale(1, max(len(curves.accuracy), 2), LEFT, WIDTH - RIGHT)
    y = around([each for _, values, _ in lines for each in values], HEIGHT - BOTTOM, TOP)
    marks = [*_grid(y), label(0, TOP - 4, "accuracy, %", class_="tick")]
    for value in x.ticks():
        if value == round(value):
            marks.append(label(x(value), HEIGHT - BOTTOM + 16, f"{value:.0f}", "middle", "tick"))
    marks.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epoch", "middle"))
    ends = _apart([y(values[-1]) for _, values, _ in lines])
    for (name, values, class_), end in zip(lines, ends, strict=True):
        d = "M" + "L".join(f"{x(i):.1f} {y(value):.1f}" for i, value in enumerate(values, 1))
        marks.append(element("path", d=d, class_=f"curve {class_}"))
        marks.append(label(x(len(values)) + 6, end + 4, f"{name} {values[-1]:.1f} %"))
    if curves.best_epoch:
        best = x(curves.best_epoch)
        marks += [line(best, TOP, best, HEIGHT - BOTTOM, "zero"), label(best - 3, TOP - 4, "kept", "middle", "tick")]
    told = "; ".join(f"{name} from {values[0]:.1f} to {values[-1]:.1f} %" for name, values, _ in lines)
    return picture(f"Accuracy of {curves.name} in {len(curves.accuracy)} epochs: {told}", WIDTH, HEIGHT, marks)


def _grid(y: Scale) -> list[Html]:
    marks = []
    for value in y.ticks(5):
        marks.append(line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid"))
        marks.append(label(LEFT - 5, y(value) + 4, f"{value:g}", "end", "tick"))
    return marks


def _apart(places: list[float]) -> list[float]:
    """The same places, two that are too close moved apart."""
    if len(places) == 2 and abs(places[0] - places[1]) < 14:
        middle, sign = sum(places) / 2, 1 if places[0] >= places[1] else -1
        return [middle + 7 * sign, middle - 7 * sign]
    return places


def sensitivity_section(content: Content) -> Html:
    """Loss of each layer when it alone is quantized, with intervals, and the tables of it."""
    try:
        found = sensitivities(content.records)
        tables = list(sensitivity_tables(content.records))
    except QuantbenchError as error:
        return section("sensitivity", "Sensitivity of layers", element("p", f"Not shown: {error}"))
    parts = []
    for workload, own in found.items():
        parts += [element("h3", workload), scrolling(f"{workload}, layer by layer", _drops(workload, own))]
        parts += [table(title, columns, rows) for title, columns, rows in tables if title.startswith(f"{workload},")]
    note = "One layer in int8, all others in floating point; lost on the same samples, percentage points."
    return section("sensitivity", "Sensitivity of layers", joined(parts), note=note)


def _drops(workload: str, parts: Sequence[Part]) -> Html:
    kinds = (("PTQ", "series-1", [p.ptq_accuracy for p in parts]), ("QAT", "series-2", [p.qat_accuracy for p in parts]))
    values = [0.0]
    for _, _, figures in kinds:
        values += [each for found in figures if found for each in found.drop_interval_pp]
    width = 640.0
    x = around(values, NAMES, width - 12)
    bottom = 20 + ROW * len(parts)
    marks = [line(x(0), 14, x(0), bottom, "zero")]
    for value in x.ticks():
        marks.append(label(x(value), bottom + 17, f"{value:g}", "middle", "tick"))
    for i, part in enumerate(parts):
        marks.append(label(NAMES - 8, 20 + ROW * i + 15, part.name[:22], "end"))
        for shift, (name, class_, figures) in zip((9.0, 20.0), kinds, strict=True):
            marks += _drop(x, 20 + ROW * i + shift, figures[i], class_, name if i == 0 else "")
    return picture(f"What each layer of {workload} loses alone, by post-training quantization and by training; "
                   "the figures are in the table", width, bottom + 24, marks)  # fmt: skip


def _drop(x: Scale, y: float, figure: Accuracy | None, class_: str, name: str) -> list[Html]:
    if figure is None:
        return []
    low, high = figure.drop_interval_pp
    marks = [line(x(low), y, x(high), y, f"curve {class_}"), dot(x(figure.drop_pp), y, f"{class_} filled", 3.5)]
    return [*marks, label(x(high) + 6, y + 4, name)] if name else marks
