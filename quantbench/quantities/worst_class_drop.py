"""The class that loses most recall: the mean over all samples hides what happens to a rare one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.quantities.answered_classes import AnsweredClasses
from quantbench.quantities.bounds import PercentagePoints
from quantbench.quantities.of_task import task_of
from quantbench.records.classes import ClassCounts, ClassFacts
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run

LEVEL = 0.95


class WorstClassDrop(AnsweredClasses):
    """Largest accepted drop of the recall of any class, percentage points on the same samples.

    PASS needs every class's own interval within the bound: the claim that all of them are is then wrong no more often
    than that of one (intersection-union test: R. L. Berger, Technometrics 24 (1982) 295–300). FAIL needs the interval
    of one class wholly beyond it, at a level corrected for the number of classes and of gates (Bonferroni).
    """

    name = "worst_class_drop_pp"
    bound = PercentagePoints
    needs_all = True
    smaller_is_looser = False
    by_interval = True

    def why_not(self, experiment: Experiment) -> str | None:
        """Only a task whose outputs name classes has a recall of each."""
        task, name = task_of(experiment), experiment.workload.config.task.name
        if task.has_answers:
            return None
        gate = "accuracy_drop_pp, in percentage points" if task.is_binary else f"score_drop, in {task.unit}"
        return f"task '{name}' gives samples no class, of which a recall could drop; gate {gate}"

    def judge(self, run: Run, measured: ClassFacts, bound: float) -> Verdict:
        """By Tango's interval of each class."""
        classes = [each for each in measured.classes if each.n]
        level = 1 - (1 - run.settings.family.level(LEVEL)) / len(classes)
        own = {each.name: _drop(each, LEVEL) for each in classes}
        strict = {each.name: _drop(each, level) for each in classes}
        worst = max(classes, key=lambda each: (strict[each.name].low, own[each.name].high))
        if strict[worst.name].low > bound:
            outcome = Outcome.FAIL
        else:
            outcome = Outcome.PASS if all(each.high <= bound for each in own.values()) else Outcome.INCONCLUSIVE
            # The one that is least sure to be within.
            worst = max(classes, key=lambda each: own[each.name].high)
        interval = own[worst.name]
        drop = 100 * (worst.lost - worst.gained) / worst.n
        text = (
            f"{drop:.2f} pp [{interval.low:.2f}, {interval.high:.2f}] of '{worst.name}' (recall "
            f"{100 * worst.fp32 / worst.n:.2f} % → {100 * worst.quantized / worst.n:.2f} %, n={worst.n:,}: "
            f"{worst.lost} lost, {worst.gained} gained), of {len(classes)} classes{_sensitivity(classes, worst)}"
        )
        return Verdict(self.name, outcome, drop, interval, bound, worst.n, text, f"at most {bound:g} pp of any class")


WORST_CLASS_DROP = WorstClassDrop()


def _sensitivity(classes: list[ClassCounts], worst: ClassCounts) -> str:
    """Words about the least drop that so many samples of a class could detect, and of the rarest class."""
    from quantbench.stats.paired import PairedOutcomes
    from quantbench.stats.power import least_drop

    def least(each: ClassCounts) -> float:
        return 100 * least_drop(PairedOutcomes(each.n, each.lost, each.gained), LEVEL)

    hardest = max(classes, key=least)
    of_hardest = "" if hardest is worst else f", of '{hardest.name}' (n={hardest.n:,}) one of {least(hardest):.2f} pp"
    return f"; a drop of {least(worst):.2f} pp of it would be detected{of_hardest} (power 80 %)"


def _drop(counts: ClassCounts, level: float) -> Interval:
    from quantbench.stats.paired import PairedOutcomes, tango_interval

    interval = tango_interval(PairedOutcomes(counts.n, counts.lost, counts.gained), level)
    return Interval(100 * interval.low, 100 * interval.high, level)
