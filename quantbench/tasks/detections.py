"""Detections of objects: matched with the true boxes of each image, and the precision that follows at each recall.

Source:
    COCO's definition (T.-Y. Lin et al., Microsoft COCO, ECCV 2014) as `pycocotools.cocoeval` computes it: greedy
    matching by score, at most 100 detections of a class in an image, crowds ignored, precision at 101 recalls, made
    monotone. Deviation: none but that a detection with a score of 0 or less is padding; areas of all sizes count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.tasks.interface import Floats

Bools = NDArray[np.bool_]
RECALLS = np.linspace(0.0, 1.0, 101)
# A detection is kept as its score and one whole number: 1 + its thresholds met, those ignored, and its class.
MOST_THRESHOLDS, MOST_CLASSES = 10, 4_000
# Elements of one array while resamples are accumulated.
ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Objects:
    """Boxes of one image.

    Attributes:
        boxes: `[m, 4]`, x, y, width and height.
        classes: `[m]`, from 0.
        scores: `[m]`; of true boxes 0.
        crowd: `[m]`, true boxes that stand for several; of detections none.
    """

    boxes: Floats
    classes: NDArray[np.int64]
    scores: Floats
    crowd: Bools

    def of_class(self, label: int, most: int | None = None) -> Objects:
        """Those of one class; of detections the best `most`, the best first."""
        rows = np.flatnonzero(self.classes == label)
        if most is not None:
            rows = rows[np.argsort(-self.scores[rows], kind="stable")][:most]
        return Objects(self.boxes[rows], self.classes[rows], self.scores[rows], self.crowd[rows])


def overlaps(found: Floats, true: Floats, crowd: Bools) -> Floats:
    """Intersection over union, `[m, g]`; over the detection's own area where the true box is a crowd."""
    low = np.maximum(found[:, None, :2], true[None, :, :2])
    high = np.minimum(found[:, None, :2] + found[:, None, 2:], true[None, :, :2] + true[None, :, 2:])
    sides = high - low
    common = np.where((sides > 0).all(axis=2), sides[..., 0] * sides[..., 1], 0.0)
    areas, others = found[:, 2] * found[:, 3], true[:, 2] * true[:, 3]
    whole = np.where(crowd[None, :], areas[:, None], areas[:, None] + others[None, :] - common)
    return np.divide(common, whole, out=np.zeros_like(common), where=common > 0)


def matched(found: Objects, true: Objects, thresholds: Floats) -> tuple[Bools, Bools]:
    """Detections of one class in one image that are right, and those that count neither way.

    Args:
        found: detections, the best first.
        true: boxes.
        thresholds: `[t]`, least overlaps.

    Returns:
        Two of `[t, m]`.
    """
    shape = len(thresholds), len(found.scores)
    right, ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    if not len(true.classes):
        return right, ignored
    overlap, crowd = overlaps(found.boxes, true.boxes, true.crowd), true.crowd
    least = np.minimum(thresholds, 1 - 1e-10)
    free = np.ones((len(thresholds), len(crowd)), np.bool_)
    at = np.arange(len(thresholds))
    for row in range(len(found.scores)):
        fits = (free | crowd) & (overlap[row] >= least[:, None])
        single, several = fits & ~crowd, fits & crowd
        one = single.any(axis=1)
        # Of equal overlaps the last, as there.
        chosen = np.where(np.where(one[:, None], single, several), overlap[row], -1.0)
        best = len(crowd) - 1 - chosen[:, ::-1].argmax(axis=1)
        any_ = fits.any(axis=1)
        right[:, row], ignored[:, row] = one, any_ & ~one
        free[at[any_], best[any_]] = False
    return right, ignored


def rows_of(found: Objects, true: Objects, thresholds: Floats, most: int, places: tuple[int, int]) -> Floats | None:
    """Everything of one image that its part of the figure needs, `[2 · detections + boxes]`.

    Args:
        found: detections.
        true: boxes.
        thresholds: `[t]`, least overlaps.
        most: detections of a class that count.
        places: detections and boxes that there is room for.

    Returns:
        None where there are more detections.
    """
    scores, codes = [np.zeros(0)], [np.zeros(0)]
    powers = 1 << np.arange(len(thresholds))
    for label in np.unique(found.classes):
        own = found.of_class(int(label), most)
        right, ignored = matched(own, true.of_class(int(label)), thresholds)
        bits = powers @ right + (powers @ ignored) * (1 << MOST_THRESHOLDS)
        scores.append(own.scores)
        codes.append((1 + bits + int(label) * (1 << 2 * MOST_THRESHOLDS)).astype(np.float64))
    score, code, counted = np.concatenate(scores), np.concatenate(codes), true.classes[~true.crowd]
    if len(score) > places[0]:
        return None
    row = np.zeros(2 * places[0] + places[1])
    row[: len(score)], row[places[0] : places[0] + len(code)] = score, code
    row[2 * places[0] : 2 * places[0] + len(counted)] = 1 + counted
    return row


@dataclass(frozen=True)
class ClassDetections:
    """All detections of one class, the best first.

    Attributes:
        images: `[m]`, the image of each.
        right: `[t, m]`.
        ignored: `[t, m]`.
        boxes: `[n]`, true ones of each image that count.
    """

    images: NDArray[np.int64]
    right: Bools
    ignored: Bools
    boxes: Floats

    def precisions(self) -> Floats | None:
        """`[t, 101]`, at each recall; None without a box."""
        total = self.boxes.sum()
        if total == 0:
            return None
        found = np.zeros((len(self.right), len(RECALLS)))
        for row, (right, ignored) in enumerate(zip(self.right, self.ignored, strict=True)):
            hits = np.cumsum(right & ~ignored).astype(np.float64)
            misses = np.cumsum(~right & ~ignored).astype(np.float64)
            precision = np.maximum.accumulate((hits / (misses + hits + np.spacing(1)))[::-1])[::-1]
            places = np.searchsorted(hits / total, RECALLS, side="left")
            reached = places < len(precision)
            found[row, reached] = precision[places[reached]]
        return found

    def means(self, weights: Floats) -> Floats:
        """Mean precision of each weighting of the images, `[r]`; NaN of one without a box."""
        totals, step = weights @ self.boxes, max(1, ELEMENTS // max(len(self.images), 1))
        means = np.zeros(len(weights))
        # Thresholds that the same detections meet are one.
        kinds, counts = np.unique(np.stack([self.right, self.ignored], axis=1), axis=0, return_counts=True)
        for start in range(0, len(weights), step):
            part = slice(start, start + step)
            weight, total = weights[part][:, self.images], np.maximum(totals[part], 1e-300)[:, None]
            for (right, ignored), count in zip(kinds, counts, strict=True):
                hits, misses = (np.cumsum(weight * each, axis=1) for each in (right & ~ignored, ~right & ~ignored))
                precision = np.maximum.accumulate((hits / (misses + hits + np.spacing(1)))[:, ::-1], axis=1)[:, ::-1]
                # Recalls that are first reached at each detection.
                reached = np.searchsorted(RECALLS, (hits / total).ravel(), side="right").reshape(hits.shape)
                first = np.diff(reached, axis=1, prepend=0)
                means[part] += count * (first * precision).sum(axis=1)
        return np.where(totals > 0, means / (len(self.right) * len(RECALLS)), np.nan)


def by_class(statistics: Floats, detections: int, thresholds: int) -> Iterator[ClassDetections]:
    """Detections and boxes of all images, class by class of those that have a box.

    Args:
        statistics: `[n, 2 · detections + boxes]`, of `rows_of`.
        detections: places for detections in a row.
        thresholds: number of them.
    """
    scores, codes = statistics[:, :detections], statistics[:, detections : 2 * detections].astype(np.int64)
    boxes = statistics[:, 2 * detections :]
    labels = np.where(codes > 0, (codes - 1) >> 2 * MOST_THRESHOLDS, -1)
    powers = 1 << np.arange(thresholds)[:, None]
    for label in np.unique(boxes[boxes > 0]).astype(np.int64) - 1:
        images, places = np.nonzero(labels == label)
        order = np.argsort(-scores[images, places], kind="stable")
        bits = (codes[images, places] - 1)[order]
        right, ignored = (bits & powers) > 0, (bits >> MOST_THRESHOLDS & powers) > 0
        yield ClassDetections(images[order], right, ignored, (boxes == label + 1).sum(axis=1).astype(np.float64))
