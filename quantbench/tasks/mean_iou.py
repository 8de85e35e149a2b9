"""Task `mean_iou`: the mean overlap of the classes of a segmentation."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.classes import only
from quantbench.tasks.interface import Floats, Summed, Targets

IGNORED = 255
MOST_CLASSES = 1_000


class MeanIntersectionOverUnion(Summed):
    """Segmentation: pixels of answer and label / pixels of answer or label, of each class in all samples together.

    The mean is over classes that are an answer or a label anywhere. Statistics: for each class of a sample the pixels
    that are right, those of the label and those of the answer.

    Args:
        ignored: label of pixels that do not count; None: all count.
        axis: of the classes among the logits' `[n, …]`.

    Example:
        >>> task, labels = MeanIntersectionOverUnion(255, 1), np.array([[[0, 1, 1, 255]]])
        >>> logits = np.eye(2)[np.array([[[0, 0, 1, 1]]])].transpose(0, 3, 1, 2)
        >>> task.figure(task.statistics({"output": logits}, labels))
        0.5
    """

    name = "mean_iou"
    unit = "mean IoU"
    higher_is_better = True
    range = (0.0, 1.0)
    outputs_name = "logits"

    def __init__(self, ignored: int | None, axis: int) -> None:
        self.ignored, self.axis = ignored, axis

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`: logits for each pixel of the labels, which are integers."""
        found = only(outputs, "logits [n, classes, …]")
        form = f"logits with the classes along axis {self.axis} and the labels' [n, …] else"
        if targets.dtype.kind not in "iu" or targets.ndim < 2:
            raise EvaluationError(
                f"the targets are {targets.dtype} {list(targets.shape)}; task mean_iou takes integers [n, …], the "
                "class of each pixel"
            )
        shape = list(found.shape)
        pixels = [size for at, size in enumerate(shape) if at != self.axis % max(len(shape), 1)]
        if len(shape) != targets.ndim + 1 or pixels != [n, *targets.shape[1:]]:
            raise EvaluationError(f"the model gave {shape} for labels {[n, *targets.shape[1:]]}; expected {form}")
        classes = shape[self.axis]
        if classes > MOST_CLASSES:
            raise EvaluationError(f"the model gave {classes:,} classes along axis {self.axis}; set workload.task.axis")
        counted = targets if self.ignored is None else targets[targets != self.ignored]
        if not counted.size:
            raise EvaluationError(f"every pixel is {self.ignored}, which is ignored; there is nothing to score")
        if counted.min() < 0 or counted.max() >= classes:
            wrong = counted.min() if counted.min() < 0 else counted.max()
            raise EvaluationError(
                f"a label is {wrong}, but the model gave {classes} classes; name the one that does not count with "
                "workload.task.ignored"
            )

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 3 · classes]`."""
        logits = np.asarray(only(outputs))
        answers, classes = logits.argmax(axis=self.axis), logits.shape[self.axis]
        return np.stack([self._counts(*each, classes) for each in zip(answers, targets, strict=True)])

    def _counts(self, answers: NDArray[Any], labels: NDArray[Any], classes: int) -> Floats:
        counted = np.ones(labels.shape, np.bool_) if self.ignored is None else labels != self.ignored
        own, given = labels[counted], answers[counted]
        parts = (own[own == given], own, given)
        return np.concatenate([np.bincount(each, minlength=classes) for each in parts]).astype(np.float64)

    def of_sums(self, sums: Floats) -> Floats:
        """See `Summed.of_sums`."""
        right, labels, answers = np.split(sums, 3, axis=-1)
        union = labels + answers - right
        mean: Floats = np.where(union > 0, right / union, 0.0).sum(axis=-1) / (union > 0).sum(axis=-1)
        return mean

    def chance(self, targets: Targets) -> float:
        """See `Task.chance`: the commonest class for every pixel."""
        counted = targets if self.ignored is None else targets[targets != self.ignored]
        counts = np.bincount(counted.reshape(-1))
        return float(counts.max() / counts.sum() / (counts > 0).sum())


def mean_iou(
    ignored: Annotated[int, Field(strict=True)] | None = IGNORED, axis: Annotated[int, Field(strict=True)] = 1
) -> MeanIntersectionOverUnion:
    """The mean overlap of the classes of a segmentation.

    Args:
        ignored: label of pixels that do not count; none: all count.
        axis: of the classes among the logits' `[n, …]`; -1 where they come last.

    Example:
        >>> mean_iou(axis=-1).ignored
        255
    """
    return MeanIntersectionOverUnion(ignored, axis)
