"""Forwards of two revisions in the same interleaved rounds of one fresh process, with the base against itself."""

from __future__ import annotations

from quantbench.against.made import Made
from quantbench.errors import QuantbenchError
from quantbench.experiment.result import margin_of
from quantbench.experiment.run import Run
from quantbench.measure.belief import believed, measurement
from quantbench.measure.confirmation import TimingJob, time_in_fresh_process
from quantbench.measure.latency import LATENCY_LEVEL, Timings, untimed_reason
from quantbench.quantities.speed import confirmed
from quantbench.records.against import SPEED
from quantbench.records.parity import Speed
from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change, change_of
from quantbench.stats.speed import Measurement, SpeedQuestions, Speedup, speed_loss
from quantbench.stats.verdicts import Outcome, Verdict, of_change

# The base as fast as itself: known, so that the interval is that of the ratio alone.
BASE = Speedup(1.0, Interval(1.0, 1.0, LATENCY_LEVEL))
# Of the controls of a session: fp32 of its own timings, the base of these.
SUBJECT = "a model"
NOTHING_CHANGED = "both models are the same"


def compared_speed(run: Run, made: Made, base: str, is_same: bool, untimed: str) -> tuple[Speed | None, str, Verdict]:
    """Times a run against its experiment at the base.

    Args:
        run: of now.
        made: the base's experiment.
        base: its name.
        is_same: both models are the same, so that there is nothing to time.
        untimed: why nothing is timed; empty where timing is possible.

    Returns:
        The ratio, the reason where there is none, and the verdict.
    """
    margin = margin_of(run).speedup
    requirement = f"at most {100 * margin:g} % of the speed of {base} lost"
    if is_same:
        loss = Interval(0.0, 0.0, LATENCY_LEVEL)
        return None, NOTHING_CHANGED, of_change(SPEED, Change.SAME, 0.0, loss, margin, 1, NOTHING_CHANGED, requirement)
    reason = _untimed(run, made, untimed)
    if not reason:
        try:
            return _timed(run, made, base, margin, requirement)
        except QuantbenchError as error:
            reason = f"the base and this run cannot be timed together: {' '.join(str(error).split())}"
    verdict = Verdict(SPEED, Outcome.INCONCLUSIVE, None, None, None, 0, reason, requirement, Change.INCONCLUSIVE)
    return None, reason, verdict


def _untimed(run: Run, made: Made, untimed: str) -> str:
    if made.own_code:
        modules = ", ".join(made.own_code)
        return f"the base needs its own modules ({modules}), so that one process cannot load both and time them"
    return untimed or untimed_reason(run.experiment.workload.config.latency.threads) or ""


def _timed(run: Run, made: Made, base: str, margin: float, requirement: str) -> tuple[Speed, str, Verdict]:
    run.repetitions.wait()
    job = _job(run, made, margin, seed=1)
    timings = time_in_fresh_process(job)
    first = measurement(timings, job.looks, job.threads)

    def judge(now: Speedup) -> Verdict:
        loss = speed_loss(now, BASE)
        change = change_of(loss, margin)
        text = (
            f"{now.estimate:.3f}× [{now.interval.low:.3f}, {now.interval.high:.3f}] as fast as {base} at "
            f"{100 * now.interval.level:.0f} % over {timings.rounds} rounds, "
            f"batch {_batch(job)}, {job.threads} thread(s); the base against itself {first.control.estimate:.3f}×"
        )
        return of_change(SPEED, change, 1 - now.estimate, loss, margin, timings.rounds, text, requirement)

    def again() -> Measurement:
        second = _job(run, made, margin, seed=2)
        return measurement(time_in_fresh_process(second), second.looks, second.threads)

    before = run.failed_control
    verdict, failed_control = confirmed(first, judge, again, before, SUBJECT)
    if failed_control is not None and before is None:
        run.note_failed_control(failed_control)
    return _speed(timings, job, first), "", verdict


def _job(run: Run, made: Made, margin: float, seed: int) -> TimingJob:
    config = run.experiment.workload.config.latency
    return TimingJob(
        candidate=run.artifact,
        reference=made.artifact,
        inputs=run.baseline.latency_inputs,
        threads=config.threads,
        looks=run.looks,
        budget_s=config.budget_s,
        questions=SpeedQuestions(accepted=BASE, margin=margin),
        seed=seed,
    )


def _batch(job: TimingJob) -> int:
    return len(next(iter(job.inputs.values())))


def _speed(timings: Timings, job: TimingJob, found: Measurement) -> Speed:
    return Speed(
        ratio=found.speedup.estimate,
        interval=(found.speedup.interval.low, found.speedup.interval.high),
        level=LATENCY_LEVEL,
        rounds=timings.rounds,
        batch_size=_batch(job),
        threads=job.threads,
        control=found.control.estimate,
        control_interval=(found.control.interval.low, found.control.interval.high),
        clock=believed(timings, job.looks, job.threads).clock,
        doubt=found.doubt or ("the base against itself strayed" if found.strayed else None),
    )
