"""Interface of tasks: scores of outputs against targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.foreign import Guarded

Targets = NDArray[Any]
Floats = NDArray[np.float64]
# Smallest and largest value; None where there is no limit.
Range = tuple[float | None, float | None]


class Task(Guarded, ABC):
    """Turns a model's outputs into one score per sample, whose mean is the figure of all of them.

    A figure that is no mean of scores is an `Aggregate`.

    Attributes:
        unit: of a score and of the figure, such as `accuracy`.
        higher_is_better: a larger score is a better one.
        range: smallest and largest score that there can be; None where there is no limit.
        is_binary: each score is exactly 0 or 1, so that scores can be kept as bits and compared as proportions.
        is_mean: the figure is the mean of scores.
        has_answers: each output names one class, so that the answers of two models can be counted class by class.
        outputs_name: of the outputs, for messages.
        paths: import paths of the functions that it calls, by the parameter that names them.

    Example:
        >>> class AbsoluteError(Task):
        ...     unit, higher_is_better, is_binary = "mean absolute error", False, False
        ...     def scores(self, outputs, targets):
        ...         return np.abs(outputs["output"][:, 0] - targets)
        >>> AbsoluteError().scores({"output": np.array([[1.5], [2.0]])}, np.array([1.0, 2.0])).tolist()
        [0.5, 0.0]
    """

    guarded = frozenset({
        "scores", "statistics", "figure", "figures", "chance", "answers", "check", "loss", "chosen",
    })  # fmt: skip
    unit: str
    higher_is_better: bool
    is_binary: bool
    range: Range = (None, None)
    is_mean: bool = True
    has_answers: bool = False
    outputs_name: str = "outputs"
    paths: Mapping[str, str] = MappingProxyType({})

    @property
    def title(self) -> str:
        """The task's name in messages."""
        return type(self).__name__

    def _called(self, method: str) -> str:
        return f"task {self.title}: {method}"

    @abstractmethod
    def scores(self, outputs: Outputs, targets: Targets) -> Floats:
        """Scores samples, each by itself.

        Args:
            outputs: of some of them, each `[n, …]`, finite, accepted by `check`.
            targets: `[n, …]`.

        Returns:
            `[n]` float64.
        """

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """Everything about each sample that `figure` needs, `[n, k]`; of a mean its score, `[n, 1]`."""
        return np.asarray(self.scores(outputs, targets))[:, None]

    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """The figure of samples.

        Args:
            statistics: `[n, k]`, as `statistics` gives them batch by batch.
            weights: `[n]`, how often each sample counts; None: once.

        Returns:
            NaN where samples like these have none.
        """
        scores = statistics[:, 0]
        return float(scores.mean() if weights is None else weights @ scores / weights.sum())

    def figures(self, statistics: Floats, weights: Floats) -> Floats:
        """The figure for each of many weightings.

        Args:
            statistics: `[n, k]`.
            weights: `[r, n]`.

        Returns:
            `[r]`.
        """
        if not self.is_mean:
            return np.array([self.figure(statistics, each) for each in weights])
        means: Floats = weights @ statistics[:, 0] / weights.sum(axis=1)
        return means

    def chance(self, targets: Targets) -> float | None:  # noqa: ARG002 — for tasks that know none
        """The best figure that takes no model: the same answer for every sample; None where that is not known.

        Args:
            targets: of all samples.
        """
        return None

    def chosen(self, outputs: Outputs, n: int) -> Outputs:  # noqa: ARG002 — for tasks that choose
        """The outputs of a batch that are scored, of a model that gives several; all of them by default.

        Args:
            outputs: of the batch.
            n: samples of the batch.
        """
        return outputs

    def answers(self, outputs: Outputs) -> NDArray[np.int64] | None:  # noqa: ARG002 — for tasks that have none
        """The class that each sample is given, `[n]`; None for a task without `has_answers`."""
        return None

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """Refuses the outputs of one batch that cannot be scored; called before `scores`.

        Args:
            outputs: of the batch.
            n: samples of the batch.
            targets: of the whole split.

        Raises:
            EvaluationError: saying what the outputs are instead.
        """

    def loss(self, outputs: Outputs, targets: Targets) -> float | None:  # noqa: ARG002 — for tasks that have none
        """Mean loss of samples, as of `scores`; None where the task has none."""
        return None


class Aggregate(Task):
    """A task whose figure is no mean of scores: a function of a few numbers kept of each sample.

    Its interval resamples these numbers, so that outputs are never kept.

    Example:
        >>> class RootMeanSquare(Aggregate):
        ...     unit, higher_is_better = "root mean square error", False
        ...     def statistics(self, outputs, targets):
        ...         return (outputs["output"] - targets[:, None]) ** 2
        ...     def figure(self, statistics, weights=None):
        ...         return float(np.average(statistics[:, 0], weights=weights) ** 0.5)
        >>> task, outputs = RootMeanSquare(), {"output": np.array([[1.0], [5.0]])}
        >>> task.figure(task.statistics(outputs, np.array([1.0, 2.0]))).__round__(3)
        2.121
    """

    is_mean = False
    is_binary = False

    def scores(self, outputs: Outputs, targets: Targets) -> Floats:  # noqa: ARG002 — there are none
        """There are none.

        Raises:
            EvaluationError: always.
        """
        raise EvaluationError(f"{self.unit} is no mean of scores; ask for its statistics")

    @abstractmethod
    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, k]` float64, with the same `k` for every batch."""

    @abstractmethod
    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """See `Task.figure`."""


class Summed(Aggregate):
    """An aggregate that depends on the sums of its statistics alone, so that many resamples are one product."""

    @abstractmethod
    def of_sums(self, sums: Floats) -> Floats:
        """Figures of sums of statistics, `[…, k]` → `[…]`; NaN where there is none."""

    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """See `Task.figure`."""
        sums = statistics.sum(axis=0) if weights is None else weights @ statistics
        return float(self.figure_of(sums))

    def figures(self, statistics: Floats, weights: Floats) -> Floats:
        """See `Task.figures`."""
        return np.asarray(self.figure_of(weights @ statistics))

    def figure_of(self, sums: Floats) -> Floats:
        """`of_sums`, where a division by nothing is no figure and no warning."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.of_sums(sums)
