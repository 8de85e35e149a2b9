"""Lines about the outputs that are scored: the one that was chosen, and their form where two models differ in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.tasks.interface import Task

# Sum of a row of probabilities, which in 8 bits are rounded one by one.
NEAR_ONE = 0.05
LOGITS, PROBABILITIES, LOGARITHMS = "logits", "probabilities", "logarithms of probabilities"
SIGMOIDS = "values from 0 to 1 that do not add up to 1, as of sigmoids"


def told_choice(task: Task, outputs: Outputs) -> list[str]:
    """Line about the output that is scored, of a model that gives several.

    Args:
        task: that chooses.
        outputs: of a few samples.
    """
    chosen = _chosen(task, outputs)
    if len(outputs) < 2 or len(chosen) != 1:
        return []
    (name,) = chosen
    others = ", ".join(f"'{each}' {list(array.shape)}" for each, array in outputs.items() if each != name)
    return [f"output '{name}' holds the answers; not used: {others}"]


def told_forms(task: Task, reference: Outputs, candidate: Outputs) -> list[str]:
    """Line about logits against probabilities, of tasks whose outputs name classes.

    Args:
        task: that scores them.
        reference: outputs of a few samples.
        candidate: of the same samples.
    """
    first, second = (form_of(task, outputs) for outputs in (reference, candidate))
    if first is None or second is None or first == second:
        return []
    return [
        f"outputs of the reference are {first}, of the candidate {second}: which class is answered does not depend on "
        "it, so that the accuracy is unaffected; their losses cannot be compared"
    ]


def form_of(task: Task, outputs: Outputs) -> str | None:
    """`LOGITS`, `PROBABILITIES`, `LOGARITHMS` of these, or `SIGMOIDS`; None where outputs name no classes.

    Example:
        >>> from quantbench.tasks.top1 import Top1
        >>> form_of(Top1(), {"output": np.array([[0.9, 0.1], [0.2, 0.8]])})
        'probabilities'
    """
    chosen = list(_chosen(task, outputs).values())
    if not task.has_answers or len(chosen) != 1 or chosen[0].ndim != 2 or chosen[0].dtype.kind != "f":
        return None
    # Of one class there is nothing to tell apart.
    if chosen[0].shape[1] < 2:
        return None
    values = chosen[0].astype(np.float64)
    if (values >= 0).all() and _sum_to_one(values):
        return PROBABILITIES
    if ((values >= 0) & (values <= 1)).all():
        return SIGMOIDS
    return LOGARITHMS if (values <= 0).all() and _sum_to_one(np.exp(values)) else LOGITS


def _sum_to_one(values: NDArray[np.float64]) -> bool:
    return bool((np.abs(values.sum(axis=1) - 1) <= NEAR_ONE).all())


def _chosen(task: Task, outputs: dict[str, NDArray[Any]]) -> Outputs:
    n = max((len(array) for array in outputs.values() if array.ndim), default=0)
    return task.chosen(outputs, n)
