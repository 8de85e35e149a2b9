"""Verdicts on speed: none on a machine that cannot be trusted, and no FAIL that a fresh process does not confirm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quantbench.errors import GoldenError
from quantbench.records.run import Latency
from quantbench.registry import QUANTITIES
from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change
from quantbench.stats.speed import SpeedQuestions, Speedup
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

NO_VERDICT = "no verdict: the machine is too noisy"


def questions_of(run: Run, to_accept: bool = False) -> SpeedQuestions:
    """What the run's timings must answer: its bound, and the accepted speed-up of this class of machine.

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
        found = None  # told by the claim about the accepted result
    accepted = Speedup(found.speedup, Interval(*found.speedup_interval, found.level)) if found else None
    bound = run.experiment.config.gates.bound("speedup", environment().isa)
    return SpeedQuestions(bound, accepted, margin_of(run).speedup, to_accept)


def speedup_of(latency: Latency) -> Speedup:
    """The speed-up as it was measured."""
    return Speedup(latency.speedup, Interval(*latency.speedup_interval, latency.level))


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


def judged(run: Run, latency: Latency, judge: Callable[[Speedup], Verdict]) -> Verdict:
    """The verdict on a run's speed; a control that strayed is noted for the whole session."""
    before = run.stray
    first = Measurement(
        speedup_of(latency), Speedup(latency.control, Interval(*latency.control_interval, latency.level))
    )
    verdict, stray = trusted(first, judge, lambda: Measurement(*run.confirmation(questions_of(run))), before)
    if stray is not None and before is None:
        run.note_stray(stray)
    return verdict


def withdraw(run: Run) -> list[str]:
    """Withdraws verdicts on timed quantities that were told before another experiment's control strayed.

    Returns:
        A line for each that was told as PASS or FAIL.
    """
    stray, lines = run.stray, []
    for quantity in QUANTITIES.all():
        verdict = run.verdicts.get(quantity.name) if quantity.timed else None
        if stray and verdict and verdict.estimate is not None and not verdict.measured.startswith(NO_VERDICT):
            run.keep(withdrawn(verdict, stray))
            if verdict.outcome is not Outcome.INCONCLUSIVE:
                taken_back = f"{quantity.name}: {verdict.change or verdict.outcome} is taken back"
                lines.append(f"{run.experiment.id}: {taken_back}: {NO_VERDICT}: fp32 against itself was {stray}")
    return lines


def shown(latency: Latency) -> str:
    """A measurement of speed in words: ratios, intervals, rounds, the control."""
    low, high = latency.speedup_interval
    best_low, best_high = latency.speedup_over_fastest_interval
    ended = ", time is up" if latency.out_of_time else ""
    return (
        f"{latency.speedup:.3f}× [{low:.3f}, {high:.3f}] at {100 * latency.level:.0f} % over {latency.rounds} rounds "
        f"(look {latency.looks} of {latency.planned_looks}{ended}), batch {latency.batch_size}, {latency.threads} "
        f"thread(s); over the fastest fp32 ({latency.fastest_form}) {latency.speedup_over_fastest:.3f}× "
        f"[{best_low:.3f}, {best_high:.3f}]; fp32 against itself {latency.control:.3f}×"
    )
