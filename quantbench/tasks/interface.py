"""Interface of tasks: scores of outputs against targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.foreign import Guarded

Targets = NDArray[Any]


class Task(Guarded, ABC):
    """Turns a model's outputs into one score per sample.

    Attributes:
        unit: of a score and of the mean of scores, such as `accuracy`.
        higher_is_better: a larger score is a better one.
        is_binary: each score is exactly 0 or 1, so that scores can be kept as bits and compared as proportions.
        has_answers: each output names one class, so that the answers of two models can be counted class by class.
        outputs_name: of the outputs, for messages.

    Example:
        >>> class AbsoluteError(Task):
        ...     unit, higher_is_better, is_binary = "mean absolute error", False, False
        ...     def scores(self, outputs, targets):
        ...         return np.abs(outputs["output"][:, 0] - targets)
        >>> AbsoluteError().scores({"output": np.array([[1.5], [2.0]])}, np.array([1.0, 2.0])).tolist()
        [0.5, 0.0]
    """

    guarded = frozenset({"scores", "answers", "check", "loss", "chosen"})
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool]
    is_binary: ClassVar[bool]
    has_answers: ClassVar[bool] = False
    outputs_name: ClassVar[str] = "outputs"

    def _called(self, method: str) -> str:
        return f"task {type(self).__name__}: {method}"

    @abstractmethod
    def scores(self, outputs: Outputs, targets: Targets) -> NDArray[np.float64]:
        """Scores samples.

        Args:
            outputs: of all of them, each `[n, …]`, finite, accepted by `check`.
            targets: `[n, …]`.

        Returns:
            `[n]` float64.
        """

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
