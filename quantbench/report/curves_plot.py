"""The curves of a training as a picture: loss and accuracy, training and validation, the best epoch marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.report.curves import Curves
from quantbench.report.figures import BLUE, COLORS, VERMILION, drawn, labelled, legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches.
SIZE = (10.5, 4.2)
TRAIN, VALIDATION = BLUE, VERMILION
LABELS = {TRAIN: "training samples, as they were learned from", VALIDATION: "validation split, after the epoch"}
BAND = "95 % interval of the validation accuracy"
# Up to so many epochs each is a point too.
MOST_POINTS = 60


def curves_plot(curves: Curves, paths: Sequence[Path]) -> None:
    """Draws loss and accuracy of one training into each of the files.

    Args:
        curves: of the training.
        paths: files to write, by suffix `.png` or `.svg`.
    """

    def draw(loss: Axes, accuracy: Axes) -> None:
        n = f"n = {curves.n_train:,}" + (f" and {curves.n_validation:,}" if curves.n_validation else "")
        loss.set(title=f"{curves.name}, {n}: loss", ylabel="cross entropy, nats")
        accuracy.set(title=f"{curves.name}, {n}: accuracy", ylabel="accuracy, %")
        _line(loss, curves.loss, TRAIN, LABELS[TRAIN])
        _line(accuracy, [100 * each for each in curves.accuracy], TRAIN, LABELS[TRAIN])
        if curves.n_validation:
            _line(loss, curves.validation_loss, VALIDATION, LABELS[VALIDATION])
            percent = [100 * each for each in curves.validation_accuracy]
            _line(accuracy, percent, VALIDATION, LABELS[VALIDATION])
            limits = [curves.validation_interval(epoch) for epoch in range(1, len(percent) + 1)]
            accuracy.fill_between(
                range(1, len(percent) + 1), [100 * each.low for each in limits], [100 * each.high for each in limits],
                color=VALIDATION, alpha=0.15, linewidth=0, label=BAND,
            )  # fmt: skip
        if curves.best_epoch:
            label = f"best epoch by validation: {curves.best_epoch}"
            for axis in (loss, accuracy):
                axis.axvline(curves.best_epoch, color="0.3", linestyle=":", linewidth=1.2, label=label)

    _draw(draw, paths, columns=2)


def rows_plot(rows: Sequence[Curves], paths: Sequence[Path]) -> None:
    """Draws the rows of an ablation over each other: loss of training, and accuracy of validation where there was one.

    Args:
        rows: one for each training.
        paths: files to write, by suffix `.png` or `.svg`.
    """

    def draw(loss: Axes, accuracy: Axes) -> None:
        held_out = {row.n_validation for row in rows}
        learned = "training samples, as they were learned from"
        what = f"validation split, n = {max(held_out):,}; the best epoch marked" if all(held_out) else learned
        loss.set(title=f"loss of the {learned}", ylabel="cross entropy, nats")
        accuracy.set(title=f"accuracy of the {what}", ylabel="accuracy, %")
        for i, row in enumerate(rows):
            color = COLORS[i % len(COLORS)]
            percent = [100 * each for each in (row.validation_accuracy if all(held_out) else row.accuracy)]
            _line(loss, row.loss, color, row.name)
            _line(accuracy, percent, color, row.name)
            if row.best_epoch:
                accuracy.plot(row.best_epoch, percent[row.best_epoch - 1], "*", color=color, markersize=11, zorder=3)

    _draw(draw, paths, columns=3)


def _line(axis: Axes, values: Sequence[float], color: str, label: str) -> None:
    marker = "." if len(values) <= MOST_POINTS else None
    axis.plot(range(1, len(values) + 1), values, color=color, marker=marker, linewidth=1.4, label=label)


def _draw(draw: Callable[[Axes, Axes], None], paths: Sequence[Path], columns: int) -> None:
    from matplotlib.ticker import MaxNLocator

    with drawn(paths, SIZE, columns=2) as (figure, [axes]):
        draw(*axes)
        for axis in axes:
            axis.set_xlabel("epoch")
            axis.set_xlim(0.5, axis.dataLim.x1 + 0.5)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axis.grid(alpha=0.25)
        legend_below(figure, labelled(axes), columns)
