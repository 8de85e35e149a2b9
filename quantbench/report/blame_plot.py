"""Signal to quantization noise along a network, as it runs and of each layer by itself, from the record alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantbench.records.blame import BlameRecord
from quantbench.report.figures import BLUE, ORANGE, drawn, labelled, legend_below

# Inches.
WIDTH, WIDTH_OF_LAYER, HEIGHT = 4.0, 0.28, 3.8
# Of what is exact; other values are far below it.
HIGHEST = 80.0


def blame_plot(record: BlameRecord, paths: Sequence[Path]) -> None:
    """Draws the trend of errors with the responsible layers marked, into each of the files.

    Args:
        record: of one experiment.
        paths: files to write, by suffix `.png` or `.svg`.
    """
    layers = [each for each in record.layers if each.quantized]
    with drawn(paths, (WIDTH + WIDTH_OF_LAYER * len(layers), HEIGHT)) as (figure, [[axis]]):
        places = range(len(layers))
        axis.plot(places, [min(each.propagated_db, HIGHEST) for each in layers], "o-", color=BLUE, label="as it runs")
        axis.plot(places, [min(each.local_db, HIGHEST) for each in layers], "s--", color=ORANGE, label="by itself")
        for at, each in enumerate(layers):
            if each.name in record.responsible:
                axis.axvspan(at - 0.4, at + 0.4, color="0.85", zorder=0)
        axis.set(
            title=f"{record.experiment}, {record.backend}",
            ylabel="signal to quantization noise, dB; more is better",
            xticks=places,
        )
        axis.set_xticklabels([each.name for each in layers], rotation=60, ha="right")
        axis.grid(axis="y", alpha=0.3)
        legend_below(figure, labelled([axis]), 2)
