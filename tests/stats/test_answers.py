"""A mix-up of outputs is found only where there is one."""

import numpy as np
import pytest

from quantbench.stats.answers import mix_up, uninformative_accuracy

RANDOM = np.random.RandomState(3)


def labels_of(n, classes):
    return RANDOM.randint(0, classes, n)


def test_a_permutation_is_found_through_errors():
    labels = labels_of(2000, 10)
    order = np.array([3, 1, 0, 2, 9, 5, 6, 7, 8, 4])
    answers = np.where(RANDOM.rand(2000) < 0.3, labels_of(2000, 10), order[labels])
    found = mix_up(answers, labels, 0.1)
    assert found is not None
    assert [found.class_of[int(order[label])] for label in range(10)] == list(range(10))
    assert found.accuracy == pytest.approx(0.73, abs=0.05)


@pytest.mark.parametrize(("n", "classes"), [(40, 2), (100, 100), (300, 10), (1000, 50)])
def test_answers_at_random_are_explained_by_no_permutation(n, classes):
    found = [mix_up(labels_of(n, classes), labels_of(n, classes), 1 / classes) for _ in range(40)]
    # By the 97.5 % limit of an interval.
    assert sum(each is not None for each in found) <= 4


def test_answers_that_are_right_need_no_permutation():
    labels = labels_of(500, 5)
    assert mix_up(labels, labels, 0.2) is None


def test_one_answer_for_everything_is_explained_by_none():
    labels = labels_of(500, 5)
    assert mix_up(np.zeros(500, np.int64), labels, uninformative_accuracy(labels, 5)) is None


def test_the_accuracy_without_a_model_is_that_of_the_commonest_class_or_of_guessing():
    assert uninformative_accuracy(np.array([2, 2, 2, 1]), 3) == 0.75
    assert uninformative_accuracy(np.array([0, 1]), 2) == 0.5
