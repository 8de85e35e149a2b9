"""The accuracy that is lost against the reference, on the same samples."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

from quantbench.errors import NoEvidenceError
from quantbench.quantities.bounds import PercentagePoints
from quantbench.quantities.interface import Column, Quantity
from quantbench.quantities.looking import (
    Shown,
    by_looks,
    interval_of,
    last_text,
    loss_question,
    sampled,
    verdict_of,
)
from quantbench.quantities.of_task import needs_bits
from quantbench.records.run import Accuracy
from quantbench.records.samples import Samples
from quantbench.stats.early_verdict import Side
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Outcome, Verdict, at_most

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.question import Question
    from quantbench.experiment.run import Run
    from quantbench.stats.paired import PairedOutcomes


class AccuracyDrop(Quantity[Accuracy]):
    """Largest accepted drop against the baseline, percentage points on the same samples."""

    name = "accuracy_drop_pp"
    part = "accuracy"
    record = Accuracy
    bound: ClassVar[Any] = PercentagePoints
    smaller_is_looser = False
    by_interval = True
    columns: ClassVar[tuple[Column[Any], ...]] = (
        Column("accuracy %", lambda a: f"{100 * a.quantized:.2f}{part_text(a.samples)}"),
        Column(
            "drop pp [95 %]",
            lambda a: f"{a.drop_pp:+.2f} [{a.drop_interval_pp[0]:+.2f}, {a.drop_interval_pp[1]:+.2f}]",
            of_reference=False,
        ),
    )

    def why_not(self, experiment: Experiment) -> str | None:
        """Other scores than 0 and 1 are no accuracy."""
        return needs_bits(experiment)

    def measure(self, run: Run) -> Accuracy:
        """Both models on the test split.

        Raises:
            NoEvidenceError: if scores are not 0 and 1.
        """
        from quantbench.experiment.accuracy import ACCURACY_LEVEL, paired_accuracy
        from quantbench.experiment.clusters import Grouping

        if not run.opened.task.is_binary:
            raise NoEvidenceError(str(needs_bits(run.experiment)))
        looked, grouping = sampled(run), Grouping.of(run, ACCURACY_LEVEL)
        if looked is not None:
            return paired_accuracy(looked.before, looked.after, looked, grouping)
        return paired_accuracy(run.reference_evaluation, run.evaluation, None, grouping)

    def question(self, run: Run, bound: Any) -> Question | None:
        """A loss against the reference."""
        return loss_question(run.opened.task, bound / 100)

    def judge(self, run: Run, measured: Accuracy, bound: float) -> Verdict:
        """By Tango's interval."""
        return judge_drop(run, measured, bound, self.name)


ACCURACY_DROP = AccuracyDrop()


def judge_drop(run: Run, a: Accuracy, bound: float, gate: str) -> Verdict:
    """A drop on the same samples against the largest accepted one.

    Args:
        run: whose session shares its false alarms among all gates.
        a: two models on the same samples.
        bound: percentage points.
        gate: name of the quantity.
    """
    from quantbench.experiment.accuracy import ACCURACY_LEVEL
    from quantbench.stats.paired import PairedOutcomes, samples_to_decide, tango_interval

    decided = by_looks(run, gate)
    own = Interval(*a.drop_interval_pp, a.level) if decided is None else interval_of(decided, ACCURACY_LEVEL, 100)
    low, high = own.low, own.high
    of = "" if a.samples is None else a.samples.text()
    measured = (
        f"{a.drop_pp:.2f} pp [{low:.2f}, {high:.2f}] ({100 * a.fp32:.2f} % → {100 * a.quantized:.2f} %, n={a.n:,}{of}: "
        f"{a.lost} lost, {a.gained} gained)"
    )
    outcomes, level = PairedOutcomes(a.n, a.lost, a.gained), strict_level(run, a.level)
    scale, told = (1.0, "") if a.clustered is None else (a.clustered.scale(), a.clustered.text())
    tells = a.clustered is None or a.clustered.interval_pp is not None
    measured += told + (detectable_text(outcomes, a.level, scale) if tells else "")
    if decided is not None:
        return verdict_of(gate, decided, Side.AT_MOST, a.drop_pp, Shown(own, bound, a.n, measured, " pp"))
    measured += last_text(run, a.level)
    wider = tango_interval(outcomes, level)
    strict = Interval(100 * wider.low, 100 * wider.high, level)
    if a.clustered is not None:
        strict = Interval(*(a.clustered.strict_pp or (-100.0, 100.0)), a.clustered.strict_level)
    verdict = at_most(gate, a.drop_pp, Interval(low, high, a.level), bound, a.n, measured, " pp", strict)
    if verdict.outcome is not Outcome.INCONCLUSIVE or not tells:
        return verdict
    needed = samples_to_decide(outcomes, bound / 100, level if low > bound else a.level)
    how_many = "no number of samples" if needed is None else f"about {ceil(scale**2 * needed):,} samples"
    return replace(verdict, measured=f"{measured}; {how_many} changing at these rates would decide")


def strict_level(run: Run, level: float) -> float:
    """Level of the interval that a FAIL needs beyond its bound.

    Args:
        run: whose session shares its false alarms among all gates.
        level: of the gate's own interval.
    """
    from quantbench.experiment.accuracy import ACCURACY_LEVEL

    wide = run.settings.family.level(ACCURACY_LEVEL)
    return max(level, wide if run.sampling is None else run.sampling.level(wide))


def part_text(samples: Samples | None) -> str:
    """Words about a part of the samples in a table, such as ` (n = 7,424 of 50,000)`; empty where all are used."""
    return f" (n = {samples.used:,}{samples.text()})" if samples is not None and samples.is_part else ""


def detectable_text(outcomes: PairedOutcomes, level: float, scale: float = 1.0) -> str:
    """Words about the least drop that so many samples could detect, beside a verdict.

    Args:
        outcomes: counts of the samples that changed.
        level: of the interval.
        scale: factor of a standard error of independent samples that clusters make of it.
    """
    from quantbench.stats.power import least_drop

    return f"; a drop of {100 * scale * least_drop(outcomes, level):.2f} pp would be detected (power 80 %)"
