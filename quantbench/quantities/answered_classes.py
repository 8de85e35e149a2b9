"""The classes that a model answers at all, and how often: an accuracy can hide that one of them is never given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantbench.errors import NoEvidenceError
from quantbench.quantities.interface import Quantity
from quantbench.quantities.looking import sampled
from quantbench.records.classes import ClassCounts, ClassFacts
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run

# Answers of the reference after which a class that is never given is no accident: a candidate that kept at least half
# of them would lose all five with a probability of 2⁻⁵ < 0.05.
ENOUGH_ANSWERS = 5
# Of the exact tests on all classes together, after which a warning is given.
WARNING_LEVEL = 0.01
# Share of a class's answers by which their number must have changed too: of 10,000 samples a change of a few per cent
# is certain, and means nothing.
WARNING_SHARE = 0.1
SHOWN_CLASSES = 4


class AnsweredClasses(Quantity[ClassFacts]):
    """Every class that the reference answers, or answers rightly, is so answered by the candidate too."""

    name = "answered_classes"
    part = "classes"
    record = ClassFacts

    def why_not(self, experiment: Experiment) -> str | None:
        """Only a task whose outputs name classes has answers to count."""
        from quantbench.registry import TASKS

        task = experiment.workload.config.task
        if TASKS.create(task.name, experiment.workload.where("task"), task.params).has_answers:
            return None
        return f"task '{task.name}' gives samples no class; gate another quantity"

    def measure(self, run: Run) -> ClassFacts:
        """Both models on the test split, class by class.

        Raises:
            NoEvidenceError: if the task has no answers.
        """
        before, after, labels, splits = *_answers(run), run.opened.splits
        if before is None or after is None:
            raise NoEvidenceError(f"task '{run.experiment.workload.config.task.name}' has no answers to count")
        return ClassFacts.of(splits.classes, labels, before, after)

    def judge(self, run: Run, measured: ClassFacts, bound: Any) -> Verdict:
        """FAIL where a class is never answered that the reference answers often; a warning where answers moved.

        No error of its own is shared with other gates: one class that a candidate in order loses by accident takes five
        answers of which each would have to be lost.
        """
        found = [each for each in measured.classes if each.fp32_answers > 0]
        gone = [each for each in found if each.quantized_answers == 0 or (each.quantized == 0 < each.fp32)]
        sure = [
            each
            for each in gone
            if each.fp32 >= ENOUGH_ANSWERS or (each.quantized_answers == 0 and each.fp32_answers >= ENOUGH_ANSWERS)
        ]
        outcome = Outcome.FAIL if sure else Outcome.INCONCLUSIVE if gone else Outcome.PASS
        n = f"n={measured.n:,}{_of_all(run)}"
        answered = f"{len(found) - len(gone)} of the {len(found)} classes that the reference answers ({n})"
        text = "; ".join([answered, *_lost(sure or gone)])
        if gone and not sure:
            few = "answers" if any(each.quantized_answers == 0 for each in gone) else "right answers"
            text += f"; so few {few} may be lost by accident: {ENOUGH_ANSWERS} of a class would decide"
        required = "every class that the reference answers"
        warning = _moved(measured.classes)
        return Verdict(self.name, outcome, None, None, None, measured.n, text, required, warning=warning)


ANSWERED_CLASSES = AnsweredClasses()


def _answers(run: Run) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None, NDArray[np.int64]]:
    """Answers of both models, and labels: of all samples, or of those that were looked at.

    These were chosen so that the classes which the candidate answers are those that it would answer of all samples.
    """
    looked, labels = sampled(run), run.opened.splits.test.labels
    if looked is None or not looked.is_part:
        return run.reference_evaluation.answers, run.evaluation.answers, labels
    parts = [(looked.positions, looked.before.answers, looked.after.answers)]
    if looked.others is not None:
        positions, before, after = looked.others
        parts.append((positions, before.answers, after.answers))
    if any(each is None for part in parts for each in part):
        return None, None, labels
    import numpy as np

    positions, first, second = (np.concatenate(each) for each in zip(*parts, strict=True))
    return first, second, labels[positions]


def _of_all(run: Run) -> str:
    """Words about all samples where fewer were looked at."""
    part = run.sampling is not None and run.sampling.is_part
    return f" of {run.sampling.total:,}, which decide it for all" if part and run.sampling else ""


def _lost(classes: list[ClassCounts]) -> list[str]:
    """Classes that are never answered, and those never rightly, each with the number of answers that were lost."""
    never = {each.name: each.fp32_answers for each in classes if each.quantized_answers == 0}
    never_rightly = {each.name: each.fp32 for each in classes if each.quantized_answers > 0}
    kinds = (("never answered", never), ("answered, but never rightly", never_rightly))
    return [f"{kind}: {_named(lost)}" for kind, lost in kinds if lost]


def _named(lost: dict[str, int]) -> str:
    worst = sorted(lost.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    more = f" and {len(lost) - SHOWN_CLASSES} more" if len(lost) > SHOWN_CLASSES else ""
    return ", ".join(f"'{name}' ({n:,} times by the reference)" for name, n in worst) + more


def _moved(classes: list[ClassCounts]) -> str:
    """Warning about the class whose answers changed most surely in number; empty if none surely did.

    McNemar's exact test for each class, on the samples that only one of the two models takes for it, with Bonferroni's
    correction for the number of classes.
    """
    from quantbench.stats.discordant import p_value_of_change
    from quantbench.stats.paired import PairedOutcomes

    tested = []
    for each in classes:
        changed = each.answers_lost + each.answers_gained
        if abs(each.answers_gained - each.answers_lost) > WARNING_SHARE * each.fp32_answers:
            p = p_value_of_change(PairedOutcomes(changed, each.answers_lost, each.answers_gained))
            tested.append((p * len(classes), each))
    p, worst = min(tested, key=lambda pair: pair[0], default=(1.0, None))
    if worst is None or p > WARNING_LEVEL:
        return ""
    return (
        f"the answers moved: '{worst.name}' is given {worst.quantized_answers:,} times, by the reference "
        f"{worst.fp32_answers:,} times (exact test, corrected for {len(classes)} classes, p = {p:.2g})"
    )
