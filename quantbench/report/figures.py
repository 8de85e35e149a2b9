"""Figures as files: the same content gives the same bytes, and none is left half-written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.extras import require
from quantbench.files import replacing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008), told apart with any colour vision; its yellow, hard to see on white, gave way to a purple.
COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#7A5195")
ORANGE, SKY, VERMILION, BLUE = COLORS[1], COLORS[2], COLORS[4], COLORS[6]
DPI = 130


@contextmanager
def drawn(
    paths: Sequence[Path], size: tuple[float, float], rows: int = 1, columns: int = 1, sharex: bool = False
) -> Iterator[tuple[Figure, list[list[Axes]]]]:
    """A figure and its panels, row by row, written into each of the files once it is drawn.

    Args:
        paths: files to write, by suffix `.png` or `.svg`.
        size: width and height, inches.
        rows: of panels.
        columns: of panels.
        sharex: one scale for all panels, so that they can be compared.

    Raises:
        ExtraMissingError: without matplotlib.
    """
    require("plots", "matplotlib")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # A fixed salt and no date: the same records give the same SVG.
    with plt.rc_context({"svg.hashsalt": "quantbench", "font.size": 9, "axes.titlesize": 10}):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=sharex, layout="constrained")
        try:
            yield figure, [list(row) for row in axes]
            for path in paths:
                metadata = {"Date": None} if path.suffix == ".svg" else {}
                with replacing(path) as temporary:
                    figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=DPI, metadata=metadata)
        finally:
            plt.close(figure)


def labelled(axes: Iterable[Axes]) -> dict[str, Artist]:
    """Label → what is drawn with it, over all panels, for one legend."""
    return {label: each for axis in axes for each, label in zip(*axis.get_legend_handles_labels(), strict=True)}


def legend_below(figure: Figure, entries: dict[str, Artist], columns: int) -> None:
    """One legend for all panels, below them, where it covers nothing."""
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)
