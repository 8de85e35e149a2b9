"""Runtimes beside each other, on every embedded workload: accuracy, size and speed of fp32 and of static int8.

    python benchmarks/runtimes.py speed --into docs/runtimes.md
    python benchmarks/runtimes.py overhead --into docs/runtimes.md [FILE.tflite …]

`speed` (about 10 minutes) keeps each workload under `out/runtimes/`, its answers before it is timed, and goes on from
there; `--fresh` measures all again, `--only WORKLOAD` a part, `--part answers` and `--part times` one of the two.
`overhead` (a minute) compares a predictor with the bare call of its runtime. With `--into` the table takes the place
of the marked section of a document.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from predictor_cost import ROUNDS, THREADS, overhead
from runtime_speeds import CONTROL, FP32, LEVEL, Measured, Row, answered, surroundings, time_forms

from quantbench.config.reading import load_experiments
from quantbench.config.schema import Workload
from quantbench.files import write_text
from quantbench.report.documents import with_sections
from quantbench.stats.intervals import Interval
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval

KEPT, CONFIGS = Path("out/runtimes"), Path("configs")
# Percentage points.
MOST_LOST_PP = 1.0
# Libraries beside these compute nothing of what is shown.
SHOWN = ("torch", "onnxruntime", "openvino", "nncf", "ai-edge-litert", "torchao", "executorch", "python")


def main() -> None:
    """Measures, prints a table, and writes it into a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("speed", "overhead"))
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.tflite")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--only", metavar="WORKLOAD")
    parser.add_argument("--part", choices=("answers", "times"))
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    if given.table == "speed":
        measured = [each for each in map_workloads(given.only, given.part, given.fresh) if each.times_s]
        text = speed_tables(measured)
    else:
        text = f"{surroundings_line()}; {THREADS} thread, {ROUNDS} interleaved rounds\n\n{overhead(given.files)}"
    print(text)
    if given.into and text:
        section = {"speed": "runtimes", "overhead": "overhead"}[given.table]
        write_text(given.into, with_sections(given.into, [section], lambda *_: text, "table"))


def map_workloads(only: str | None, part: str | None, is_fresh: bool) -> list[Measured]:
    """Measures what is not kept yet of every embedded workload; gives all that is."""
    found = []
    for workload in embedded():
        path = KEPT / f"{workload.name}.json"
        measured = Measured.read(path)
        if only in (None, workload.name):
            if (measured is None or is_fresh) and part != "times":
                measured = answered(workload)
                measured.save(path)
            if measured and part != "answers" and (is_fresh or not measured.times_s):
                time_forms(measured, workload)
                measured.save(path)
        if measured:
            found.append(measured)
    return found


def embedded() -> list[Workload]:
    """The workloads that run anywhere and whose answers are right or wrong, each once."""
    workloads = {each.workload.name: each.workload for each in load_experiments(CONFIGS)}
    return [each for each in workloads.values() if not each.config.optional and each.config.task.name == "top1"]


def surroundings_line() -> str:
    """Processor and versions."""
    known = surroundings()
    versions = ", ".join(f"{name} {known[name]}" for name in SHOWN if name in known)
    return f"{known['processor']}, {versions}"


def speed_tables(measured: list[Measured]) -> str:
    """A table of all workloads, and what each of them was measured with."""
    if not measured:
        return ""
    lines = [
        f"{surroundings_line()}; int8 is `static_int8`, calibrated with 256 samples; times are medians of one forward "
        f"in interleaved rounds of random order, ratios medians within rounds with {100 * LEVEL:.0f} % intervals; "
        "drops are from the reference, on the same samples, with 95 % intervals (Tango).",
        "",
        *best_table(measured),
        "",
    ]
    for each in measured:
        control, interval = each.ratio(each.reference.key, CONTROL)
        lines += [
            f"**{each.workload}**: batch {each.batch}, {each.threads} thread, {each.rounds} rounds; n = {each.n:,} "
            f"samples; the reference against itself {_ratio(control, interval)}",
            "",
            "| runtime | | top-1, % | drop, pp | files, kB | ms | × reference | × own fp32 | × fastest fp32 |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *(_line(each, row) for row in each.rows),
            *(f"\nNot run: {line}" for line in each.not_run),
            "",
        ]
    return "\n".join(lines).rstrip("\n")


def best_table(measured: list[Measured]) -> list[str]:
    """A row for each workload: its best int8 over all runtimes, and those that are slower than their own fp32."""
    lines = [
        f"**The best int8 of each workload**: the fastest that does not surely lose more than {MOST_LOST_PP:g} pp.",
        "",
        "| workload | runtime | top-1, % [95 %] | drop, pp [95 %] | ms | × reference | × own fp32 | × fastest fp32 | "
        "slower than own fp32 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in measured:
        if (row := best_int8(each)) is None:
            lines.append(f"| {each.workload} | – | – | – | – | – | – | – | – |")
            continue
        own, fastest = wilson_interval(row.correct, each.n, 0.95), each.fastest().key
        slower = [other.runtime for other in each.rows if _is_slower(each, other)]
        ratios = [_ratio(*each.ratio(key, row.key)) for key in (each.reference.key, row.own, fastest)]
        marked = f"{ratios[1]}, slower" if _is_slower(each, row) else ratios[1]
        lines.append(
            f"| {each.workload} | {row.runtime} | {100 * row.correct / each.n:.2f} [{100 * own.low:.2f}, "
            f"{100 * own.high:.2f}] | {_drop(each, row)} | {each.median_ms(row.key):.2f} | {ratios[0]} | {marked} | "
            f"{ratios[2]} | {', '.join(slower) or 'none'} |"
        )
    return lines


def best_int8(measured: Measured) -> Row | None:
    """The fastest int8 of those that do not surely lose more than `MOST_LOST_PP`; None where no runtime has int8."""
    rows = [row for row in measured.rows if row.precision != FP32]
    sound = [row for row in rows if 100 * _interval(measured, row).low <= MOST_LOST_PP]
    return min(sound or rows, key=lambda row: measured.median_ms(row.key), default=None)


def _interval(measured: Measured, row: Row) -> Interval:
    """Of the drop from the reference, on the same samples."""
    return tango_interval(PairedOutcomes(measured.n, row.lost, row.gained))


def _drop(measured: Measured, row: Row) -> str:
    interval, drop = _interval(measured, row), (row.lost - row.gained) / measured.n
    return f"{100 * drop:+.2f} [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def _is_slower(measured: Measured, row: Row) -> bool:
    """True for int8 that is surely slower than its runtime's fp32."""
    return row.precision != FP32 and measured.ratio(row.own, row.key)[1].high < 1


def _line(measured: Measured, row: Row) -> str:
    """A row; bold is the fastest of its precision, and int8 that is surely slower than its own fp32 is told."""
    n, reference, fastest = measured.n, measured.reference.key, measured.fastest().key
    is_reference, is_fastest = row.key == reference, row == measured.fastest(row.precision)
    drop = "–"
    if not is_reference and (row.precision != FP32 or row.lost + row.gained):
        drop = _drop(measured, row)
    ratios = {
        key: "–" if key == row.key else _ratio(*measured.ratio(key, row.key)) for key in (reference, row.own, fastest)
    }
    own = ratios[row.own]
    if _is_slower(measured, row):
        own += ", slower"
    form = row.precision if row.precision != FP32 else f"fp32, {row.form}"
    form = f"**{form}**" if is_fastest else form
    shown = row.own == row.key or row.precision != FP32
    return (
        f"| {row.runtime} | {form} | {100 * row.correct / n:.2f} | {drop} | {row.size_bytes / 1000:,.0f} | "
        f"{measured.median_ms(row.key):.2f} | {ratios[reference]} | {own if shown else '–'} | {ratios[fastest]} |"
    )


def _ratio(ratio: float, interval: Interval) -> str:
    return f"{ratio:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


if __name__ == "__main__":
    main()
