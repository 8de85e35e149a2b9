"""Learning curves of a training from its card, checked, and a sentence on over-fitting."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from quantbench.errors import ConfigError
from quantbench.records.base import read_json
from quantbench.records.card import BaselineCard
from quantbench.stats.intervals import Interval
from quantbench.stats.proportions import wilson_interval

LEVEL = 0.95


@dataclass(frozen=True)
class Curves:
    """One training, epoch by epoch.

    Attributes:
        name: of the weights.
        epochs: that were planned; fewer may have been trained.
        best_epoch: whose weights were kept, counted from 1; None for the last one's.
        n_train: samples.
        n_validation: samples; 0 where none were held out.
        loss: of training samples as they were learned from, nats.
        accuracy: the same, 0..1.
        validation_loss: in eval mode after each epoch; empty where nothing was held out.
        validation_accuracy: the same, 0..1.
    """

    name: str
    epochs: int
    best_epoch: int | None
    n_train: int
    n_validation: int
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]

    def gap_pp(self, epoch: int) -> float:
        """Training minus validation accuracy at an epoch counted from 1, percentage points."""
        return 100 * (self.accuracy[epoch - 1] - self.validation_accuracy[epoch - 1])

    def validation_interval(self, epoch: int) -> Interval:
        """Wilson interval of the validation accuracy at an epoch counted from 1, 0..1."""
        right = round(self.validation_accuracy[epoch - 1] * self.n_validation)
        return wilson_interval(right, self.n_validation, LEVEL)


class Trained(Protocol):
    """A training that was written down: a card, or a row of an ablation."""

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """One entry per epoch."""

    @property
    def best_epoch(self) -> int | None:
        """Counted from 1."""

    @property
    def training(self) -> Mapping[str, Any]:
        """Every setting."""

    @property
    def n_train(self) -> int:
        """Samples."""

    @property
    def n_validation(self) -> int:
        """Samples."""


def read_curves(path: Path, name: str, train: str) -> Curves:
    """The curves in the card at `path`.

    Args:
        path: a card, as `quantbench train` writes it.
        name: of the weights.
        train: the command that makes it, for messages.

    Raises:
        ConfigError: if there is no card, or it has no history, or one that no training could have had.
    """
    card = read_json(BaselineCard, path, ConfigError, f"restore it from version control, or make it: {train}")
    if not card.history:
        raise ConfigError(f"{path}: has no history, as weights have that were adopted; train some: {train}")
    return curves_of(name, card, str(path))


def curves_of(name: str, trained: Trained, where: str) -> Curves:
    """The columns of a history.

    Args:
        name: of the weights, or the row.
        trained: whose history.
        where: it was read, for messages.

    Raises:
        ConfigError: naming the epoch whose entry lacks a figure, or has one that nothing could have measured.
    """
    history, best_epoch = trained.history, trained.best_epoch
    names = ["loss", "accuracy", *(["validation_loss", "validation_accuracy"] if trained.n_validation else [])]
    for epoch, entry in enumerate(history, 1):
        for key in names:
            value = entry.get(key, math.nan)
            if not 0 <= value <= (1 if key.endswith("accuracy") else sys.float_info.max):
                raise ConfigError(f"{where}: history: epoch {epoch} has no {key}, or an impossible one; train again")
    if best_epoch is not None and not 1 <= best_epoch <= len(history):
        raise ConfigError(f"{where}: best_epoch: {best_epoch} is not one of the {len(history)} epochs; train again")
    columns = {key: tuple(entry[key] for entry in history) for key in names}
    planned = trained.training.get("epochs")
    return Curves(
        name=name,
        epochs=planned if isinstance(planned, int) else len(history),
        best_epoch=best_epoch,
        n_train=trained.n_train,
        n_validation=trained.n_validation,
        loss=columns["loss"],
        accuracy=columns["accuracy"],
        validation_loss=columns.get("validation_loss", ()),
        validation_accuracy=columns.get("validation_accuracy", ()),
    )


def overfitting(curves: Curves) -> str:
    """Gap between training and validation in two or three sentences, from the history alone."""
    last = len(curves.loss)
    if not curves.n_validation:
        return (
            f"{curves.name}: no validation split was held out (data.search_pool is 0), so this history cannot tell "
            f"over-fitting; the weights are those of the last epoch ({last}), "
            f"with {100 * curves.accuracy[-1]:.2f} % of the training samples right (n = {curves.n_train:,})."
        )
    best = curves.best_epoch or last
    at = f"At the best epoch ({best} of {last})" if best < last else f"At the last epoch ({last}), which is the best,"
    text = f"{curves.name}: {at} {_accuracies(curves, best)}"
    if best < last:
        text += f"; at the last one {_accuracies(curves, last)}"
    early = f" Training stopped early, after {last} of {curves.epochs} epochs." if last < curves.epochs else ""
    return f"{text}.{early} {_losses(curves)}"


def _accuracies(curves: Curves, epoch: int) -> str:
    interval = curves.validation_interval(epoch)
    return (
        f"{100 * curves.accuracy[epoch - 1]:.2f} % of the training samples are right and "
        f"{100 * curves.validation_accuracy[epoch - 1]:.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}] "
        f"of the {curves.n_validation:,} validation samples, a gap of {curves.gap_pp(epoch):+.2f} pp"
    )


def _losses(curves: Curves) -> str:
    """From which epoch on the validation loss rose while the training loss fell, if it did."""
    lowest = min(curves.validation_loss)
    turn = curves.validation_loss.index(lowest) + 1
    if turn == len(curves.loss):
        return "The validation loss was lowest at the last epoch: no over-fitting shows in it."
    last, before, after = curves.validation_loss[-1], curves.loss[turn - 1], curves.loss[-1]
    rose = f"The validation loss was lowest at epoch {turn} ({lowest:.4f}) and is {last:.4f} at the last"
    if after < before:
        return f"{rose}: from epoch {turn + 1} on it rose while the training loss fell ({before:.4f} to {after:.4f})."
    return f"{rose}; the training loss did not fall meanwhile ({before:.4f} to {after:.4f})."
