"""Task `top1`: a sample is right when its largest logit is its label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.interface import Targets, Task


class Top1(Task):
    """Classification: score 1 where the largest logit is the label, else 0; the loss is cross entropy in nats.

    Example:
        >>> logits = {"output": np.array([[2.0, 1.0], [0.5, 3.0]])}
        >>> Top1().scores(logits, np.array([0, 0])).tolist()
        [1.0, 0.0]
    """

    unit: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    is_binary: ClassVar[bool] = True
    has_answers: ClassVar[bool] = True
    outputs_name: ClassVar[str] = "logits"

    def chosen(self, outputs: Outputs, n: int) -> Outputs:
        """See `Task.chosen`: of several the only one that is `[n, classes]`; where there is a choice, all of them."""
        if len(outputs) == 1:
            return outputs
        fitting = [name for name, array in outputs.items() if _is_logits(array, n)]
        return {fitting[0]: outputs[fitting[0]]} if len(fitting) == 1 else outputs

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`: one output, `[n, classes]`, with a logit for the largest label, which is an integer."""
        _check_targets(targets)
        check_logits(_only(outputs), n, int(targets.max()))

    def scores(self, outputs: Outputs, targets: Targets) -> NDArray[np.float64]:
        """See `Task.scores`; exactly 0.0 and 1.0."""
        return np.asarray(self.answers(outputs) == targets, dtype=np.float64)

    def answers(self, outputs: Outputs) -> NDArray[np.int64]:
        """See `Task.answers`: the class of the largest logit."""
        # Of equal logits the first, on which accepted results rest.
        answers: NDArray[np.int64] = np.asarray(_only(outputs)).argmax(axis=1)
        return answers

    def loss(self, outputs: Outputs, targets: Targets) -> float:
        """Mean cross entropy in float64, nats."""
        logits = np.asarray(_only(outputs), dtype=np.float64)
        below = logits - logits.max(axis=1, keepdims=True)
        of_label = below[np.arange(len(below)), targets]
        return float((np.log(np.exp(below).sum(axis=1)) - of_label).mean())


def _only(outputs: Mapping[str, Any]) -> Any:
    if len(outputs) != 1:
        names = ", ".join(outputs) or "none"
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items() if hasattr(array, "shape"))
        advice = f"; name the one that holds the answers (backend: {{output: …}}): {shapes}" if shapes else ""
        raise EvaluationError(
            f"the model gave {len(outputs)} outputs ({names}); expected one of logits [n, classes]{advice}"
        )
    return next(iter(outputs.values()))


def _is_logits(array: Any, n: int) -> bool:
    shape: tuple[int, ...] = getattr(array, "shape", ())
    return len(shape) == 2 and shape[0] == n and shape[1] > 1


def _check_targets(targets: Targets) -> None:
    """Refuses targets that are no class of each sample."""
    found = f"the targets are {targets.dtype} {list(targets.shape)}"
    if targets.ndim == 2 and targets.shape[1] > 1:
        raise EvaluationError(f"{found}; task top1 takes one class for each sample [n]: give targets.argmax(axis=1)")
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise EvaluationError(f"{found}; task top1 takes integers from 0 [n], the class of each sample")
    if targets.min() < 0:
        raise EvaluationError(
            f"a target is {targets.min()}; task top1 takes integers from 0, the class of each sample: leave samples "
            "without one out"
        )


def check_logits(logits: object, n: int, largest_label: int) -> None:
    """Refuses an output that cannot be compared with the labels.

    Args:
        logits: what the model gave; must be an array or a tensor `[n, classes]`.
        n: samples it was given.
        largest_label: class index that the output must reach.

    Raises:
        EvaluationError: saying what the output is instead.
    """
    shape = getattr(logits, "shape", None)
    if shape is None:
        raise EvaluationError(f"the model gave a {type(logits).__name__}; expected a tensor of logits [n, classes]")
    if len(shape) != 2 or shape[0] != n:
        raise EvaluationError(f"the model gave {tuple(shape)} for {n} samples; expected [n, classes]")
    if shape[1] <= largest_label:
        raise EvaluationError(
            f"the model gave {shape[1]} logits per sample, but a label is {largest_label}; size its head for "
            "the classes of the data (n_classes)"
        )
