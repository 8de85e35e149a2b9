"""Verdicts on speed: none on a machine that cannot be trusted, and no FAIL that a fresh process does not confirm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from quantbench.errors import GoldenError
from quantbench.experiment.result import accepted_speedup, margin_of, timing_machine
from quantbench.experiment.run import Run
from quantbench.golden.results import accept_command, read_result
from quantbench.measure.environment import environment
from quantbench.measure.latency import LATENCY_LEVEL
from quantbench.records.run import Latency
from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change, change_of
from quantbench.stats.speed import SpeedQuestions, Speedup, speed_loss
from quantbench.stats.verdicts import Outcome, Verdict, at_least, no_evidence, of_change

SPEEDUP, SPEEDUP_VS_ACCEPTED = "speedup", "speedup_vs_accepted"
NO_VERDICT = "no verdict: the machine is too noisy"


def questions_of(run: Run, to_accept: bool = False) -> SpeedQuestions:
    """What the run's timings must answer: its bound, and the accepted speed-up of this class of machine.

    Args:
        run: to be timed.
        to_accept: whether its speed-up is to be accepted.
    """
    try:
        found = accepted_speedup(run, read_result(run.settings.golden, run.experiment.id))
    except GoldenError:
        found = None  # told by the claim about the accepted result
    accepted = Speedup(found.speedup, Interval(*found.speedup_interval, found.level)) if found else None
    bound = run.experiment.config.gates.bound(SPEEDUP, environment().isa)
    return SpeedQuestions(bound, accepted, margin_of(run).speedup, to_accept)


def judge_latency(run: Run, bound: float) -> Verdict:
    """The median of paired ratios, by its bootstrap interval."""
    latency = run.latency
    if latency is None:
        return no_evidence(SPEEDUP, bound, run.not_timed)

    def judge(now: Speedup) -> Verdict:
        return at_least(SPEEDUP, now.estimate, now.interval, bound, latency.rounds, _measured(latency), "×")

    return _judged(run, latency, judge)


def judge_speedup_vs_accepted(run: Run) -> Verdict:
    """The speed-up over the accepted one, within one class of machine."""
    requirement = f"at most {100 * margin_of(run).speedup:g} % of the accepted speed-up lost"
    accepted, id_ = read_result(run.settings.golden, run.experiment.id), run.experiment.id
    latency = run.latency
    if latency is None:
        return _none(requirement, run.not_timed)
    found = accepted_speedup(run, accepted)
    if found is None:
        reason = (
            f"{speedup_of(latency).estimate:.3f}×, but no baseline for this machine ({timing_machine(run)}) and these "
            "inputs was accepted"
        )
        # Where nothing was accepted, a speed-up alone cannot be.
        command = accept_command(id_, speed_only=accepted is not None)
        return replace(_none(requirement, reason), change=Change.NO_BASELINE, accept=command)
    before = Speedup(found.speedup, Interval(*found.speedup_interval, found.level))

    margin = margin_of(run).speedup

    def judge(now: Speedup) -> Verdict:
        loss, ratio = speed_loss(now, before), now.estimate / before.estimate
        words = f"{ratio:.3f} [{1 - loss.high:.3f}, {1 - loss.low:.3f}] of the accepted {before.estimate:.3f}×"
        change, n = change_of(loss, margin), latency.rounds
        measured = f"{words}: {_measured(latency)}"
        return of_change(SPEEDUP_VS_ACCEPTED, change, 1 - ratio, loss, margin, n, measured, requirement)

    return _judged(run, latency, judge)


def speedup_of(latency: Latency) -> Speedup:
    """The speed-up as it was measured."""
    return Speedup(latency.speedup, Interval(*latency.speedup_interval, latency.level))


def _none(requirement: str, reason: str) -> Verdict:
    change = Change.INCONCLUSIVE
    return Verdict(SPEEDUP_VS_ACCEPTED, Outcome.INCONCLUSIVE, None, None, None, 0, reason, requirement, change)


@dataclass(frozen=True)
class Measurement:
    """A speed-up with the A/A control of the same rounds."""

    speedup: Speedup
    control: Speedup


def trusted(
    first: Measurement, judge: Callable[[Speedup], Verdict], again: Callable[[], Measurement], stray: str | None = None
) -> tuple[Verdict, str | None]:
    """The verdict, if the machine can be trusted and, for a FAIL, if a second measurement finds the same.

    Args:
        first: the measurement to be judged.
        judge: a speed-up → its verdict.
        again: measures once more, in a fresh process; called only to confirm a FAIL.
        stray: an A/A control of the same run that strayed before, in words.

    Returns:
        The verdict, and in words the control that strayed, if one did.
    """
    verdict = judge(first.speedup)
    stray = stray or _stray(first.control, "")
    if stray is not None:
        return withdrawn(verdict, stray), stray
    if verdict.outcome is not Outcome.FAIL:
        return verdict, None
    second = again()
    if (stray := _stray(second.control, " in a fresh process")) is not None:
        return withdrawn(verdict, stray), stray
    low, high = second.speedup.interval.low, second.speedup.interval.high
    words = f"confirmed in a fresh process: {second.speedup.estimate:.3f}× [{low:.3f}, {high:.3f}]"
    if judge(second.speedup).outcome is Outcome.FAIL:
        return replace(verdict, measured=f"{verdict.measured}; {words}"), None
    return _undecided(verdict, f"{verdict.measured}; not {words}"), None


def withdrawn(verdict: Verdict, stray: str) -> Verdict:
    """The verdict that is left of one from a machine whose A/A control strayed: none."""
    reason = f"{NO_VERDICT}: fp32 against itself was {stray}"
    return _undecided(verdict, f"{reason}; measured {verdict.measured}")


def _undecided(verdict: Verdict, measured: str) -> Verdict:
    change = Change.INCONCLUSIVE if verdict.change else None
    return replace(verdict, outcome=Outcome.INCONCLUSIVE, change=change, measured=measured)


def _stray(control: Speedup, where: str) -> str | None:
    if not control.strays:
        return None
    return f"{control.estimate:.3f}× [{control.interval.low:.3f}, {control.interval.high:.3f}]{where}"


def _judged(run: Run, latency: Latency, judge: Callable[[Speedup], Verdict]) -> Verdict:
    """The verdict on a run's speed; a control that strayed is noted for the whole session."""
    before = _strayed(run)
    first = Measurement(
        speedup_of(latency), Speedup(latency.control, Interval(*latency.control_interval, latency.level))
    )
    verdict, stray = trusted(first, judge, lambda: Measurement(*run.confirmation(questions_of(run))), before)
    if stray is not None and before is None:
        run.strayed[run.experiment.id] = stray
    return verdict


def _strayed(run: Run) -> str | None:
    """A control of the session that strayed, in words: the run's own, or else that of another experiment."""
    if (own := run.strayed.get(run.experiment.id)) is not None:
        return own
    return next((f"{control} in {id_}" for id_, control in run.strayed.items()), None)


def withdraw(run: Run) -> list[str]:
    """Withdraws verdicts on speed that were told before another experiment's control strayed.

    Returns:
        A line for each that was told as PASS or FAIL.
    """
    stray, lines = _strayed(run), []
    for quantity in (SPEEDUP, SPEEDUP_VS_ACCEPTED):
        verdict = run.verdicts.get(quantity)
        if stray and verdict and verdict.estimate is not None and not verdict.measured.startswith(NO_VERDICT):
            run.verdicts[quantity] = withdrawn(verdict, stray)
            if verdict.outcome is not Outcome.INCONCLUSIVE:
                taken_back = f"{quantity}: {verdict.change or verdict.outcome} is taken back"
                lines.append(f"{run.experiment.id}: {taken_back}: {NO_VERDICT}: fp32 against itself was {stray}")
    return lines


def _measured(latency: Latency) -> str:
    low, high = latency.speedup_interval
    best_low, best_high = latency.speedup_over_fastest_interval
    ended = ", time is up" if latency.out_of_time else ""
    return (
        f"{latency.speedup:.3f}× [{low:.3f}, {high:.3f}] at {100 * LATENCY_LEVEL:.0f} % over {latency.rounds} rounds "
        f"(look {latency.looks} of {latency.planned_looks}{ended}), batch {latency.batch_size}, {latency.threads} "
        f"thread(s); over the fastest fp32 ({latency.fastest_form}) {latency.speedup_over_fastest:.3f}× "
        f"[{best_low:.3f}, {best_high:.3f}]; fp32 against itself {latency.control:.3f}×"
    )
