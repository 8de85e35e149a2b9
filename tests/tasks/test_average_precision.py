"""Average precision is COCO's to the last digit, by weights as by repeats, and refuses what is no detection."""

import importlib.util

import numpy as np
import pytest
from coco_detections import by_pycocotools, detections

from quantbench.errors import EvaluationError
from quantbench.registry import TASKS
from quantbench.stats.bca import bca_intervals

KINDS = {
    "random": {},
    "crowds": {"crowds": True},
    "equal scores": {"ties": True},
    "few found": {"misses": 0.9},
    "one class": {"classes": 1, "n": 6},
    "all of it": {"crowds": True, "ties": True, "classes": 6},
}
# By pycocotools 2.0.11 with numpy 2.4, of the seed that is the place in the list: at ten overlaps, and at 0.5.
RECORDED = {
    "random": (0.35172619632142055, 0.7234523452345234),
    "crowds": (0.27121653832049875, 0.6184635130179684),
    "equal scores": (0.2618361341628668, 0.5511806125667512),
    "few found": (0.07271727172717271, 0.1254125412541254),
    "one class": (0.4315912852895196, 0.693303804064617),
    "all of it": (0.2293965110796794, 0.46157472890146156),
}


def task(**params):
    return TASKS.create("average_precision", "here", params)


def judged(outputs, targets, **params):
    made, given = task(**params), {"output": outputs}
    made.check(given, len(targets), targets)
    return made, made.statistics(given, targets)


def figure(outputs, targets, **params):
    made, statistics = judged(outputs, targets, **params)
    return made.figure(statistics)


@pytest.mark.parametrize("kind", KINDS)
def test_the_figure_is_that_of_pycocotools_to_the_last_digit(kind):
    outputs, targets = detections(list(KINDS).index(kind), **KINDS[kind])
    assert (figure(outputs, targets), figure(outputs, targets, overlaps=[0.5])) == RECORDED[kind]


@pytest.mark.skipif(importlib.util.find_spec("pycocotools") is None, reason="pycocotools is not installed")
def test_the_figure_of_random_and_odd_detections_is_that_of_the_library():
    for seed in range(30):
        outputs, targets = detections(seed, **list(KINDS.values())[seed % len(KINDS)])
        assert figure(outputs, targets) == by_pycocotools(outputs, targets)
        assert figure(outputs, targets, overlaps=[0.5, 0.75]) == by_pycocotools(outputs, targets, [0.5, 0.75])


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_counts_as_repeats_of_the_image(kind):
    made, statistics = judged(*detections(3, **KINDS[kind]))
    weights = np.random.default_rng(0).integers(0, 3, len(statistics))
    repeated = statistics[np.repeat(np.arange(len(statistics)), weights)]
    many = made.figures(statistics, np.stack([weights, np.ones_like(weights)]).astype(float))
    assert many == pytest.approx([made.figure(repeated), made.figure(statistics)], rel=1e-12)
    assert made.figure(statistics, weights.astype(float)) == many[0]


def test_statistics_of_batches_are_those_of_the_whole():
    outputs, targets = detections(1)
    whole = judged(outputs, targets)[1]
    parts = [judged(outputs[rows], targets[rows])[1] for rows in (slice(None, 5), slice(5, None))]
    assert np.array_equal(np.concatenate(parts), whole)


def test_three_outputs_are_one_by_names_and_by_shapes():
    outputs, targets = detections(2)
    parts = outputs[..., :4], outputs[..., 4], outputs[..., 5].astype(np.int64)
    for names in (("boxes", "scores", "classes"), ("a", "b", "c")):
        made, given = task(), dict(zip(names, parts, strict=True))
        chosen = made.chosen(given, len(targets))
        made.check(chosen, len(targets), targets)
        assert made.figure(made.statistics(chosen, targets)) == figure(outputs, targets)


def test_boxes_may_be_a_corner_with_width_and_height():
    outputs, targets = detections(4)
    for each in (outputs, targets):
        each[..., 2:4] -= each[..., :2]
    sides = figure(outputs, targets, boxes="xywh")
    for each in (outputs, targets):
        each[..., 2:4] += each[..., :2]
    assert sides == pytest.approx(figure(outputs, targets), rel=1e-12)


def test_nothing_found_has_a_precision_of_none_and_everything_found_of_one():
    outputs, targets = detections(5)
    assert figure(np.zeros_like(outputs), targets) == 0.0
    exact = np.zeros((len(targets), targets.shape[1], 6))
    exact[..., :4], exact[..., 4], exact[..., 5] = targets[..., :4], 0.9, targets[..., 4]
    assert figure(exact, targets) == pytest.approx(1.0)


def test_only_so_many_detections_of_a_class_count():
    targets = np.full((1, 1, 5), -1.0)
    targets[0, 0] = [0, 0, 10, 10, 0]
    outputs = np.zeros((1, 3, 6))
    outputs[0, :, :4], outputs[0, :, 4] = [50, 50, 60, 60], [0.9, 0.8, 0.7]
    outputs[0, 2, :4] = [0, 0, 10, 10]
    assert figure(outputs, targets) == pytest.approx(1 / 3)
    assert figure(outputs, targets, most=2) == 0.0


def test_an_interval_resamples_images():
    made, statistics = judged(*detections(7, n=60))
    (found,) = bca_intervals(lambda weights: made.figures(statistics, weights)[:, None], 60, [0.95])
    assert found.intervals[0].low < made.figure(statistics) < found.intervals[0].high
    assert found.estimate == pytest.approx(made.figure(statistics), rel=1e-12)


GOOD = detections(0)


def without_boxes(targets):
    targets = targets.copy()
    targets[..., 4] = -1
    return targets


def of_halves(targets):
    targets = targets.copy()
    targets[..., 4] = 0.5
    return targets


@pytest.mark.parametrize(
    ("outputs", "targets", "line"),
    [
        (
            {"output": np.zeros((12, 8, 5))},
            GOOD[1],
            r"the model gave output \[12, 8, 5\] for 12 samples; .* takes boxes",
        ),
        (
            {"output": GOOD[0]},
            np.arange(12),
            r"the targets are int64 \[12\]; task average_precision takes \[n, boxes, 5\]",
        ),
        ({"output": GOOD[0]}, without_boxes(GOOD[1]), "and none of them is a box: every class is negative"),
        ({"output": GOOD[0]}, of_halves(GOOD[1]), "whose classes are no whole numbers from 0 to 3,999"),
    ],
)
def test_what_is_no_detection_is_one_line(outputs, targets, line):
    with pytest.raises(EvaluationError, match=line):
        task().check(outputs, 12, targets)


def test_more_detections_than_there_is_room_for_are_refused_with_the_parameter_that_makes_room():
    with pytest.raises(EvaluationError, match=r"detections of one image; raise workload\.task\.places, which is 2"):
        judged(*GOOD, places=2)


def test_a_class_beyond_those_that_are_told_is_refused():
    outputs = GOOD[0].copy()
    outputs[0, 0, 4:] = 0.5, 4_000
    with pytest.raises(EvaluationError, match="the model gave class 4,000; classes up to 3,999 are told apart"):
        judged(outputs, GOOD[1])
