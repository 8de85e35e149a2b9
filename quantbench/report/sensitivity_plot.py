"""The sensitivity of layers as a bar chart: the drop of each, with its interval, calibrated beside trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.errors import ExtraMissingError
from quantbench.records.run import Accuracy, RunRecord
from quantbench.report.figures import BLUE, ORANGE, drawn, labelled, legend_below
from quantbench.report.sensitivity import Part, sensitivities, sensitivity_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches.
PANEL_WIDTH, BAR_HEIGHT, MARGIN_HEIGHT = 5.6, 0.42, 1.3
COLORS = {"PTQ": BLUE, "QAT": ORANGE}
LABELS = {"PTQ": "PTQ: calibrated", "QAT": "QAT: fine-tuned"}
THICKNESS = 0.38


def sensitivity_summary(records: Sequence[RunRecord], folder: Path) -> str:
    """The tables that end a run, with the place of the bar chart, which is drawn; empty where no layer was measured.

    Args:
        records: of the run.
        folder: for `sensitivity.png` and `sensitivity.svg`.
    """
    parts = sensitivities(records)
    if not parts:
        return ""
    charts = [folder / f"sensitivity.{suffix}" for suffix in ("png", "svg")]
    try:
        sensitivity_plot(parts, charts)
        message = f"bar chart: {', '.join(map(str, charts))}"
    except OSError as error:
        # Of a file that could not be moved into its place the second name is the place.
        place = error.filename2 or error.filename
        message = f"no bar chart: {place}: {error.strerror}; name another folder with --plots"
    except ExtraMissingError as error:
        # Only a picture is lost; the verdicts of the run stand.
        message = f"no bar chart: {error}"
    return f"\n{sensitivity_text(records)}\n{message}\n"


def sensitivity_plot(parts: Mapping[str, Sequence[Part]], paths: Sequence[Path]) -> None:
    """Draws one panel per workload, the most sensitive layer on top, into each of the files.

    Args:
        parts: of each workload, as `sensitivities` gives them.
        paths: files to write, by suffix `.png` or `.svg`.
    """
    size = PANEL_WIDTH * len(parts), MARGIN_HEIGHT + BAR_HEIGHT * 2 * max(len(own) for own in parts.values())
    # One scale, so that bars of two workloads can be compared.
    with drawn(paths, size, columns=len(parts), sharex=True) as (figure, [axes]):
        for axis, (workload, own) in zip(axes, parts.items(), strict=True):
            _panel(axis, workload, [part for part in own if part.ptq_accuracy or part.qat_accuracy])
        entries = labelled(axes)
        legend_below(figure, {label: entries[label] for label in LABELS.values() if label in entries}, 2)


def _panel(axis: Axes, workload: str, parts: Sequence[Part]) -> None:
    """The bars of one workload, PTQ above QAT; a part that has one of them has it in the middle."""
    n = next(a.n for part in parts if (a := part.ptq_accuracy or part.qat_accuracy))
    axis.set(
        title=f"{workload}, n = {n:,}",
        xlabel="accuracy drop, pp (95 % interval); less is better",
        yticks=range(len(parts)),
        yticklabels=[part.name.replace(" (", "\n(") for part in parts],
        ylim=(len(parts) - 0.5, -0.5),
    )
    axis.set_axisbelow(True)
    axis.grid(axis="x", alpha=0.3)
    axis.axvline(0, color="0.3", linewidth=0.8)
    singles = sum(1 for part in parts if part.layers and len(part.layers) == 1)
    if singles < len(parts):
        axis.axhline(singles - 0.5, color="0.6", linewidth=0.8, linestyle=":")
    for kind, side in (("PTQ", -1), ("QAT", 1)):
        bars = []
        for i, part in enumerate(parts):
            own, other = (part.ptq_accuracy, part.qat_accuracy)[:: 1 if kind == "PTQ" else -1]
            if own:
                bars.append((i + (side * THICKNESS / 2 if other else 0.0), own))
        if bars:
            _bars(axis, bars, kind)


def _bars(axis: Axes, bars: Sequence[tuple[float, Accuracy]], kind: str) -> None:
    drops = [a.drop_pp for _, a in bars]
    errors = [
        [a.drop_pp - a.drop_interval_pp[0] for _, a in bars],
        [a.drop_interval_pp[1] - a.drop_pp for _, a in bars],
    ]
    axis.barh(
        [y for y, _ in bars], drops, THICKNESS, xerr=errors, color=COLORS[kind], label=LABELS[kind],
        error_kw={"elinewidth": 1, "capsize": 2.5, "ecolor": "0.25"},
    )  # fmt: skip
