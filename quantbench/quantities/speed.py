"""Verdicts on speed: none on a machine that cannot be trusted, and no FAIL that a fresh process does not confirm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from quantbench.errors import GoldenError
from quantbench.records.run import Latency
from quantbench.registry import QUANTITIES
from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change
from quantbench.stats.speed import Measurement, SpeedQuestions, Speedup
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

# The forms that a speed-up is taken over, as `quantbench.measure.latency` names them, which imports torch.
FP32, FP32_FASTEST = "fp32", "fp32_fastest"
NO_VERDICT = "no verdict: the machine is too noisy"


def questions_of(run: Run, to_accept: bool = False) -> SpeedQuestions:
    """Questions that the run's timings must answer: its bound, and the accepted speed-up of this class of machine.

    Args:
        run: to be timed.
        to_accept: whether its speed-up is to be accepted.
    """
    from quantbench.experiment.result import accepted_speedup, margin_of
    from quantbench.golden.results import RESULTS
    from quantbench.measure.environment import environment

    try:
        found = accepted_speedup(run, RESULTS.read(run.settings.golden, run.experiment.id))
    except GoldenError:
        found = None  # reported by the claim about the accepted result
    accepted = Speedup(found.speedup, Interval(*found.speedup_interval, found.level)) if found else None
    gates, isa = run.experiment.config.gates, environment().isa
    return SpeedQuestions(
        bound=gates.bound("speedup", isa),
        accepted=accepted,
        margin=margin_of(run).speedup,
        to_accept=to_accept,
        fastest_bound=gates.bound("speedup_over_fastest", isa),
    )


def speedup_of(latency: Latency, reference: str = FP32) -> Speedup:
    """The speed-up as it was measured, over the fp32 model or over its fastest form."""
    if reference == FP32:
        return Speedup(latency.speedup, Interval(*latency.speedup_interval, latency.level))
    return Speedup(latency.speedup_over_fastest, Interval(*latency.speedup_over_fastest_interval, latency.level))


def confirmed(
    first: Measurement,
    judge: Callable[[Speedup], Verdict],
    again: Callable[[], Measurement],
    failed_control: str | None = None,
    subject: str = "fp32",
) -> tuple[Verdict, str | None]:
    """The verdict, if the machine can be trusted and, for a FAIL, if a second measurement finds the same.

    Args:
        first: the measurement to be judged.
        judge: a speed-up → its verdict.
        again: measures once more, in a fresh process; called only to confirm a FAIL.
        failed_control: an A/A control of the same session that failed before, in words.
        subject: of the control, in messages.

    Returns:
        The verdict, and in words the control that failed, if one did.
    """
    verdict = judge(first.speedup)
    failed_control = failed_control or _failed_control(first, "")
    if failed_control is not None:
        return withdrawn(verdict, failed_control, subject), failed_control
    if first.doubt is not None:
        return _undecided(verdict, f"no verdict: {first.doubt}; measured {verdict.measured}"), None
    if verdict.outcome is not Outcome.FAIL:
        return verdict, None
    second = again()
    if (failed_control := _failed_control(second, " in a fresh process")) is not None:
        return withdrawn(verdict, failed_control, subject), failed_control
    if second.doubt is not None:
        return _undecided(verdict, f"{verdict.measured}; not confirmed in a fresh process: {second.doubt}"), None
    low, high = second.speedup.interval.low, second.speedup.interval.high
    words = f"confirmed in a fresh process: {second.speedup.estimate:.3f}× [{low:.3f}, {high:.3f}]"
    if judge(second.speedup).outcome is Outcome.FAIL:
        return replace(verdict, measured=f"{verdict.measured}; {words}"), None
    return _undecided(verdict, f"{verdict.measured}; not {words}"), None


def withdrawn(verdict: Verdict, failed_control: str, subject: str = "fp32") -> Verdict:
    """The verdict that is left of one from a machine whose A/A control failed: none.

    Args:
        verdict: on a speed.
        failed_control: in words.
        subject: of the control, in the message.
    """
    reason = f"{NO_VERDICT}: {subject} against itself was {failed_control}"
    return _undecided(verdict, f"{reason}; measured {verdict.measured}")


def _undecided(verdict: Verdict, measured: str) -> Verdict:
    change = Change.INCONCLUSIVE if verdict.change else None
    return replace(verdict, outcome=Outcome.INCONCLUSIVE, change=change, measured=measured)


def _failed_control(measured: Measurement, where: str) -> str | None:
    if not measured.strayed:
        return None
    control = measured.control
    return f"{control.estimate:.3f}× [{control.interval.low:.3f}, {control.interval.high:.3f}]{where}"


def judged(run: Run, latency: Latency, judge: Callable[[Speedup], Verdict], reference: str = FP32) -> Verdict:
    """The verdict on a run's speed; a control that failed is noted for the whole session.

    Args:
        run: that was timed.
        latency: its timings.
        judge: a speed-up → its verdict.
        reference: `fp32`, or `fp32_fastest` for the fastest fp32 form.
    """
    before = run.failed_control
    control = Speedup(latency.control, Interval(*latency.control_interval, latency.level))
    found = speedup_of(latency, reference)
    first = Measurement(found, control, latency.strayed, latency.doubt, latency.clock_note)
    questions = questions_of(run)
    if reference != FP32:
        # A fresh process times that form in the place of the fp32 model.
        questions = SpeedQuestions(bound=questions.fastest_bound)
    verdict, failed_control = confirmed(first, judge, lambda: run.confirmation(questions, reference), before)
    if failed_control is not None and before is None:
        run.note_failed_control(failed_control)
    return verdict


def withdraw(run: Run) -> list[str]:
    """Withdraws verdicts on timed quantities that were reported before another experiment's control failed.

    Returns:
        A line for each that was reported as PASS or FAIL.
    """
    failed_control, lines = run.failed_control, []
    for quantity in QUANTITIES.all():
        verdict = run.verdicts.get(quantity.name) if quantity.timed else None
        if failed_control and verdict and verdict.estimate is not None and not verdict.measured.startswith(NO_VERDICT):
            run.add_verdict(withdrawn(verdict, failed_control))
            if verdict.outcome is not Outcome.INCONCLUSIVE:
                taken_back = f"{quantity.name}: {verdict.change or verdict.outcome} is taken back"
                lines.append(
                    f"{run.experiment.id}: {taken_back}: {NO_VERDICT}: fp32 against itself was {failed_control}"
                )
    return lines


def shown(latency: Latency) -> str:
    """A measurement of speed in words: ratios, intervals, rounds, the control."""
    low, high = latency.speedup_interval
    best_low, best_high = latency.speedup_over_fastest_interval
    ended = ", time is up" if latency.out_of_time else ""
    clock = f"{latency.clock_note}; " if latency.clock_note else ""
    return (
        f"{latency.speedup:.3f}× [{low:.3f}, {high:.3f}] at {100 * latency.level:.0f} % over {latency.rounds} rounds "
        f"(look {latency.looks} of {latency.planned_looks}{ended}), {clock}batch {latency.batch_size}, "
        f"{latency.threads} thread(s); over the fastest fp32 ({latency.fastest_form}) "
        f"{latency.speedup_over_fastest:.3f}× [{best_low:.3f}, {best_high:.3f}]; "
        f"fp32 against itself {latency.control:.3f}×"
    )
