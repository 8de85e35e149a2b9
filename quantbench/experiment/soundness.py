"""Signs that a model's figures mean nothing: an accuracy that takes no model, and outputs that no label reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.experiment.figures import figure_intervals
from quantbench.stats.answers import MixUp, balanced_accuracy, mix_up, uninformative_accuracy
from quantbench.stats.discordant import p_value_of_change
from quantbench.stats.intervals import Interval
from quantbench.stats.paired import PairedOutcomes
from quantbench.stats.proportions import wilson_interval

if TYPE_CHECKING:
    from quantbench.backends.interface import Predictor
    from quantbench.experiment.workload import OpenWorkload
    from quantbench.measure.evaluation import Evaluation

# Of the exact test by which outputs seem to be mixed up although the accuracy is no accident.
SUSPICION_LEVEL = 1e-4
# Share of the way from an accuracy that takes no model to 1 that must be sure, or a warning is given.
LITTLE_SKILL = 0.1
# Classes that are listed; the rest is counted.
SHOWN_CLASSES = 20
LEVEL = 0.95


@dataclass(frozen=True)
class Soundness:
    """Signs in the answers of a model.

    Attributes:
        doubt: why the accuracy may be one that takes no model; empty where it surely takes one.
        notes: lines about what looks odd otherwise.
        is_weak: the first of them says that the accuracy is hardly more than one that takes no model.
    """

    doubt: str = ""
    notes: list[str] = field(default_factory=list)
    is_weak: bool = False

    @property
    def lines(self) -> list[str]:
        """Warnings, where nothing is refused."""
        doubt = f"warning: {self.doubt}; experiments on this baseline compare broken with broken"
        return [doubt, *self.notes] if self.doubt else self.notes


def soundness(opened: OpenWorkload, evaluation: Evaluation) -> Soundness:
    """Looks through the answers of a model on the test split; of a task without answers at its figure alone.

    Where the accuracy is not surely more than the share of the commonest class, the mean recall of all classes may
    still be more than 1 / classes, which is that of any constant answer: then the model is none.
    """
    if evaluation.answers is None or evaluation.scores.ndim != 1:
        return _by_chance(opened, evaluation)
    answers, labels, classes = evaluation.answers, np.array(opened.splits.test.labels), opened.splits.classes
    blank = uninformative_accuracy(labels, len(classes))
    n, right = len(labels), int(evaluation.correct.sum())
    interval = wilson_interval(right, n)
    found = mix_up(answers, labels, blank)
    balanced, chance = balanced_accuracy(answers, labels), 1 / len(np.unique(labels))
    cause = _named(found, classes) if found else "compare model, preprocessing (size, mean, std) and order of classes"
    accuracy = f"accuracy {_shown(right / n, interval)} (n={n:,})"
    constant = f"the {100 * blank:.2f} % of giving every sample one class"
    if interval.low <= blank and balanced[1].low <= chance:
        return Soundness(doubt=f"{accuracy} is not surely more than {constant}: {cause}")
    mixed = [f"warning: {_named(found, classes)}"] if found and _is_surely(found, answers, labels) else []
    if interval.low <= blank:
        note = (
            f"warning: {accuracy} is not surely more than {constant}, but the mean recall of all classes, "
            f"{_shown(*balanced)}, is more than the {100 * chance:.2f} % of that; bound worst_class_drop_pp, since of "
            "so uneven classes an accuracy tells little"
        )
    elif max(_skill(interval, blank), _skill(balanced[1], chance)) < LITTLE_SKILL:
        note = (
            f"warning: {accuracy} is hardly more than {constant}: of all that a model can add to that, less than "
            f"{100 * LITTLE_SKILL:.0f} % is sure; {cause}"
        )
    else:
        return Soundness(notes=mixed)
    return Soundness(notes=[note, *mixed], is_weak=True)


def _by_chance(opened: OpenWorkload, evaluation: Evaluation) -> Soundness:
    """Doubt of a figure that is not surely better than the best one that takes no model; none where that is unknown."""
    task = opened.task
    chance = task.chance(np.array(opened.splits.test.labels))
    if chance is None:
        return Soundness()
    statistics, scale = evaluation.statistics, 100.0 if task.is_binary else 1.0
    figure = task.figure(statistics)
    if task.is_binary:
        interval: Interval | None = wilson_interval(int(evaluation.correct.sum()), len(statistics))
    else:
        (interval,) = figure_intervals(task, statistics, [LEVEL], opened.splits.test.groups)
    low, high = (figure, figure) if interval is None else (interval.low, interval.high)
    if low > chance if task.higher_is_better else high < chance:
        return Soundness()
    percent = " %" if task.is_binary else ""
    limits = "" if interval is None else f" [{scale * low:.4g}, {scale * high:.4g}]"
    return Soundness(
        doubt=(
            f"{task.unit} {scale * figure:.4g}{percent}{limits} (n={len(statistics):,}) is not surely better than the "
            f"{scale * chance:.4g}{percent} of giving every sample one answer: compare model, preprocessing and targets"
        )
    )


def spare_outputs(opened: OpenWorkload, predictor: Predictor) -> list[str]:
    """Line about outputs that no label can ever reach, of a task whose outputs name classes."""
    from quantbench.measure.evaluation import inputs_of

    outputs = list(opened.task.chosen(predictor(next(inputs_of(opened.splits.test, 1, 1))), 1).values())
    n_classes = len(opened.splits.classes)
    if not opened.task.has_answers or len(outputs) != 1 or outputs[0].ndim < 2 or outputs[0].shape[1] <= n_classes:
        return []
    return [
        f"warning: the model has {outputs[0].shape[1]:,} outputs, but the data {n_classes:,} classes: an answer beyond "
        "them is never right; name the class of each output in data.classes, or size the head for the data (n_classes)"
    ]


def _skill(interval: Interval, blank: float) -> float:
    """Share of the way from an accuracy that takes no model to 1 that is sure."""
    return (interval.low - blank) / (1 - blank) if blank < 1 else 0.0


def _shown(share: float, interval: Interval) -> str:
    return f"{100 * share:.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _is_surely(found: MixUp, answers: NDArray[np.int64], labels: NDArray[np.int64]) -> bool:
    """True if the answers, read through the mix-up, are surely right more often than as they are."""
    read = np.array([found.class_of.get(int(answer), -1) for answer in answers])
    outcomes = PairedOutcomes.from_correct(answers == labels, read == labels)
    return outcomes.gained > outcomes.lost and p_value_of_change(outcomes) < SUSPICION_LEVEL


def _named(found: MixUp, classes: Sequence[str]) -> str:
    """The first output of a mix-up, what it comes from, and the order of classes that mends it."""
    wrong = [(output, label) for output, label in sorted(found.class_of.items()) if output != label]
    output, label = wrong[0]
    name = classes[label] if label < len(classes) else f"class {label}"
    sorted_as_text = list(classes) != sorted(classes, key=_numerically) and all(each.isdecimal() for each in classes)
    why = f": folders sort {', '.join(classes[:3])}" if sorted_as_text else ""
    order = [found.class_of.get(i, -1) for i in range(len(classes))]
    if sorted(order) == list(range(len(classes))) and len(classes) <= SHOWN_CLASSES:
        mend = f"set data.classes: [{', '.join(classes[i] for i in order)}]"
    else:
        mend = "set data.classes to the names in the order of the model's outputs"
    return (
        f"output {output} answers '{name}'{why}; with {len(wrong)} outputs read so, {100 * found.accuracy:.2f} % are "
        f"right of {found.n:,} samples (the order was found on the others); {mend}"
    )


def _numerically(name: str) -> int:
    return int(name) if name.isdecimal() else 0
