"""Sensitivities as a bar chart, and the accuracy that bits, bytes and bit operations buy as fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.records.costs import Configuration, Measure, shown
from quantbench.records.search import BudgetRecord, LayerSensitivity, SearchRecord
from quantbench.report.figures import BLUE, SKY, VERMILION, drawn, labelled, legend_below
from quantbench.report.search import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches.
BARS_WIDTH, BAR_HEIGHT, MARGIN_HEIGHT = 6.4, 0.3, 1.5
FRONT_WIDTH, FRONT_HEIGHT = 4.2, 4.0
OURS, PREDICTED, FOUND = BLUE, SKY, VERMILION


@dataclass(frozen=True)
class Fronts:
    """Against one measure, the configurations of which none is as cheap and accurate, and better in one.

    Attributes:
        measured: among those that the search measured.
        predicted: among all, if drops add up.
    """

    measured: Sequence[Configuration]
    predicted: Sequence[Configuration]


def layers_plot(record: Record, paths: Sequence[Path]) -> None:
    """Draws the drop of each layer alone, the most sensitive on top, into each of the files.

    Args:
        record: whose sensitivities are drawn; layers without a figure are named with the reason.
        paths: files to write, by suffix `.png` or `.svg`.
    """
    with drawn(paths, layers_size(record)) as (_, [[axis]]):
        draw_layers(axis, record)


def layers_size(record: Record) -> tuple[float, float]:
    """Width and height of the chart of layers, inches."""
    return BARS_WIDTH, MARGIN_HEIGHT + BAR_HEIGHT * len(record.sensitivities)


def draw_layers(axis: Axes, record: Record) -> list[LayerSensitivity]:
    """Draws the bars of `layers_plot` and gives the layers, from top to bottom at 0, 1, …"""
    ordered = sorted(record.sensitivities, key=lambda each: (not each.failed, -each.drop_pp, each.index))
    axis.set(
        title=f"{record.experiment}: one layer at {record.low} bits, all others at {record.high}, n = {record.n:,}",
        xlabel="accuracy drop, pp (95 % interval); less is better",
        yticks=range(len(ordered)),
        yticklabels=[f"{each.layer} ({each.failed})" if each.failed else each.layer for each in ordered],
        ylim=(len(ordered) - 0.5, -0.5),
    )
    finite = [(i, each) for i, each in enumerate(ordered) if not each.failed]
    drops = [each.drop_pp for _, each in finite]
    below = [each.drop_pp - each.drop_interval_pp[0] for _, each in finite]
    above = [each.drop_interval_pp[1] - each.drop_pp for _, each in finite]
    axis.barh(
        [i for i, _ in finite], drops, height=0.6, color=OURS, xerr=[below, above],
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "0.3"}, label="ours",
    )  # fmt: skip
    axis.set_axisbelow(True)
    axis.grid(axis="x", alpha=0.3)
    axis.axvline(0, color="0.3", linewidth=0.8)
    return ordered


def fronts_plot(
    record: SearchRecord | BudgetRecord, fronts: Mapping[Measure, Fronts], drop_pp: float, paths: Sequence[Path]
) -> None:
    """Draws drop against each measure, one panel each, into each of the files.

    Args:
        record: whose configuration is marked.
        fronts: of each measure.
        drop_pp: of that configuration on the split that was searched, measured or predicted.
        paths: files to write, by suffix `.png` or `.svg`.
    """
    size = (FRONT_WIDTH * len(fronts), FRONT_HEIGHT)
    with drawn(paths, size, columns=len(fronts)) as (figure, [axes]):
        for axis, (measure, both) in zip(axes, fronts.items(), strict=True):
            _front(axis, record, measure, both.predicted, PREDICTED, ".", "predicted front: if drops add up")
            _front(axis, record, measure, both.measured, OURS, "o", "measured front")
            cost = shown(record.layers, record.bits, measure)
            axis.plot(cost, drop_pp, "*", color=FOUND, markersize=13, zorder=4, label="found")
            if isinstance(record, SearchRecord):
                axis.axhline(record.epsilon_pp, color="0.4", linestyle=":", linewidth=1, label="ε")
            elif measure == record.measure:
                axis.axvline(record.limit, color="0.4", linestyle=":", linewidth=1, label="budget")
            axis.set(xlabel=_label(measure), ylabel="accuracy drop on the search split, pp")
            axis.grid(alpha=0.25)
        figure.suptitle(f"{record.experiment}: {record.low} or {record.high} bits, n = {record.n:,}")
        entries = labelled(axes)
        legend_below(figure, entries, len(entries))


def _label(measure: Measure) -> str:
    return {
        Measure.BITS: "average bits of the layers",
        Measure.BYTES: "bytes of weights and of one sample's inputs",
        Measure.BIT_OPERATIONS: "bit operations for one sample",
    }[measure]


def _front(
    axis: Axes, record: SearchRecord | BudgetRecord, measure: Measure, front: Sequence[Configuration], color: str,
    marker: str, label: str,
) -> None:  # fmt: skip
    """One line of steps: what is lost at least with that much to spend."""
    costs = [shown(record.layers, each.bits, measure) for each in front]
    drops = [each.drop_pp for each in front]
    axis.plot(costs, drops, marker=marker, color=color, drawstyle="steps-post", linewidth=1, markersize=4, label=label)
