"""Is the experiment worse than what was last accepted? The same samples, one by one, then and now."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from quantbench.quantities.accuracy_drop import AccuracyDrop, detectable_text, strict_level
from quantbench.quantities.looking import (
    by_looks,
    decided_text,
    interval_of,
    last_text,
    loss_against,
    sampled,
)
from quantbench.records.run import Accuracy
from quantbench.stats.early_verdict import Side
from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change, change_of
from quantbench.stats.verdicts import Outcome, Verdict, of_change

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.question import Question
    from quantbench.experiment.run import Run
    from quantbench.golden.accepted import AcceptedResult
    from quantbench.measure.evaluation import Evaluation
    from quantbench.measure.gradual import Positions
    from quantbench.records.samples import Samples
    from quantbench.stats.paired import PairedOutcomes
    from quantbench.stats.sampled_mean import MeanSequence


class AccuracyVsAccepted(AccuracyDrop):
    """Per-sample correctness now against what was accepted."""

    name = "accuracy_vs_accepted"
    bound = None
    columns = ()

    def bound_of(self, experiment: Experiment) -> float:
        """The margin of the workload."""
        return experiment.workload.config.regression.accuracy_pp

    def question(self, run: Run, bound: Any) -> Question | None:
        """A loss against what was accepted of the same samples; None where nothing was."""
        from quantbench.experiment.result import margin_of

        accepted = comparable(run, len(run.opened.splits.test), self.name, "")
        if isinstance(accepted, Verdict) or accepted.correct is None:
            return None
        bits = accepted.bits.astype(float)
        return loss_against(run.opened.task, margin_of(run).accuracy_pp / 100, lambda positions, _: bits[positions])

    def judge(self, run: Run, measured: Accuracy, bound: Any) -> Verdict:
        """By Tango's interval and a margin."""
        from quantbench.experiment.result import margin_of

        margin = margin_of(run).accuracy_pp
        requirement = f"at most {margin:g} pp below what was accepted"
        found = comparable(run, total_of(measured.n, measured.samples), self.name, requirement)
        return found if isinstance(found, Verdict) else _compared(run, found, margin, requirement)

    def accept(self, experiment: Experiment) -> str:
        """The command that updates the accepted result."""
        from quantbench.golden.acceptance import accept_command

        return accept_command(experiment.id)


ACCURACY_VS_ACCEPTED = AccuracyVsAccepted()


def total_of(n: int, samples: Samples | None) -> int:
    """Samples of the test split that a figure of `n` samples is of."""
    return n if samples is None else samples.total


def looked_at(run: Run) -> tuple[Positions | slice, Evaluation]:
    """Positions that were looked at, and the candidate on them."""
    looked = sampled(run)
    return (slice(None), run.evaluation) if looked is None else (looked.positions, looked.after)


def comparable(run: Run, n: int, claim: str, requirement: str) -> AcceptedResult | Verdict:
    """The accepted result, or the verdict where there is none of these samples.

    Args:
        run: of now.
        n: its samples.
        claim: name of the quantity.
        requirement: the margin in words.
    """
    from quantbench.experiment.result import inputs_of
    from quantbench.golden.gates import missing_golden
    from quantbench.golden.results import RESULTS

    golden, id_ = run.settings.golden, run.experiment.id
    accepted = RESULTS.read(golden, id_)
    if accepted is None:
        words = "no result of this experiment was ever accepted"
        missing = missing_golden(golden, id_, words, RESULTS.path(golden, id_))
        return _not_comparable(claim, Outcome.FAIL, missing, requirement)
    here = inputs_of(run).test
    if accepted.inputs.test != here or accepted.n != n:
        outcome, words = _other_samples(run, accepted, n, here)
        return _not_comparable(claim, outcome, words, requirement)
    return accepted


def _compared(run: Run, accepted: AcceptedResult, margin: float, requirement: str) -> Verdict:
    """The verdict on a loss on the same samples.

    Args:
        run: of now.
        accepted: of then.
        margin: largest loss, percentage points.
        requirement: the margin in words.
    """
    from quantbench.experiment.accuracy import ACCURACY_LEVEL
    from quantbench.experiment.clusters import Grouping
    from quantbench.records.clusters import widening_of
    from quantbench.stats.paired import PairedOutcomes, samples_to_decide

    positions, now = looked_at(run)
    outcomes = PairedOutcomes.from_correct(accepted.bits[positions], now.correct)
    own = ACCURACY_LEVEL if run.sampling is None else run.sampling.level(ACCURACY_LEVEL)
    wide = strict_level(run, own)
    decided, grouping = by_looks(run, ACCURACY_VS_ACCEPTED.name), Grouping.of(run, own)
    scale, tells = 1.0, True
    if grouping is not None:
        then, since = accepted.bits[positions].astype(float), now.scores
        scale, intervals = widening_of(grouping.effect(then, since)), grouping.paired(then, since).intervals
        tells = intervals[0] is not None
        loss, strict = (_of_clusters(each, own) for each in intervals)
        change = change_of(loss, margin, strict)
    elif decided is None:
        loss = _pp(outcomes, own)
        change = change_of(loss, margin, _pp(outcomes, wide))
    else:
        loss = interval_of(decided, ACCURACY_LEVEL, 100)
        change = change_by_looks(decided, loss, margin)
    if change is Change.INCONCLUSIVE and not outcomes.lost + outcomes.gained and not circumstances(run, accepted):
        # However few the samples: the same inputs gave the same predictions, so that there is nothing to estimate.
        change = Change.SAME
    text = _measured(run, accepted, outcomes, loss, scale if tells else None)
    text += last_text(run, own) if decided is None else decided_text(decided)
    if change is Change.INCONCLUSIVE and tells:
        # Beyond the margin by its own interval, it is only the stricter one that is left to decide.
        needed = samples_to_decide(outcomes, margin / 100, wide if loss.low > margin else own)
        how_many = "no number of samples" if needed is None else f"about {ceil(scale**2 * needed):,} samples"
        text += f"; {how_many} changing at these rates would decide"
    name = ACCURACY_VS_ACCEPTED.name
    return of_change(name, change, 100 * outcomes.drop, loss, margin, outcomes.n, text, requirement)


def change_by_looks(decided: MeanSequence, loss: Interval, margin: float) -> Change:
    """The change that a sequence decided; an improvement is told by its interval."""
    if decided.side is Side.ABOVE:
        return Change.REGRESSED
    return Change.IMPROVED if loss.high < -margin else Change.SAME


def change_of_behaviour(run: Run) -> str | None:
    """Message about predictions that flipped although nothing that decides them changed; None if none did."""
    from quantbench.experiment.result import inputs_of
    from quantbench.golden.results import RESULTS

    accepted = RESULTS.read(run.settings.golden, run.experiment.id)
    if accepted is None or accepted.inputs.test != inputs_of(run).test or accepted.n != len(run.opened.splits.test):
        return None
    flipped, what = _changed(run, accepted)
    determinism = run.verdicts.get("determinism")
    changes_by_itself = determinism is not None and determinism.outcome is Outcome.FAIL
    if not flipped or changes_by_itself or circumstances(run, accepted):
        return None
    return (
        f"{run.experiment.id}: change of behaviour: {flipped:,} of {len(looked_at(run)[1].scores):,} {what} since "
        f"{date_of(accepted)}, on the same class of machine, with the same versions, weights, data and configuration: "
        "the code computes something else"
    )


def _changed(run: Run, accepted: AcceptedResult) -> tuple[int, str]:
    """Samples that are otherwise than accepted, and the word for them."""
    positions, evaluation = looked_at(run)
    if accepted.scores is None:
        return int((accepted.bits[positions] != evaluation.correct).sum()), "predictions flipped"
    from quantbench.records.scores import rounded

    now, then = rounded(evaluation.scores), accepted.statistics[positions]
    changed = len(now) if now.shape != then.shape else int((now != then).any(axis=1).sum())
    return changed, "scores changed"


def circumstances(run: Run, accepted: AcceptedResult) -> list[str]:
    """Changes of the circumstances since the result was accepted; where it is empty, every bit should be the same."""
    from quantbench.experiment.result import inputs_of, machine_of, versions_of_run
    from quantbench.torch_process import get_threads

    here, versions = inputs_of(run), versions_of_run(run)
    found = []
    machine = machine_of(run, get_threads())
    if machine != accepted.machine:
        found.append(f"machine ({accepted.machine} → {machine})")
    found += [
        f"{name} ({accepted.versions.get(name, '–')} → {version})"
        for name, version in versions.items()
        if accepted.versions.get(name) != version
    ]
    return found + [f"{name}" for name in here.differing(accepted.inputs)]


def _measured(run: Run, accepted: AcceptedResult, outcomes: PairedOutcomes, loss: Interval, scale: float | None) -> str:
    from quantbench.experiment.accuracy import ACCURACY_LEVEL
    from quantbench.stats.discordant import p_value_of_change

    positions, after = looked_at(run)
    before, now = 100 * float(accepted.bits[positions].mean()), 100 * after.accuracy
    of = f" of {accepted.n:,}" if outcomes.n < accepted.n else ""
    flips = f"{outcomes.lost} lost, {outcomes.gained} gained, exact test p = {p_value_of_change(outcomes):.2g}"
    changed = circumstances(run, accepted)
    beside = f"; also changed: {', '.join(changed)}" if changed else ""
    return (
        f"{100 * outcomes.drop:.2f} pp lost [{loss.low:.2f}, {loss.high:.2f}] since {date_of(accepted)} "
        f"({before:.2f} % → {now:.2f} %, n={outcomes.n:,}{of}: {flips})"
        f"{'' if scale is None else detectable_text(outcomes, ACCURACY_LEVEL, scale)}{beside}"
    )


def _of_clusters(interval: Interval | None, level: float) -> Interval:
    """In percentage points; anything where clusters tell none."""
    if interval is None:
        return Interval(-100.0, 100.0, level)
    return Interval(100 * interval.low, 100 * interval.high, interval.level)


def _pp(outcomes: PairedOutcomes, level: float) -> Interval:
    from quantbench.stats.paired import tango_interval

    interval = tango_interval(outcomes, level)
    return Interval(100 * interval.low, 100 * interval.high, level)


def _other_samples(run: Run, accepted: AcceptedResult, n: int, here: str) -> tuple[Outcome, str]:
    """Outcome and its reason where samples are others.

    Data that each platform makes a little differently is nobody's mistake; anything else is a stale golden.
    """
    from quantbench.experiment.result import machine_of, versions_of_run

    words = (
        f"the accepted result is of other test samples (n={accepted.n:,}, sha256 {accepted.inputs.test[:12]}…) "
        f"than this run's (n={n:,}, sha256 {here[:12]}…), so that nothing can be compared"
    )
    then = accepted.versions.get("system", "–"), accepted.machine.architecture
    now = versions_of_run(run)["system"], machine_of(run, 1).architecture
    if run.opened.splits.platform_dependent and then != now:
        words += f"; each platform makes this data a little differently, and it was accepted on {' '.join(then)}"
        return Outcome.INCONCLUSIVE, words
    return Outcome.FAIL, f"{words}; get the data it was accepted with, or accept again"


def _not_comparable(claim: str, outcome: Outcome, measured: str, requirement: str) -> Verdict:
    change = Change.INCONCLUSIVE if outcome is Outcome.INCONCLUSIVE else None
    return Verdict(claim, outcome, None, None, None, 0, measured, requirement, change)


def date_of(accepted: AcceptedResult) -> str:
    """The day of the last acceptance."""
    return accepted.history[-1].date if accepted.history else "an unknown day"
