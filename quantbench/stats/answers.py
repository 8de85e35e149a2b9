"""Answers against labels: the accuracy that says nothing, and a mix-up of outputs that would explain a low one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.stats.intervals import Interval
from quantbench.stats.proportions import mean_proportion_interval, wilson_interval

# Seed of the halves on which a mix-up is found and confirmed.
HALVES_SEED = 7


def uninformative_accuracy(labels: NDArray[np.int64], n_classes: int) -> float:
    """The accuracy that takes no model, 0..1: that of the commonest class for every sample, or of guessing.

    Args:
        labels: `[n]`.
        n_classes: of the data.

    Example:
        >>> uninformative_accuracy(np.array([0, 0, 0, 1]), 2)
        0.75
    """
    return max(float(np.bincount(labels).max()) / len(labels), 1.0 / n_classes)


def balanced_accuracy(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[float, Interval]:
    """Mean recall of the classes that have samples, 0..1, with its interval; constant answers have 1 / classes.

    Args:
        answers: output of each sample, `[n]`.
        labels: class of each sample, `[n]`.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))[0]
        0.5
    """
    n = np.bincount(labels)
    right = np.bincount(labels[answers == labels], minlength=len(n))
    present = np.flatnonzero(n)
    interval = mean_proportion_interval([int(right[i]) for i in present], [int(n[i]) for i in present])
    return float(np.mean(right[present] / n[present])), interval


@dataclass(frozen=True)
class MixUp:
    """Outputs that stand for other classes than the labels say.

    Attributes:
        class_of: label that each output stands for, by output; only of outputs that stand for one.
        accuracy: of the answers, so read, on samples by which the mix-up was not found, 0..1.
        n: these samples.
    """

    class_of: dict[int, int]
    accuracy: float
    n: int


def mix_up(answers: NDArray[np.int64], labels: NDArray[np.int64], unexplained: float) -> MixUp | None:
    """The permutation of outputs that explains the answers best, if it explains them at all.

    It is found on one half of the samples and confirmed on the other, since the best of all permutations fits the
    samples that it was found on by chance too.

    Args:
        answers: output of each sample, `[n]`.
        labels: class of each sample, `[n]`.
        unexplained: accuracy that takes no model, which it must surely exceed.

    Returns:
        None where no permutation does better than the outputs as they are, or surely better than no model.

    Source:
        The assignment of the largest sum (H. W. Kuhn, Naval Res. Logist. Q. 2 (1955) 83–97), through scipy.

    Example:
        >>> labels = np.arange(300) % 3
        >>> found = mix_up((labels + 1) % 3, labels, 1 / 3)
        >>> found.class_of, found.accuracy
        ({0: 2, 1: 0, 2: 1}, 1.0)
    """
    from scipy.optimize import linear_sum_assignment

    order = np.random.RandomState(HALVES_SEED).permutation(len(labels))
    found_on, confirmed_on = np.array_split(order, 2)
    if len(confirmed_on) == 0:
        return None
    size = 1 + int(max(answers.max(), labels.max()))
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (answers[found_on], labels[found_on]), 1)
    outputs, classes = linear_sum_assignment(counts, maximize=True)
    class_of = {int(o): int(c) for o, c in zip(outputs, classes, strict=True) if counts[o, c]}
    read = np.array([class_of.get(int(answer), -1) for answer in answers[confirmed_on]])
    right, n = int((read == labels[confirmed_on]).sum()), len(confirmed_on)
    as_they_are = int((answers[confirmed_on] == labels[confirmed_on]).sum())
    if right <= as_they_are or wilson_interval(right, n).low <= unexplained:
        return None
    return MixUp(class_of, right / n, n)
