"""The rows of a batch that a training is about: of samples, tokens and pixels, without those that do not count."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from quantbench.errors import EvaluationError, TrainingError
from quantbench.training.objective import rows_of

torch.manual_seed(0)


def test_logits_of_samples_are_left_as_they_are():
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 0])
    found = rows_of(logits, labels)
    assert found[0] is logits
    assert found[1] is labels


def test_tokens_and_pixels_give_the_loss_of_torch_over_those_that_count():
    logits, labels = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    labels[0, 3:] = -100
    rows, of_rows = rows_of(logits, labels)
    assert len(rows) == 8
    torch.testing.assert_close(cross_entropy(rows, of_rows), cross_entropy(logits.transpose(1, 2), labels))
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    labels[1, 0] = 255
    rows, of_rows = rows_of(logits, labels)
    assert len(rows) == 28
    torch.testing.assert_close(cross_entropy(rows, of_rows), cross_entropy(logits, labels, ignore_index=255))


@pytest.mark.parametrize(
    ("shape", "labels", "error", "told"),
    [
        ((2, 5, 7), torch.zeros(2, 4, dtype=torch.int64), EvaluationError, r"expected \[n, places, vocabulary\]"),
        (
            (2, 5),
            torch.zeros(2, 5, dtype=torch.int64),
            EvaluationError,
            r"the model gave \[2, 5\] for targets \[2, 5\]",
        ),
        ((2, 3, 4, 5), torch.zeros(2, 4, 4, dtype=torch.int64), EvaluationError, r"\[n, classes, height, width\]"),
        ((2, 5, 7), torch.full((2, 5), 7), EvaluationError, "a label is 7"),
        ((2, 5, 7), torch.full((2, 5), -100), TrainingError, "all are masked"),
        ((2, 1), torch.zeros(2), TrainingError, "the targets are no integers"),
    ],
)
def test_what_cannot_be_trained_is_refused(shape, labels, error, told):
    with pytest.raises(error, match=told):
        rows_of(torch.zeros(shape), labels)
