"""The card of trained weights: how they came to be, beside them as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from quantbench.recipes.translation import RecipeName
from quantbench.records.base import Environment, Record, holds, is_share
from quantbench.records.intervals import unlike_wilson

LEVEL = 0.95
# Accuracies of older cards have six digits.
ROUNDING = 1e-6


class CardScore(Record):
    """Figure of a task whose scores are not 0 and 1, on the test split.

    Attributes:
        task: its name.
        unit: of the figure.
        value: the figure.
        interval: of it, at 95 %; None where the samples tell no limits.
    """

    task: str
    unit: str
    value: float
    interval: tuple[float, float] | None

    def impossible(self) -> str | None:
        """An interval without its figure."""
        if isfinite(self.value) and (self.interval is None or holds(self.interval, self.value, ROUNDING)):
            return None
        return f"a {self.unit} of {self.value} with an interval {self.interval}"


class BaselineCard(Record):
    """Origin of committed weights; lies beside them as JSON.

    Attributes:
        weights_sha256: of the safetensors file; loading refuses any other.
        parent_sha256: of the weights that training started from, for quantization-aware training.
        data_sha256: of each split: samples, order and labels.
        n_per_class: training and test samples of each class.
        accuracy: on the test split, 0..1; None of a task whose scores are not 0 and 1.
        accuracy_interval: Wilson interval at 95 %, 0..1; None likewise.
        score: figure of such a task; None where there is an accuracy.
        loss: mean on the test split; None for a task without one.
        n_validation: samples of the search split, by which the best epoch was chosen; 0 where the last one was taken.
        best_epoch: the epoch that the weights are of, counted from 1; None where there was no validation.
        amp: what ran in lower precision, in words; None where nothing did.
        history: one entry per epoch: `loss` and `accuracy` on training samples as they were learned from; `lr` of the
            last step; `seconds`; and, where there was validation, `validation_loss` and `validation_accuracy` in eval
            mode. Losses are in nats, accuracies 0..1. Older cards have the first two only.
        duration_s: of all epochs.
    """

    workload: str
    recipe: RecipeName
    model: dict[str, Any]
    data: dict[str, Any]
    data_note: str
    data_sha256: dict[str, str]
    n_train: int
    n_test: int
    n_validation: int = 0
    n_per_class: dict[str, tuple[int, int]] = Field(default_factory=dict)
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    score: Annotated[CardScore | None, Field(exclude_if=lambda score: score is None)] = None
    loss: float | None
    training: dict[str, Any]
    history: list[dict[str, float]]
    best_epoch: int | None = None
    amp: str | None = None
    seed: int
    duration_s: float
    command: str
    environment: Environment
    weights_sha256: str
    parent_sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accuracy_or_score(cls, given: Any) -> Any:
        """Refuses a card without any figure, as one that lacks a field."""
        if isinstance(given, Mapping) and given.get("score") is None:
            missing = [name for name in ("accuracy", "accuracy_interval") if name not in given]
            lines: list[InitErrorDetails] = [{"type": "missing", "loc": (name,), "input": given} for name in missing]
            if lines:
                raise ValidationError.from_exception_data(cls.__name__, lines)
        return given

    def impossible(self) -> str | None:
        """An accuracy outside of its interval or of no whole number of samples, or an epoch that there was not."""
        if self.accuracy is None or self.accuracy_interval is None:
            if self.accuracy is None and self.accuracy_interval is None and self.score is not None:
                return self.score.impossible() or self._impossible_counts()
            return "no accuracy with accuracy_interval, and no score of another task"
        low, high = self.accuracy_interval
        if not (is_share(low, self.accuracy, high) and holds(self.accuracy_interval, self.accuracy)):
            return f"accuracy {self.accuracy} with accuracy_interval [{low}, {high}]"
        right = self.accuracy * self.n_test
        if self.n_test <= 0 or abs(right - round(right)) > ROUNDING * self.n_test:
            return f"accuracy {self.accuracy}, which is no whole number of n_test {self.n_test} samples"
        words = unlike_wilson(
            "accuracy_interval", self.accuracy_interval, self.accuracy, self.n_test, LEVEL, 2 * ROUNDING
        )
        return words or self._impossible_counts()

    def _impossible_counts(self) -> str | None:
        if min(self.n_train, self.n_validation, *(n for pair in self.n_per_class.values() for n in pair)) < 0:
            return "n_train, n_validation or n_per_class below zero"
        if self.n_per_class and sum(test for _, test in self.n_per_class.values()) != self.n_test:
            return f"n_per_class of other samples than n_test {self.n_test}"
        if self.best_epoch is not None and not 0 < self.best_epoch <= len(self.history):
            return f"best_epoch {self.best_epoch} of {len(self.history)} epochs"
        return None

    @property
    def figure(self) -> float:
        """The accuracy, 0..1, or the figure of another task."""
        if self.score is not None:
            return self.score.value
        return float("nan") if self.accuracy is None else self.accuracy

    @property
    def shown(self) -> str:
        """The same in words."""
        if self.score is not None:
            return f"{self.score.unit} {self.score.value:.4g}"
        return f"accuracy {100 * self.figure:.2f} %"
