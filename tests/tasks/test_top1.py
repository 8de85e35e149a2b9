"""Task top-1: scores of 0 and 1, the loss beside them, and the outputs that cannot be scored."""

import math

import numpy as np
import pytest
import torch

from quantbench.arrays import OUTPUT
from quantbench.errors import EvaluationError
from quantbench.tasks.classes import check_logits
from quantbench.tasks.interface import Task
from quantbench.tasks.top1 import Top1

TASK = Top1()
LABELS = np.array([0, 1, 2])


def logits(*rows):
    return {OUTPUT: np.array(rows, dtype=np.float32)}


def test_a_sample_scores_1_where_its_largest_logit_is_its_label_and_0_elsewhere():
    scores = TASK.scores(logits([3, 1, 2], [2, 1, 0], [0, 0, 1]), LABELS)
    assert (scores.tolist(), scores.dtype) == ([1.0, 0.0, 1.0], np.float64)


def test_a_tie_is_broken_as_torch_breaks_it():
    rows = np.zeros((5, 3), np.float32)
    expected = (torch.zeros(5, 3).double().argmax(1) == 0).double().tolist()
    assert TASK.scores({OUTPUT: rows}, np.zeros(5, np.int64)).tolist() == expected


def test_the_loss_is_the_mean_cross_entropy_in_nats():
    by_hand = [math.log(math.exp(2) + 2) - 2, math.log(math.exp(1) + 2) - 1, math.log(3)]
    assert TASK.loss(logits([2, 0, 0], [0, 1, 0], [0, 0, 0]), LABELS) == pytest.approx(sum(by_hand) / 3)


def test_its_scores_can_be_kept_as_bits_and_more_is_better():
    assert (TASK.is_binary, TASK.higher_is_better, TASK.unit) == (True, True, "accuracy")


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({OUTPUT: np.zeros(3)}, r"^the model gave \(3,\) for 3 samples; expected \[n, classes\]$"),
        ({OUTPUT: np.zeros((4, 3))}, r"^the model gave \(4, 3\) for 3 samples; expected \[n, classes\]$"),
        (
            {OUTPUT: np.zeros((3, 2))},
            r"^the model gave 2 logits per sample, but a label is 2; size its head .*n_classes",
        ),
        ({"a": np.zeros((3, 3)), "b": np.zeros(3)}, r"^the model gave 2 outputs \(a, b\); expected one of logits"),
        ({}, r"^the model gave 0 outputs \(none\); expected one of logits"),
    ],
    ids=["no classes", "one sample more", "too few classes", "two outputs", "no output"],
)
def test_outputs_that_cannot_be_scored_are_refused(outputs, words):
    with pytest.raises(EvaluationError, match=words):
        TASK.check(outputs, 3, LABELS)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (
            LABELS.astype(float),
            r"task top1 takes integers from 0 \[n\], .*; of numbers the tasks are mae, rmse and r2$",
        ),
        (LABELS > 0, r"the targets are bool \[3\]; task top1 takes integers"),
        (LABELS[:, None], r"the targets are int64 \[3, 1\]; task top1 takes integers"),
        (np.eye(3), r"the targets are float64 \[3, 3\]; .*: give targets\.argmax\(axis=1\)$"),
        (LABELS - 1, r"^a target is -1; task top1 takes integers from 0"),
    ],
)
def test_targets_that_are_no_classes_are_refused(targets, words):
    with pytest.raises(EvaluationError, match=words):
        TASK.check({OUTPUT: np.zeros((3, 3))}, 3, targets)


def test_logits_in_training_are_tensors_and_checked_by_the_same_words():
    check_logits(torch.zeros(3, 3), 3, 2)
    with pytest.raises(EvaluationError, match=r"^the model gave a tuple; expected a tensor of logits \[n, classes\]$"):
        check_logits((torch.zeros(3, 3),), 3, 2)


class Mean(Task):
    """Scores the mean of an output; accepts everything and has no loss."""

    unit, higher_is_better, is_binary = "mean", False, False

    def scores(self, outputs, targets):
        return outputs["y"].mean(axis=1)


def test_a_task_needs_nothing_but_scores():
    outputs = {"y": np.array([[1.0, 2.0]])}
    assert Mean().check(outputs, 1, LABELS) is None
    assert Mean().loss(outputs, LABELS) is None
    assert Mean().scores(outputs, LABELS).tolist() == [1.5]
    assert Mean.outputs_name == "outputs"


def test_ties_and_losses_are_those_of_torch():
    from torch.nn.functional import cross_entropy

    random = np.random.RandomState(0)
    table, labels = random.randint(-3, 4, (500, 7)).astype(np.float32), random.randint(0, 7, 500)
    as_float64 = torch.from_numpy(table).double()
    np.testing.assert_array_equal(TASK.answers({"output": table}), as_float64.argmax(1).numpy())
    expected = float(cross_entropy(as_float64, torch.from_numpy(labels)))
    assert TASK.loss({"output": table}, labels) == pytest.approx(expected, rel=1e-14)
