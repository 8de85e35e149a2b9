"""Checks of what a task gives: finite numbers, one row for each sample, within its range, whatever the batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.interface import Range, Targets, Task

# Elementary functions may round an element otherwise in an array of another length.
TOLERANCE = 1e-6


def check_scores(scores: object, task: Task, n: int) -> None:
    """Refuses scores that are not one finite number for each sample, within the task's range, or no rows of them.

    Raises:
        EvaluationError: naming the task and the first sample.
    """
    method = "scores" if task.is_mean else "statistics"
    who = f"task {task.title}: {method} gave"
    if isinstance(scores, np.ma.MaskedArray):
        raise EvaluationError(f"{who} a masked array, which hides samples; give each sample a score, or leave it out")
    shape = scores.shape if isinstance(scores, np.ndarray) else None
    is_shaped = shape == (n,) if task.is_mean else shape is not None and len(shape) == 2 and shape[0] == n
    if not isinstance(scores, np.ndarray) or not is_shaped or scores.dtype.kind not in "fiub":
        found = f"{scores.dtype} {list(scores.shape)}" if isinstance(scores, np.ndarray) else type(scores).__name__
        wanted = f"[{n}]" if task.is_mean else f"[{n}, numbers of a sample]"
        raise EvaluationError(f"{who} {found} for {n:,} samples; return {wanted}")
    finite = np.isfinite(scores).reshape(n, -1).all(axis=1)
    if not finite.all():
        sample = int(finite.argmin())
        raise EvaluationError(f"{who} NaN or infinity for sample {sample:,}; give each sample a finite score")
    if task.is_mean and (outside := _outside(scores, task.range)).any():
        sample = int(outside.argmax())
        raise EvaluationError(
            f"{who} {scores[sample]:g} for sample {sample:,}, which is not within its range, {shown(task.range)}; "
            "declare the range that scores really have"
        )


def check_figure(task: Task, statistics: NDArray[np.float64]) -> None:
    """Refuses a figure of all samples that is none, or out of range.

    Raises:
        EvaluationError: naming the task.
    """
    who, n = f"task {task.title}: figure gave", len(statistics)
    if n < 2:
        raise EvaluationError(f"{task.unit} is no figure of {n} sample; measure on more")
    figure = task.figure(statistics)
    if not isinstance(figure, int | float) or not np.isfinite(figure):
        found = f"{figure:g}" if isinstance(figure, int | float) else f"a {type(figure).__name__}"
        raise EvaluationError(
            f"{who} {found} for {n:,} samples; look at the targets: {task.unit} may be undefined for such ones"
        )
    if _outside(np.array(figure), task.range):
        raise EvaluationError(
            f"{who} {figure:g}, which is not within its range, {shown(task.range)}; declare the range that it has"
        )


def check_halves(task: Task, outputs: Outputs, targets: Targets) -> None:
    """Refuses a task that scores a sample otherwise in another batch: no sample would have a score of its own.

    Args:
        task: that is checked.
        outputs: of one batch.
        targets: of its samples.

    Raises:
        EvaluationError: naming a sample with both scores.
    """
    n = len(targets)
    if n < 2 or any(not array.ndim or len(array) != n or array.dtype.kind in "OUS" for array in outputs.values()):
        return
    if not all(np.isfinite(array).all() for array in outputs.values()):
        return  # refused by name once all of them are there
    parts = [slice(None), slice(n // 2), slice(n // 2, None)]
    found = []
    for part in parts:
        own, rows = {name: array[part] for name, array in outputs.items()}, targets[part]
        found.append(task.scores(own, rows) if task.is_mean else task.statistics(own, rows))
        check_scores(found[-1], task, len(rows))
    whole, halves = found[0], found[1:]
    width = whole.shape[1:]
    if not all(half.shape[1:] == width for half in halves):
        shapes = " and ".join(str(list(each.shape)) for each in found)
        raise EvaluationError(
            f"task {task.title}: gives other numbers of a sample in another batch, {shapes}; give as many in each"
        )
    split = np.concatenate(halves)
    same = np.isclose(whole, split, rtol=TOLERANCE, atol=TOLERANCE).reshape(n, -1).all(axis=1)
    if not same.all():
        sample = int(same.argmin())
        one, other = (np.ravel(each[sample]) for each in (whole, split))
        at = int(np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE).argmin())
        raise EvaluationError(
            f"task {task.title}: scores sample {sample:,} with {one[at]:g} in a batch of {n} and with "
            f"{other[at]:g} in half of it; score each sample by itself"
        )


def shown(limits: Range) -> str:
    """A range in words."""
    low, high = limits
    return f"{'no limit' if low is None else f'{low:g}'} to {'no limit' if high is None else f'{high:g}'}"


def _outside(values: NDArray[np.float64], limits: Range) -> NDArray[np.bool_]:
    low, high = limits
    # Rounding of a sum may leave a little more than all.
    slack = TOLERANCE * max(1.0, abs(low or 0.0), abs(high or 0.0))
    below = values < low - slack if low is not None else np.zeros(values.shape, np.bool_)
    above = values > high + slack if high is not None else np.zeros(values.shape, np.bool_)
    return np.asarray(below | above)
