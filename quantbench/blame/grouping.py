"""Layers that help only together: pairs first, then one more at a time, by the error of the outputs on few samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from quantbench.backends.insides import Insides
from quantbench.blame.budget import Budget
from quantbench.blame.looking import Looked, error_with
from quantbench.tasks.interface import Task

# Layers that pairs are made of, and the largest group.
MOST_IN_PAIRS, LARGEST = 6, 4
# Part of the time after which no more groups are tried.
MOST_FOR_GROUPS = 0.8


def groups(looked: Looked, insides: Insides, task: Task, budget: Budget) -> Iterator[tuple[str, ...]]:
    """The pair that removes most of the error of the outputs, then that with one more layer, and so on.

    Args:
        looked: with every layer put back alone.
        insides: opened.
        task: tells the kind of outputs.
        budget: counts the forwards; there are no more groups once most of it is used up.
    """
    chosen = candidates(looked)
    group: tuple[str, ...] = ()
    for size in range(2, min(LARGEST, len(chosen)) + 1):
        options = (
            list(combinations(chosen, 2)) if size == 2 else [(*group, each) for each in chosen if each not in group]
        )
        errors = dict[tuple[str, ...], float]()
        for names in options:
            if (error := error_with(looked, insides, names, task, budget, MOST_FOR_GROUPS)) is None:
                return
            errors[names] = error
        group = min(errors, key=lambda names: errors[names])
        yield group


def candidates(looked: Looked) -> Sequence[str]:
    """Those that removed most alone, and those with the largest error of their own, in turns."""
    errors = looked.test or looked.calibration
    own = sorted(looked.removed, key=lambda name: -errors[name].local / max(errors[name].signal, 1e-30))
    mixed = dict.fromkeys(name for both in zip(looked.order, own, strict=True) for name in both)
    return list(mixed)[:MOST_IN_PAIRS]
