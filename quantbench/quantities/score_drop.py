"""The score that is lost against the reference, on the same samples, of tasks whose scores are not 0 and 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import FiniteFloat

from quantbench.quantities.accuracy_drop import part_text
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
from quantbench.quantities.of_task import needs_scores, task_of
from quantbench.records.scores import Limits, Score
from quantbench.registry import FLOORS
from quantbench.stats.early_verdict import Side
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Outcome, Verdict, at_most

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.question import Question
    from quantbench.experiment.run import Run
    from quantbench.stats.sampled_mean import MeanSequence


class ScoreDrop(Quantity[Score]):
    """Largest accepted loss of the task's figure, in its unit; positive is worse, whichever direction is better."""

    name = "score_drop"
    part = "score"
    record = Score
    bound: ClassVar[Any] = FiniteFloat
    smaller_is_looser = False
    by_interval = True
    columns: ClassVar[tuple[Column[Any], ...]] = (
        Column("score", lambda s: f"{s.candidate:.4g} {s.unit}{part_text(s.samples)}", everywhere=False),
        Column(
            "lost [95 %]", lambda s: f"{s.drop:+.3g} {shown(s.interval, '+.3g')}", of_reference=False, everywhere=False
        ),
    )

    def why_not(self, experiment: Experiment) -> str | None:
        """Scores of 0 and 1 are compared as an accuracy; a loss of the whole range would hold of any model."""
        if reason := needs_scores(experiment):
            return reason
        task, bound = task_of(experiment), self.bound_of(experiment)
        low, high = task.range
        if bound is None or low is None or high is None or bound < high - low:
            return None
        return (
            f"{task.unit} goes from {low:g} to {high:g}, so that no model loses more than {bound:g}; write what it may "
            "lose in that unit, such as 0.01"
        )

    def measure(self, run: Run) -> Score:
        """Both models on the test split."""
        from quantbench.experiment.score import paired_score

        return paired_score(run, sampled(run), floor_of(run))

    def question(self, run: Run, bound: Any) -> Question | None:
        """A loss against the reference."""
        return loss_question(run.opened.task, bound)

    def judge(self, run: Run, measured: Score, bound: float) -> Verdict:
        """By the interval that fits the task."""
        s = measured
        if (decided := by_looks(run, self.name)) is not None:
            return _decided(self.name, s, bound, decided)
        text = f"{drop_text(s.drop, s.interval)} ({s.unit} {s.reference:.4g} → {s.candidate:.4g}, {evidence(s)})"
        text += sensitivity(s) + last_text(run, s.level)
        if s.interval is None or s.strict is None:
            return _untold(self.name, s, s.drop, bound, f"{text}; {too_few(s)}", f"at most {bound:g} lost")
        own, strict = Interval(*s.interval, s.level), Interval(*s.strict, s.strict_level)
        return at_most(self.name, s.drop, own, bound, s.n, text, f" lost ({s.unit})", strict)


SCORE_DROP = ScoreDrop()


def _decided(gate: str, s: Score, bound: float, decided: MeanSequence) -> Verdict:
    from quantbench.experiment.accuracy import ACCURACY_LEVEL

    own = interval_of(decided, ACCURACY_LEVEL)
    text = f"{drop_text(s.drop, (own.low, own.high))} ({s.unit} {s.reference:.4g} → {s.candidate:.4g}, {evidence(s)})"
    shown_as = Shown(own, bound, s.n, text + sensitivity(s), f" lost ({s.unit})")
    return verdict_of(gate, decided, Side.AT_MOST, s.drop, shown_as)


def floor_of(run: Run) -> MeanSequence | None:
    """The sequence of the candidate's own figure, where a gate asks for it."""
    if run.sampling is None:
        return None
    return next((each for name, each in run.sampling.looks.items() if name in FLOORS.values()), None)


def shown(limits: Limits | None, digits: str = ".4g") -> str:
    """An interval in brackets; a dash within where there is none."""
    return "[–]" if limits is None else f"[{limits[0]:{digits}}, {limits[1]:{digits}}]"


def drop_text(drop: float, interval: Limits | None) -> str:
    """A loss with its interval."""
    return f"{drop:.3g} lost {shown(interval, '.3g')}"


def evidence(score: Score) -> str:
    """Samples behind a figure, and the method of its interval."""
    clusters = "" if score.clusters is None else f" in {score.clusters:,} clusters"
    of = "" if score.samples is None else score.samples.text()
    return f"n={score.n:,}{of}{clusters}: {score.changed:,} changed, {score.method}"


def sensitivity(score: Score) -> str:
    """The least drop that the test set could detect."""
    if score.detectable is None:
        return ""
    return f"; a loss of {score.detectable:.2g} would be detected (power 80 %)"


def too_few(score: Score) -> str:
    """Reason why there is no interval."""
    if score.clusters is not None:
        return f"{score.clusters:,} clusters, or the few samples that changed, tell no interval; measure on more"
    return f"{score.changed:,} changed samples of {score.n:,} tell no interval; measure on more"


def _untold(name: str, score: Score, value: float, bound: float, text: str, required: str) -> Verdict:
    return Verdict(name, Outcome.INCONCLUSIVE, value, None, bound, score.n, text, required)
