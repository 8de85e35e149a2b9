"""Answers of two revisions on the same samples, judged by the rules and margins of accepted results."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.experiment.accuracy import ACCURACY_LEVEL
from quantbench.experiment.clusters import Grouping, clusters_of
from quantbench.experiment.figures import detectable, paired
from quantbench.experiment.result import margin_of
from quantbench.experiment.run import Run
from quantbench.measure.evaluation import Evaluation
from quantbench.quantities.accuracy_drop import detectable_text, strict_level
from quantbench.quantities.score_vs_accepted import margin_of_score
from quantbench.records.against import ACCURACY, SCORE, Figures
from quantbench.stats.discordant import p_value_of_change
from quantbench.stats.intervals import Interval
from quantbench.stats.paired import PairedOutcomes, samples_to_decide, tango_interval
from quantbench.stats.regression import Change, change_of
from quantbench.stats.verdicts import Outcome, Verdict, of_change

# Percentage points.
ALL = 100.0


def compared_answers(
    run: Run, before: Evaluation | str, base: str, changed: Sequence[str], is_same: bool
) -> tuple[Figures | None, Verdict]:
    """Figures of both, and the verdict on what was lost.

    Args:
        run: of now.
        before: the base on the same samples; or why there is nothing to compare, in words.
        base: its name.
        changed: what else differs, in words.
        is_same: both models are the same, so that there is nothing to estimate.
    """
    is_binary = run.opened.task.is_binary
    if isinstance(before, str):
        name = ACCURACY if is_binary else SCORE
        requirement = f"no worse than {base}"
        return None, Verdict(name, Outcome.INCONCLUSIVE, None, None, None, 0, before, requirement, Change.INCONCLUSIVE)
    beside = f"; also changed: {', '.join(changed)}" if changed else ""
    judged = _accuracy if is_binary else _score
    return judged(run, before, base, f"; both models are the same{beside}" if is_same else beside, is_same)


def _accuracy(run: Run, before: Evaluation, base: str, beside: str, is_same: bool) -> tuple[Figures, Verdict]:
    after, margin = run.evaluation, margin_of(run).accuracy_pp
    outcomes, wide = PairedOutcomes.from_correct(before.correct, after.correct), strict_level(run, ACCURACY_LEVEL)
    grouping = Grouping.of(run, ACCURACY_LEVEL)
    if grouping is None:
        loss, strict = (_pp(tango_interval(outcomes, level), level) for level in (ACCURACY_LEVEL, wide))
    else:
        found = grouping.paired(before.scores, after.scores).intervals
        loss, strict = (_pp(each, ACCURACY_LEVEL) for each in found)
    change = Change.SAME if is_same else change_of(loss, margin, strict)
    flips = f"{outcomes.lost} lost, {outcomes.gained} gained, exact test p = {p_value_of_change(outcomes):.2g}"
    text = (
        f"{ALL * outcomes.drop:.2f} pp lost [{loss.low:.2f}, {loss.high:.2f}] since {base} "
        f"({ALL * before.accuracy:.2f} % → {ALL * after.accuracy:.2f} %, n={outcomes.n:,}: {flips})"
        f"{'' if is_same else detectable_text(outcomes, ACCURACY_LEVEL)}{beside}"
    )
    if change is Change.INCONCLUSIVE:
        needed = samples_to_decide(outcomes, margin / ALL, wide if loss.low > margin else ACCURACY_LEVEL)
        how_many = "no number of samples" if needed is None else f"about {needed:,} samples"
        text += f"; {how_many} changing at these rates would decide"
    figures = Figures(
        unit="accuracy", base=before.accuracy, head=after.accuracy, drop=ALL * outcomes.drop,
        interval=(loss.low, loss.high), level=ACCURACY_LEVEL, n=outcomes.n, lost=outcomes.lost, gained=outcomes.gained,
    )  # fmt: skip
    requirement = f"at most {margin:g} pp below {base}"
    return figures, of_change(ACCURACY, change, figures.drop, loss, margin, outcomes.n, text, requirement)


def _pp(interval: Interval | None, level: float) -> Interval:
    """In percentage points; anything where clusters tell none."""
    if interval is None:
        return Interval(-ALL, ALL, level)
    return Interval(ALL * interval.low, ALL * interval.high, interval.level)


def _score(run: Run, before: Evaluation, base: str, beside: str, is_same: bool) -> tuple[Figures, Verdict]:
    task, after = run.opened.task, run.evaluation
    levels = (ACCURACY_LEVEL, strict_level(run, ACCURACY_LEVEL))
    found = paired(task, before.statistics, after.statistics, levels, clusters_of(run), with_own=False)
    margin, n = margin_of_score(run, task, found.before), len(after.scores)
    own, strict = found.intervals
    requirement = f"at most {margin:.3g} worse than {base} ({task.unit})"
    limits = "" if own is None else f" [{own.low:.3g}, {own.high:.3g}]"
    text = (
        f"{found.drop:.3g} lost{limits} since {base} ({task.unit} {found.before:.4g} → {found.after:.4g}, n={n:,}: "
        f"{found.changed:,} changed, {found.method}){beside}"
    )
    figures = Figures(
        unit=task.unit, base=found.before, head=found.after, drop=found.drop,
        interval=None if own is None else (own.low, own.high), level=ACCURACY_LEVEL, n=n,
    )  # fmt: skip
    if is_same:
        loss = own or Interval(0.0, 0.0, ACCURACY_LEVEL)
        return figures, of_change(SCORE, Change.SAME, found.drop, loss, margin, n, text, requirement)
    if (least := detectable(found, ACCURACY_LEVEL)) is not None:
        text += f"; a loss of {least:.2g} would be detected (power 80 %)"
    if own is None or strict is None:
        text += f"; {found.changed:,} changed samples tell no interval; measure on more"
        return figures, Verdict(
            SCORE, Outcome.INCONCLUSIVE, found.drop, None, margin, n, text, requirement, Change.INCONCLUSIVE
        )
    change = change_of(own, margin, strict)
    return figures, of_change(SCORE, change, found.drop, own, margin, n, text, requirement)
