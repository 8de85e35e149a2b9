"""The figure of a task whose scores are not 0 and 1 against what was last accepted, on the same samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantbench.quantities.accuracy_vs_accepted import (
    change_by_looks,
    circumstances,
    comparable,
    date_of,
    looked_at,
    total_of,
)
from quantbench.quantities.looking import by_looks, decided_text, interval_of, last_text, loss_against
from quantbench.quantities.score_drop import ScoreDrop, drop_text, shown
from quantbench.records.scores import Score
from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change, change_of
from quantbench.stats.verdicts import Outcome, Verdict, of_change

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.figures import Paired
    from quantbench.experiment.question import Question
    from quantbench.experiment.run import Run
    from quantbench.golden.accepted import AcceptedResult
    from quantbench.tasks.interface import Task

# Margins where none is given: as shares of the task's range, and of the accepted figure of a task without one.
SHARE_OF_RANGE, SHARE_OF_FIGURE = 0.005, 0.01


class ScoreVsAccepted(ScoreDrop):
    """Per-sample scores now against those that were accepted, by the interval of `score_drop` and a margin."""

    name = "score_vs_accepted"
    bound = None
    columns = ()

    def bound_of(self, experiment: Experiment) -> float | None:
        """The margin of the workload; None where it follows from the task."""
        return experiment.workload.config.regression.score

    def question(self, run: Run, bound: Any) -> Question | None:
        """A loss against what was accepted of the same samples; None where nothing was that can be compared."""
        task, config = run.opened.task, run.experiment.workload.config
        accepted = comparable(run, len(run.opened.splits.test), self.name, "")
        if isinstance(accepted, Verdict) or accepted.scores is None or accepted.task != config.task.name:
            return None
        then = accepted.statistics
        if not task.is_mean or then.shape[1] != 1:
            return None
        margin = margin_of_score(run, task, task.figure(then))
        return loss_against(task, margin, lambda positions, _: then[positions, 0])

    def judge(self, run: Run, measured: Score, bound: Any) -> Verdict:
        """By the interval that fits the task, and a margin."""
        unit, given = measured.unit, run.experiment.workload.config.regression.score
        words = "half a hundredth of its range, or a hundredth of it," if given is None else f"{given:g}"
        found = comparable(
            run, total_of(measured.n, measured.samples), self.name, f"at most {words} worse than accepted ({unit})"
        )
        return found if isinstance(found, Verdict) else _compared(run, found, measured)

    def accept(self, experiment: Experiment) -> str:
        """The command that updates the accepted result."""
        from quantbench.golden.acceptance import accept_command

        return accept_command(experiment.id)


SCORE_VS_ACCEPTED = ScoreVsAccepted()


def _compared(run: Run, accepted: AcceptedResult, measured: Score) -> Verdict:
    from quantbench.experiment.clusters import clusters_of
    from quantbench.experiment.figures import detectable, paired
    from quantbench.experiment.score import SEQUENCE
    from quantbench.records.scores import rounded

    name, task, levels = SCORE_VS_ACCEPTED.name, run.opened.task, (measured.level, measured.strict_level)
    positions, after = looked_at(run)
    now = rounded(after.scores)
    if accepted.scores is None or accepted.task != measured.task or accepted.statistics.shape[1:] != now.shape[1:]:
        was = "scores of 0 and 1" if accepted.task is None else f"scores of task '{accepted.task}'"
        text = f"the accepted result holds {was}, this run's are of task '{measured.task}'; accept again"
        return Verdict(name, Outcome.FAIL, None, None, None, 0, text, "scores of the same task")
    found = paired(task, accepted.statistics[positions], now, levels, clusters_of(run))
    margin = margin_of_score(run, task, task.figure(accepted.statistics))
    requirement = f"at most {margin:.3g} worse than accepted ({measured.unit})"
    if (decided := by_looks(run, name)) is not None:
        from quantbench.experiment.accuracy import ACCURACY_LEVEL

        loss = interval_of(decided, ACCURACY_LEVEL)
        text = _text(run, accepted, replace(found, intervals=(loss, loss), method=SEQUENCE), measured)
        change = change_by_looks(decided, loss, margin)
        text += decided_text(decided)
        return of_change(name, change, found.drop, loss, margin, measured.n, text, requirement)
    text = _text(run, accepted, found, measured) + last_text(run, measured.level)
    if (least := detectable(found, measured.level)) is not None:
        text += f"; a loss of {least:.2g} would be detected (power 80 %)"
    own, strict = found.intervals
    if own is None or strict is None:
        text += f"; {found.changed:,} changed samples tell no interval; measure on more"
        change = Change.INCONCLUSIVE
        return Verdict(name, Outcome.INCONCLUSIVE, found.drop, None, margin, measured.n, text, requirement, change)
    change = change_of(own, margin, strict)
    if change is Change.INCONCLUSIVE and not found.changed and not circumstances(run, accepted):
        # The same inputs gave the same scores, so that there is nothing to estimate.
        change = Change.SAME
    return of_change(name, change, found.drop, own, margin, measured.n, text, requirement)


def margin_of_score(run: Run, task: Task, accepted: float) -> float:
    given = run.experiment.workload.config.regression.score
    if given is not None:
        return given
    low, high = task.range
    return SHARE_OF_FIGURE * abs(accepted) if low is None or high is None else SHARE_OF_RANGE * (high - low)


def _text(run: Run, accepted: AcceptedResult, found: Paired, measured: Score) -> str:
    own: Interval | None = found.intervals[0]
    limits = None if own is None else (own.low, own.high)
    of = "" if measured.samples is None else measured.samples.text()
    changed = circumstances(run, accepted)
    beside = f"; also changed: {', '.join(changed)}" if changed else ""
    return (
        f"{drop_text(found.drop, limits)} since {date_of(accepted)} ({measured.unit} {found.before:.4g} → "
        f"{measured.candidate:.4g} {shown(measured.candidate_interval)}, n={measured.n:,}{of}: "
        f"{found.changed:,} changed, {found.method}){beside}"
    )
