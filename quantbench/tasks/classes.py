"""Classification: outputs of logits `[n, classes]` and a class for each sample, checked for every task of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.interface import Floats, Targets, Task


class Classification(Task):
    """A task on logits and labels.

    Attributes:
        name: of the task, for messages.
    """

    name: str
    outputs_name = "logits"

    def chosen(self, outputs: Outputs, n: int) -> Outputs:
        """See `Task.chosen`: of several the only one that is `[n, classes]`; where there is a choice, all of them."""
        if len(outputs) == 1:
            return outputs
        fitting = [name for name, array in outputs.items() if _is_logits(array, n)]
        return {fitting[0]: outputs[fitting[0]]} if len(fitting) == 1 else outputs

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`: one output, `[n, classes]`, with a logit for the largest label, which is an integer."""
        check_labels(targets, self.name)
        check_logits(only(outputs), n, int(targets.max()))

    def answers(self, outputs: Outputs) -> NDArray[np.int64]:
        """See `Task.answers`: the class of the largest logit."""
        # Of equal logits the first, on which accepted results rest.
        answers: NDArray[np.int64] = np.asarray(only(outputs)).argmax(axis=1)
        return answers

    def loss(self, outputs: Outputs, targets: Targets) -> float:
        """Mean cross entropy in float64, nats."""
        return float(cross_entropy(np.asarray(only(outputs)), targets).mean())


def cross_entropy(logits: NDArray[Any], labels: Targets) -> Floats:
    """Of each sample, `[n]`, nats, in float64.

    Args:
        logits: `[n, classes]`.
        labels: `[n]`.
    """
    logits = np.asarray(logits, dtype=np.float64)
    below = logits - logits.max(axis=1, keepdims=True)
    of_label = below[np.arange(len(below)), labels]
    found: Floats = np.log(np.exp(below).sum(axis=1)) - of_label
    return found


def only(outputs: Mapping[str, Any], form: str = "logits [n, classes]") -> Any:
    """The only output.

    Raises:
        EvaluationError: if there are several, or none.
    """
    if len(outputs) != 1:
        names = ", ".join(outputs) or "none"
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items() if hasattr(array, "shape"))
        advice = f"; name the one that holds the answers (backend: {{output: …}}): {shapes}" if shapes else ""
        raise EvaluationError(f"the model gave {len(outputs)} outputs ({names}); expected one of {form}{advice}")
    return next(iter(outputs.values()))


def _is_logits(array: Any, n: int) -> bool:
    shape: tuple[int, ...] = getattr(array, "shape", ())
    return len(shape) == 2 and shape[0] == n and shape[1] > 1


def check_labels(targets: Targets, task: str) -> None:
    """Refuses targets that are no class of each sample.

    Raises:
        EvaluationError: saying what the targets are instead.
    """
    found = f"the targets are {targets.dtype} {list(targets.shape)}"
    if targets.ndim == 2 and targets.shape[1] > 1:
        raise EvaluationError(f"{found}; task {task} takes one class for each sample [n]: give targets.argmax(axis=1)")
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        other = "; of numbers the tasks are mae, rmse and r2" if targets.dtype.kind == "f" else ""
        raise EvaluationError(f"{found}; task {task} takes integers from 0 [n], the class of each sample{other}")
    if targets.min() < 0:
        raise EvaluationError(
            f"a target is {targets.min()}; task {task} takes integers from 0, the class of each sample: leave samples "
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
