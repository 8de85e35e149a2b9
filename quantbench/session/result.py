"""A session from its plan to its end, for whoever shows it whole, as the shell does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

from quantbench.against.comparison import Against
from quantbench.config.schema import Experiment
from quantbench.errors import ForeignError, QuantbenchError
from quantbench.experiment.runs import Runs
from quantbench.foreign import calling, traceback_of
from quantbench.progress import progress
from quantbench.records.against import Base
from quantbench.records.run import ExperimentError, NotRun, RunRecord
from quantbench.session.gates import loosened
from quantbench.session.plan import Plan
from quantbench.session.session import Decision, Options, Session
from quantbench.stats.verdicts import Outcome

Made = TypeVar("Made")
GOES_ON = "data and checkpoints are cached, and the same command makes all claims with them"


class Status(IntEnum):
    """End of a session; the shell's exit status."""

    PASSED = 0
    FAILED = 1
    BROKEN = 2


@dataclass(frozen=True)
class SessionResult:
    """Outcome of the experiments.

    Attributes:
        records: of those of which anything was measured.
        not_run: of those whose data, or a library of theirs, is not on this machine.
        errors: of the others, by experiment.
        broken: a line for each error.
        tracebacks: of the same errors.
        messages: the words for every verdict that is not PASS, for predictions that flipped without a cause, and for
            gates that are gone or looser than they were accepted.
        without_baseline: of experiments without an accepted speed-up for this machine, the id and the same words.
        sentences: about the run as a whole; none where nothing was measured.
        status: FAILED where a verdict fails or a gate was loosened, BROKEN where something or everything could not be
            measured.
        lines: about what was accepted, and what was taken back.
        premises: lines about gates that are gone or looser than they were accepted; they are among the messages too.
        interrupted: line about a session that was stopped before all its claims were made; empty if it was not.
        base: the revision that was compared with; None without one.
    """

    records: list[RunRecord]
    not_run: list[NotRun]
    errors: list[ExperimentError]
    broken: list[str]
    tracebacks: list[str]
    messages: list[str]
    without_baseline: list[tuple[str, str]]
    sentences: list[str]
    status: Status
    lines: tuple[str, ...] = ()
    interrupted: str = ""
    premises: tuple[str, ...] = ()
    base: Base | None = None


def run_session(
    runs: Runs,
    plan: Plan,
    command: str,
    options: Options | None = None,
    configured: Sequence[Experiment] | None = None,
    against: Against | None = None,
) -> SessionResult:
    """Makes every claim of a plan; one that cannot be made loses nothing of the others.

    Ctrl-C ends it with what was found until then, of which nothing is accepted.

    Args:
        runs: share baselines and data among the experiments.
        plan: the claims, in order.
        command: noted in every record.
        options: how.
        configured: every experiment there is, of which accepted ones are missed; default: those of the plan.
        against: a revision that each experiment is compared with at the end; None for none.

    Raises:
        GoldenError: if the file of accepted gates is damaged.
    """
    chosen = plan.experiments
    session = Session(runs, options or Options(), plan.timed)
    try:
        premises = loosened(runs.settings.golden, chosen if configured is None else configured, chosen)
    except ForeignError as error:
        # An own quantity cannot compare its bounds.
        premises = []
        session.broken[str(error)] = traceback_of(error)
    interrupted, made = "", 0
    try:
        with progress("measuring") as show:
            for i, claim in enumerate(plan.claims):
                show.update(i, len(plan.claims), claim.experiment.id)
                # What is wrong is noted by the session; whatever else is raised is the last resort's.
                with session.losing(claim.experiment, f"judging {claim.quantity}"), suppress(QuantbenchError):
                    session.make(session.open(claim.experiment), claim.quantity)
                made += 1
        if against is not None:
            _compare(session, against, chosen)
    except KeyboardInterrupt:
        interrupted = f"interrupted: {made} of {len(plan.claims)} claims were made; {GOES_ON}"
    is_sound = _tried(session, "the end of the session", lambda: session.finish(bool(interrupted)), False)
    result = _result(session, command, is_sound and not premises, premises)
    return replace(result, interrupted=interrupted, base=against.base if against else None)


def _compare(session: Session, against: Against, experiments: Sequence[Experiment]) -> None:
    with progress(f"comparing with {against.revision.name}") as show:
        for i, experiment in enumerate(experiments):
            show.update(i, len(experiments), experiment.id)
            with session.losing(experiment, "comparing it with the base"), suppress(QuantbenchError):
                session.compare(session.open(experiment), against)
    against.withdraw(list(session.runs.by_id.values()))


def _tried(session: Session, what: str, make: Callable[[], Made], otherwise: Made) -> Made:
    """Makes something of the whole session; an error becomes a line, so that the rest is shown."""
    try:
        with calling(what):
            return make()
    except QuantbenchError as error:
        session.broken.setdefault(str(error), traceback_of(error))
        return otherwise


def _result(session: Session, command: str, is_sound: bool, premises: list[str]) -> SessionResult:
    decisions: list[Decision] = _tried(session, "telling the verdicts", session.decisions, [])
    records: list[RunRecord] = _tried(session, "the records", lambda: session.records(command), [])
    sentences: list[str] = []
    if records:
        sentences = _tried(session, "the sentences about the session", session.sentences, sentences)
    messages = [
        each.message for each in decisions if each.verdict.outcome is not Outcome.PASS and not each.lacks_baseline
    ]
    messages += [
        f"{each.experiment}: {each.verdict.quantity}: warning: {each.verdict.warning}"
        for each in decisions
        if each.verdict.warning
    ]
    if session.broken or not records:
        status = Status.BROKEN
    else:
        status = Status.PASSED if is_sound and not any(each.fails for each in decisions) else Status.FAILED
    return SessionResult(
        records=records,
        not_run=session.not_run_list(),
        errors=session.errors(),
        broken=list(session.broken),
        tracebacks=list(session.broken.values()),
        messages=[*messages, *session.behaviour, *premises],
        without_baseline=[(each.experiment, each.message) for each in decisions if each.lacks_baseline],
        sentences=sentences,
        status=status,
        lines=tuple(session.lines),
        premises=tuple(premises),
    )
