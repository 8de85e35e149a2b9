"""Task `average_precision`: detection of objects, by COCO's definition."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.detections import MOST_CLASSES, MOST_THRESHOLDS, Objects, by_class, rows_of
from quantbench.tasks.interface import Aggregate, Floats, Targets

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
PARTS = ("boxes", "scores", "classes")
FORM = "boxes [n, m, 4], scores [n, m] and classes [n, m], or one of [n, m, 6]: box, score and class"
CORNERS = 4


class AveragePrecision(Aggregate):
    """Detection: mean precision over 101 recalls, the least overlaps and the classes that have a box.

    Statistics: of each image the scores of its detections, at which overlaps each is right, and the classes of its
    boxes; so that resamples of images match nothing again.

    Args:
        thresholds: least overlaps, intersection over union.
        corners: boxes are given by two corners; else by one corner, width and height.
        most: detections of a class in an image that count.
        places: detections of all classes in an image that there is room for.

    Example:
        >>> task = AveragePrecision((0.5,), True, 100, 10)
        >>> found = np.array([[[0, 0, 10, 10, 0.9, 0], [20, 20, 30, 30, 0.8, 0]]])
        >>> true = np.array([[[0, 0, 10, 9, 0]]])
        >>> round(task.figure(task.statistics({"output": found}, true)), 6)
        1.0
    """

    name = "average_precision"
    unit = "average precision"
    higher_is_better = True
    range = (0.0, 1.0)
    outputs_name = "detections"

    def __init__(self, thresholds: tuple[float, ...], corners: bool, most: int, places: int) -> None:
        self.thresholds, self.corners, self.most, self.places = np.array(thresholds), corners, most, places

    def chosen(self, outputs: Outputs, n: int) -> Outputs:
        """See `Task.chosen`: boxes, scores and classes by their names, or the only ones of their shapes."""
        if len(outputs) == 1:
            return outputs
        if set(PARTS) <= set(outputs):
            return {name: outputs[name] for name in PARTS}
        boxes = [key for key, each in outputs.items() if each.ndim == 3 and each.shape[::2] == (n, CORNERS)]
        flat = [key for key, each in outputs.items() if each.ndim == 2 and each.shape[0] == n]
        classes = [key for key in flat if outputs[key].dtype.kind in "iu" or "label" in key or "class" in key]
        scores = [key for key in flat if key not in classes]
        if len(boxes) == len(scores) == len(classes) == 1:
            return dict(zip(PARTS, (outputs[boxes[0]], outputs[scores[0]], outputs[classes[0]]), strict=True))
        return outputs

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`: detections as of `FORM`, and boxes with their classes."""
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        arrays = list(outputs.values())
        one = len(arrays) == 1 and arrays[0].ndim == 3 and arrays[0].shape[::2] == (n, 6)
        rows = arrays[0].shape[1] if arrays and arrays[0].ndim > 1 else 0
        parts = tuple(outputs) == PARTS and [each.shape for each in arrays] == [
            (n, rows, CORNERS),
            (n, rows),
            (n, rows),
        ]
        if not one and not parts:
            raise EvaluationError(f"the model gave {shapes} for {n} samples; task {self.name} takes {FORM}")
        found = f"the targets are {targets.dtype} {list(targets.shape)}"
        if targets.ndim != 3 or targets.shape[2] not in (5, 6) or targets.dtype.kind not in "iuf":
            raise EvaluationError(
                f"{found}; task {self.name} takes [n, boxes, 5]: box and class, −1 where there is no box, or "
                "[n, boxes, 6] with 1 for a crowd"
            )
        classes = targets[..., 4]
        if (
            not np.isfinite(targets).all()
            or (classes != np.round(classes)).any()
            or classes.max(initial=0) >= MOST_CLASSES
        ):
            raise EvaluationError(f"{found}, whose classes are no whole numbers from 0 to {MOST_CLASSES - 1:,}")
        if not (classes >= 0).any():
            raise EvaluationError(f"{found}, and none of them is a box: every class is negative")

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 2 · places + boxes]`."""
        boxes, scores, classes = self._parts(outputs)
        if (largest := int(classes.max(initial=0))) >= MOST_CLASSES:
            raise EvaluationError(
                f"the model gave class {largest:,}; classes up to {MOST_CLASSES - 1:,} are told apart"
            )
        rows, room = [], (self.places, targets.shape[1])
        for image in range(len(targets)):
            there = (classes[image] >= 0) & (scores[image] > 0)
            none = np.zeros(int(there.sum()), np.bool_)
            found = Objects(self._sides(boxes[image][there]), classes[image][there], scores[image][there], none)
            row = rows_of(found, self._true(targets[image]), self.thresholds, self.most, room)
            if row is None:
                raise EvaluationError(
                    f"the model gave {len(found.scores):,} detections of one image; raise workload.task.places, which "
                    f"is {self.places:,}"
                )
            rows.append(row)
        return np.stack(rows)

    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """See `Task.figure`."""
        if weights is not None:
            return float(self.figures(statistics, np.asarray(weights)[None])[0])
        found = [each.precisions() for each in by_class(statistics, self.places, len(self.thresholds))]
        # In the order in which the library adds them up.
        precisions = [each for each in found if each is not None]
        return float(np.mean(np.stack(precisions, axis=-1))) if precisions else float("nan")

    def figures(self, statistics: Floats, weights: Floats) -> Floats:
        """See `Task.figures`: the images of a resample are matched already."""
        found = [each.means(weights) for each in by_class(statistics, self.places, len(self.thresholds))]
        if not found:
            return np.full(len(weights), np.nan)
        means = np.stack(found)
        there = np.isfinite(means)
        total: Floats = np.where(there, means, 0.0).sum(axis=0)
        return np.asarray(np.divide(total, there.sum(axis=0), out=np.full(len(total), np.nan), where=there.any(axis=0)))

    def _parts(self, outputs: Outputs) -> tuple[Floats, Floats, NDArray[np.int64]]:
        arrays = [np.asarray(each, np.float64) for each in outputs.values()]
        if len(arrays) == 1:
            arrays = [arrays[0][..., :CORNERS], arrays[0][..., CORNERS], arrays[0][..., CORNERS + 1]]
        boxes, scores, classes = arrays
        # A model that computes classes in floating point, or in steps of 8 bits, misses whole numbers by a little.
        return boxes, scores, np.rint(classes).astype(np.int64)

    def _true(self, target: NDArray[Any]) -> Objects:
        rows = np.asarray(target, np.float64)
        rows = rows[rows[:, 4] >= 0]
        crowd = rows[:, 5] > 0 if rows.shape[1] > 5 else np.zeros(len(rows), np.bool_)
        return Objects(self._sides(rows[:, :CORNERS]), rows[:, 4].astype(np.int64), np.zeros(len(rows)), crowd)

    def _sides(self, boxes: Floats) -> Floats:
        """x, y, width and height."""
        if not self.corners:
            return boxes
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


Overlap = Annotated[float, Field(gt=0, lt=1)]


def average_precision(
    overlaps: Annotated[tuple[Overlap, ...], Field(min_length=1, max_length=MOST_THRESHOLDS)] = THRESHOLDS,
    boxes: Literal["xyxy", "xywh"] = "xyxy",
    most: Annotated[int, Field(ge=1, strict=True)] = 100,
    places: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 300,
) -> AveragePrecision:
    """Detection of objects, COCO's AP; `overlaps: [0.5]` for AP50.

    Args:
        overlaps: least intersections over union, of which the mean is taken.
        boxes: `xyxy` for two corners, `xywh` for a corner, width and height; of outputs and targets.
        most: detections of a class in an image that count, the best.
        places: detections of all classes in an image that there is room for; padding has a score of 0 or a class of −1.

    Example:
        >>> average_precision(overlaps=(0.5,)).thresholds
        array([0.5])
    """
    return AveragePrecision(overlaps, boxes == "xyxy", most, places)
