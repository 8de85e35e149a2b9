"""Random and odd detections, and COCO's own figure of them where `pycocotools` is installed."""

from __future__ import annotations

import contextlib
import io

import numpy as np

BOXES, FOUND = 5, 8


def detections(seed, n=12, classes=3, crowds=False, ties=False, misses=0.2):
    """Outputs `[n, m, 6]` and targets `[n, g, 6]`: true boxes that are shifted, left out, and answered twice."""
    random = np.random.default_rng(seed)
    targets, outputs = np.full((n, BOXES, 6), -1.0), np.zeros((n, FOUND, 6))
    targets[..., 5] = 0
    for image in range(n):
        true = random.integers(0, BOXES + 1)
        corner, side = random.uniform(0, 60, (true, 2)), random.uniform(5, 40, (true, 2))
        targets[image, :true, :4] = np.concatenate([corner, corner + side], axis=1)
        targets[image, :true, 4] = random.integers(0, classes, true)
        if crowds:
            targets[image, :true, 5] = random.random(true) < 0.3
        found = []
        for box in targets[image, :true]:
            for _ in range(random.integers(1, 3)):
                if random.random() > misses:
                    moved = box[:4] + random.normal(0, 2, 4)
                    label = box[4] if random.random() < 0.8 else random.integers(0, classes)
                    found.append([*moved[:2], *np.maximum(moved[2:], moved[:2] + 1), random.uniform(0.05, 1), label])
        for row, each in enumerate(found[:FOUND]):
            outputs[image, row] = each
    if ties:
        outputs[..., 4] = np.round(outputs[..., 4], 1)
    return outputs, targets


def by_pycocotools(outputs, targets, thresholds=None):
    """AP by the library: boxes as x, y, width and height."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def sides(box):
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    true, found = [], []
    for image, (boxes, rows) in enumerate(zip(targets, outputs, strict=True)):
        for box in boxes[boxes[:, 4] >= 0]:
            own = sides(box)
            area = own[2] * own[3]
            true.append({
                "id": len(true) + 1, "image_id": image, "category_id": int(box[4]), "bbox": own, "area": area,
                "iscrowd": int(box[5]) if len(box) > 5 else 0,
            })  # fmt: skip
        for row in rows[(rows[:, 4] > 0) & (rows[:, 5] >= 0)]:
            found.append({
                "image_id": image, "category_id": int(row[5]), "bbox": sides(row), "score": float(row[4]),
            })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        kinds = sorted({each["category_id"] for each in (*true, *found)})
        coco.dataset = {
            "images": [{"id": i} for i in range(len(targets))], "annotations": true, "info": {},
            "categories": [{"id": kind} for kind in kinds],
        }  # fmt: skip
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found) if found else COCO(), "bbox")
        if thresholds is not None:
            evaluation.params.iouThrs = np.array(thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return float(np.mean(precision[precision > -1]))
