"""Speed of an experiment: every pair of forwards as a point, beside the control of the reference against itself."""

from __future__ import annotations

from quantbench.records.run import Latency, RunRecord
from quantbench.report.html.drawing import Scale, around, dots, label, line, picture
from quantbench.report.html.judged import bounded
from quantbench.report.html.markup import Html, element, part, scrolling

WIDTH, ROW, LEFT, TOP = 700.0, 44.0, 150.0, 10.0
# Spreads points of one value over the height of their row, the same way each time.
GOLDEN_RATIO = 0.618033988749895


def speed_part(record: RunRecord) -> Html:
    """The ratios of each round, their medians and intervals, and what doubts them."""
    latency = record.latency
    if latency is None:
        return Html("")
    bound = next((b for v in record.verdicts if v.quantity == "speedup" and (b := bounded(record, v))), None)
    rows = [
        ("reference / candidate", _ratios(latency, "fp32", "int8"), latency.speedup, latency.speedup_interval),
        (
            "fastest form / candidate", _ratios(latency, "fp32_fastest", "int8"), latency.speedup_over_fastest,
            latency.speedup_over_fastest_interval,
        ),
        ("A/A control", _ratios(latency, "fp32", "fp32_again"), latency.control, latency.control_interval),
    ]  # fmt: skip
    drawn = _strips(record.experiment, rows, None if bound is None else bound.bound)
    said = [
        f"{latency.rounds} interleaved rounds, batch {latency.batch_size}, {latency.threads} thread(s), "
        f"{latency.clock} time; the fastest form of the reference is '{latency.fastest_form}'.",
        latency.clock_note,
        f"No verdict follows: {latency.doubt}." if latency.doubt else "",
        "The control strayed: the machine was too noisy." if latency.strayed else "",
        *latency.forms_left_out,
    ]
    note = "Each point is the ratio of two forwards of the same round; right is faster. The control must stand at 1."
    return part("Speed", scrolling("Ratios of each round", drawn), [element("p", each) for each in said if each],
                note=note)  # fmt: skip


def _ratios(latency: Latency, reference: str, candidate: str) -> list[float]:
    """Ratios of each round by the clock that is believed."""
    if latency.clock == "processor" and {reference, candidate} <= set(latency.counted):
        times = [latency.counted[form].thread_s for form in (reference, candidate)]
    else:
        times = [getattr(latency, f"{form}_s") for form in (reference, candidate)]
    return [one / other for one, other in zip(*times, strict=True) if one > 0 and other > 0]


def _strips(
    experiment: str, rows: list[tuple[str, list[float], float, tuple[float, float]]], bound: float | None
) -> Html:
    values = [1.0, *(each for _, ratios, _, _ in rows for each in ratios), *([bound] if bound and bound > 0 else [])]
    scale = around(values, LEFT, WIDTH - 16, is_log=True)
    bottom = TOP + ROW * len(rows)
    marks = [line(scale(1.0), TOP, scale(1.0), bottom, "zero"), *_ticks(scale, bottom)]
    if bound and bound > 0:
        marks += [line(scale(bound), TOP, scale(bound), bottom, "bound")]
        marks.append(label(min(scale(bound) + 4, WIDTH - 60), TOP + 8, f"bound {bound:g}×", class_="label bound-label"))
    told = []
    for i, (name, ratios, estimate, (low, high)) in enumerate(rows):
        middle = TOP + ROW * i + ROW / 2
        spread = [(scale(ratio), middle - 13 + 26 * (j * GOLDEN_RATIO % 1)) for j, ratio in enumerate(ratios)]
        marks.append(label(LEFT - 8, middle + 4, name, "end"))
        marks.append(dots(spread, "pairs control" if "control" in name else "pairs", 1.9))
        marks.append(line(scale(low), middle, scale(high), middle, "interval"))
        marks.append(line(scale(estimate), middle - 9, scale(estimate), middle + 9, "median"))
        told.append(f"{name} {estimate:.3f} times [{low:.3f}, {high:.3f}]")
    return picture(f"Speed of {experiment}: {'; '.join(told)}", WIDTH, bottom + 24, marks)


def _ticks(scale: Scale, bottom: float) -> list[Html]:
    marks = []
    for value in scale.ticks(8):
        marks.append(line(scale(value), bottom, scale(value), bottom + 4, "axis"))
        marks.append(label(scale(value), bottom + 17, f"{value:g}×", "middle", "tick"))
    return marks
