"""The evaluation loop, sample by sample, and what it refuses."""

import math

import numpy as np
import pytest
import torch

from quantbench.backends.module import ModulePredictor
from quantbench.data.cache import CachedSide
from quantbench.data.source import Normalization
from quantbench.data.splits import Split
from quantbench.errors import EvaluationError
from quantbench.measure import evaluation as evaluation_module
from quantbench.measure.evaluation import Evaluation
from quantbench.measure.evaluation import evaluate as evaluate_predictor
from quantbench.tasks.interface import Task

N_CLASSES = 3


def split_of(labels, pixels=None):
    """One-channel 1×1 images whose stored value is their position."""
    n = len(labels)
    stored = np.arange(n, dtype=np.uint8) if pixels is None else np.array(pixels, dtype=np.uint8)
    side = CachedSide(stored.reshape(n, 1, 1, 1), np.array(labels), np.zeros((n, 16), np.uint8))
    return Split("test", side, None, Normalization(1.0, (0.0,), (1.0,)))


def evaluate(forward, split, batch_size=64):
    """Of a function of tensors."""
    return evaluate_predictor(ModulePredictor(forward), split, batch_size=batch_size)


def says(table):
    """A model that gives row i of the table for the image whose value is i."""
    return lambda x: torch.tensor(table)[x.flatten().long()]


def test_each_sample_is_right_when_its_largest_logit_is_its_label():
    table = [[3.0, 1.0, 2.0], [0.0, 0.0, 1.0], [-1.0, -2.0, -3.0], [0.0, 5.0, 4.0]]
    evaluation = evaluate(says(table), split_of([0, 1, 0, 1]))
    assert evaluation.correct.tolist() == [True, False, True, True]
    assert evaluation.correct.dtype == np.bool_
    assert evaluation.accuracy == 0.75


def test_the_loss_is_the_mean_cross_entropy_over_samples_not_over_batches():
    table = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    by_hand = [
        math.log(math.exp(2) + 2) - 2,
        math.log(math.exp(1) + 2) - 1,
        math.log(3),
    ]
    for batch_size in (1, 2, 3):
        assert evaluate(says(table), split_of([0, 1, 2]), batch_size).loss == pytest.approx(sum(by_hand) / 3)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 100])
def test_a_last_partial_batch_changes_nothing(batch_size):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(7, N_CLASSES, generator=generator).tolist()
    labels = [0, 1, 2, 0, 1, 2, 0]
    sizes = []

    def forward(x):
        sizes.append(len(x))
        return says(table)(x)

    evaluation = evaluate(forward, split_of(labels), batch_size)
    assert evaluation.correct.tolist() == [
        int(np.argmax(row)) == label for row, label in zip(table, labels, strict=True)
    ]
    assert sum(sizes) == 7
    assert sizes[-1] == (7 % batch_size or min(batch_size, 7))


def test_samples_chosen_by_indices_meet_their_own_labels():
    split = split_of([2, 1, 0])
    chosen = Split("search", split.side, np.array([2, 0]), split.normalization)
    table = [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    assert evaluate(says(table), chosen).correct.tolist() == [False, True]


def test_no_gradient_is_kept():
    weight = torch.nn.Parameter(torch.ones(1, N_CLASSES))
    seen = []

    def forward(x):
        logits = x.flatten(1) @ weight
        seen.append(logits.requires_grad)
        return logits

    evaluate(forward, split_of([0, 0]))
    assert seen == [False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("label", [0, 1], ids=["at its label", "elsewhere"])
def test_one_logit_that_is_not_finite_ends_the_evaluation_with_the_place(value, label):
    table = [[1.0, 0.0, 0.0] for _ in range(6)]
    table[4][0] = value
    with pytest.raises(
        EvaluationError, match=r"not finite for 1 of 6 samples of 'test', the first being sample 4; look at its weights"
    ):
        evaluate(says(table), split_of([label] * 6), batch_size=2)


def test_infinities_of_both_signs_do_not_cancel():
    with pytest.raises(EvaluationError, match="not finite"):
        evaluate(says([[math.inf, -math.inf, 0.0]]), split_of([2]))


@pytest.mark.parametrize(
    ("forward", "shape"),
    [
        (lambda x: torch.zeros(len(x)), r"\(5,\)"),
        (lambda x: torch.zeros(len(x), N_CLASSES, 1), r"\(5, 3, 1\)"),
        (lambda x: torch.zeros(len(x) + 1, N_CLASSES), r"\(6, 3\)"),
        (lambda x: torch.zeros(N_CLASSES, len(x)), r"\(3, 5\)"),
    ],
    ids=["no classes", "one axis more", "one sample more", "transposed"],
)
def test_an_output_of_the_wrong_shape_is_named(forward, shape):
    with pytest.raises(EvaluationError, match=rf"the model gave {shape} for 5 samples; expected \[n, classes\]"):
        evaluate(forward, split_of([0, 1, 2, 0, 1]))


def test_fewer_logits_than_classes_are_named_with_what_to_do():
    with pytest.raises(EvaluationError, match=r"gave 2 logits per sample, but a label is 2; size its head .*n_classes"):
        evaluate(lambda x: torch.zeros(len(x), 2), split_of([0, 1, 2]))


def test_an_output_that_is_no_tensor_is_named():
    with pytest.raises(EvaluationError, match=r"the model gave a tuple; expected a tensor of logits"):
        evaluate(lambda x: (x, 1), split_of([0]))


def test_scores_between_0_and_1_are_no_predictions_that_are_right_or_wrong():
    halves = Evaluation(np.array([0.0, 1.0, 0.5]), 0.0)
    assert halves.accuracy == 0.5
    with pytest.raises(EvaluationError, match="scores between 0 and 1 are no predictions"):
        halves.correct  # noqa: B018 — raises


def test_several_outputs_are_named():
    with pytest.raises(EvaluationError, match=r"^the model gave 2 outputs \(a, b\); expected one of logits"):
        evaluate(lambda x: {"a": x, "b": x}, split_of([0]))


class Brightness(Task):
    """A task without labels or a loss: the mean of what the model gives."""

    unit, higher_is_better, is_binary, outputs_name = "brightness", True, False, "pixels"

    def scores(self, outputs, targets):
        return outputs["y"].mean(axis=(1, 2, 3), dtype=np.float64)


def test_another_task_scores_every_sample_in_its_own_words_and_may_have_no_loss():
    predictor = ModulePredictor(lambda x: {"y": x / 4})
    found = evaluate_predictor(predictor, split_of([0, 0, 0]), Brightness(), batch_size=2)
    assert (found.scores.tolist(), found.loss, found.accuracy) == ([0.0, 0.25, 0.5], None, 0.25)
    with pytest.raises(EvaluationError, match=r"^the model's pixels are not finite for 3 of 3 samples"):
        evaluate_predictor(ModulePredictor(lambda x: {"y": x / 0 * 0}), split_of([0, 0, 0]), Brightness())


@pytest.mark.parametrize("bytes_judged", [1, 40])
def test_outputs_that_are_judged_in_parts_give_the_figures_of_all_at_once(monkeypatch, bytes_judged):
    table = torch.randn(7, N_CLASSES, generator=torch.Generator().manual_seed(0)).tolist()
    labels = [0, 1, 2, 0, 1, 2, 0]
    whole = evaluate(says(table), split_of(labels), 2)
    monkeypatch.setattr(evaluation_module, "JUDGED_BYTES", bytes_judged)
    parts = evaluate(says(table), split_of(labels), 2)
    assert parts.scores.tolist() == whole.scores.tolist()
    assert parts.answers.tolist() == whole.answers.tolist()
    assert parts.loss == pytest.approx(whole.loss, rel=1e-14)
    table[5][1] = math.nan
    with pytest.raises(EvaluationError, match=r"not finite for 1 of [67] samples of 'test', the first being sample 5;"):
        evaluate(says(table), split_of(labels), 2)
