"""Fixtures of the claims in `bench/`: an experiment's run, what is timed, and the outcome that a verdict becomes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from quantbench.plugin.benchmark import hand_on
from quantbench.plugin.claimed import gate_of, is_timed
from quantbench.plugin.properties import (
    BEHAVIOUR_PROPERTY,
    CHANGE_PROPERTY,
    FAILS_PROPERTY,
    MESSAGE_PROPERTY,
    NO_BASELINE_PROPERTY,
    NOT_RUN_PROPERTY,
    VERDICT_PROPERTY,
    WARNING_PROPERTY,
)
from quantbench.plugin.state import STATE

if TYPE_CHECKING:
    from quantbench.experiment.run import Run
    from quantbench.session.session import Decision, Session
    from quantbench.stats.verdicts import Verdict


@pytest.fixture
def quantbench_session(request: pytest.FixtureRequest) -> Session:
    """The session that this run shows."""
    return request.config.stash[STATE].session


@pytest.fixture
def experiment_run(request: pytest.FixtureRequest, quantbench_session: Session) -> Run:
    """The measurements of one experiment, shared by every claim about it."""
    from quantbench.session.absence import ABSENT

    try:
        with _uncaptured(request.config):
            return quantbench_session.open(request.param)
    except ABSENT as error:
        if quantbench_session.must_run(request.param, error):
            raise
        request.node.user_properties.append((NOT_RUN_PROPERTY, [request.param.id, str(error)]))
        pytest.skip(f"not run: {error}")


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> str:
    """The name of the gate that the test's `gate` marker gives."""
    marker = request.node.get_closest_marker("gate")
    if marker is None:
        raise pytest.UsageError(f"{request.node.nodeid}: mark the test with @pytest.mark.gate('<name>')")
    return gate_of(marker)


@pytest.fixture
def timeable_run(experiment_run: Run, quantbench_session: Session) -> Run:
    """The run, its models loaded. Apart from the timing, so that one that fails here leaves no unused benchmark."""
    quantbench_session.load(experiment_run)
    return experiment_run


@pytest.fixture
def timed_run(request: pytest.FixtureRequest, timeable_run: Run, quantbench_session: Session, benchmark: Any) -> Run:
    """The run with its forwards timed in interleaved rounds, the int8 times handed on to pytest-benchmark."""
    with _uncaptured(request.config):
        quantbench_session.time(timeable_run)
    hand_on(timeable_run.latency, benchmark, request.node.get_closest_marker("benchmark").kwargs["timer"])
    return timeable_run


@pytest.fixture
def show_decision(request: pytest.FixtureRequest) -> Callable[[Decision | None], None]:
    """Turns a decision into the test's outcome: what fails fails, INCONCLUSIVE is shown, what is accepted passes."""
    properties = request.node.user_properties

    def show(decision: Decision | None) -> None:
        if decision is None:
            return
        verdict = decision.verdict
        properties.append((VERDICT_PROPERTY, verdict.outcome.value))
        properties.append((f"quantbench_{verdict.quantity}", verdict.measured))
        if verdict.change is not None:
            properties.append((CHANGE_PROPERTY, verdict.change.value))
        if verdict.warning:
            properties.append((WARNING_PROPERTY, f"{decision.experiment}: {verdict.quantity}: {verdict.warning}"))
        if decision.behaviour:
            properties.append((BEHAVIOUR_PROPERTY, decision.behaviour))
        if decision.fails:
            properties.append((FAILS_PROPERTY, True))
            strict = "\n  --strict-verdicts: inconclusive counts as failed" if decision.is_inconclusive else ""
            pytest.fail(f"{decision.message}{strict}", pytrace=False)
        if decision.lacks_baseline:
            properties.append((NO_BASELINE_PROPERTY, [decision.experiment, decision.message]))
        elif decision.is_inconclusive:
            properties.append((MESSAGE_PROPERTY, decision.message))

    return show


@pytest.fixture
def check_verdict(
    experiment_run: Run, quantbench_session: Session, show_decision: Callable[[Decision | None], None]
) -> Callable[[Verdict], None]:
    """Shows a verdict of one's own."""
    return lambda verdict: show_decision(quantbench_session.decision(experiment_run, verdict))


@pytest.fixture
def check_claim(
    request: pytest.FixtureRequest,
    experiment_run: Run,
    quantbench_session: Session,
    show_decision: Callable[[Decision | None], None],
) -> Callable[[str], None]:
    """Measures and judges a quantity by its name; an update accepts the fact that the claim checks, if any."""

    def check(quantity: str) -> None:
        with _progress_shown(request.node):
            decision = quantbench_session.decide(experiment_run, quantity)
        show_decision(decision)

    return check


@pytest.fixture
def check_gate(gate: str, check_claim: Callable[[str], None]) -> Callable[[], None]:
    """Measures what the test's gate is about and judges it."""
    return lambda: check_claim(gate)


@pytest.fixture
def check_measured(
    experiment_run: Run, quantbench_session: Session, show_decision: Callable[[Decision | None], None]
) -> Callable[[str], None]:
    """Measures a part that the experiment sets no bound for, so that its record and the table are complete."""
    return lambda part: show_decision(quantbench_session.show(experiment_run, part))


@pytest.fixture
def claimed_quantity(request: pytest.FixtureRequest) -> str:
    """The name of the quantity that the claim about any quantity is about."""
    return str(request.param)


@pytest.fixture
def check_quantity(
    request: pytest.FixtureRequest,
    experiment_run: Run,
    claimed_quantity: str,
    quantbench_session: Session,
    show_decision: Callable[[Decision | None], None],
) -> Callable[[], None]:
    """Judges the test's quantity; where it needs a bound and the experiment sets none, measures it for the table."""

    def check() -> None:
        with _progress_shown(request.node):
            decision = quantbench_session.make(experiment_run, claimed_quantity)
        show_decision(decision)

    return check


@pytest.fixture
def check_accepted(check_claim: Callable[[str], None]) -> Callable[[str], None]:
    """Compares the run with the accepted result; an update accepts it at the end of the session."""
    return check_claim


@pytest.fixture
def check_search(request: pytest.FixtureRequest, check_claim: Callable[[str], None]) -> Callable[[], None]:
    """Compares what the experiment's search finds with its golden; an update accepts it at the end of the session."""

    def check() -> None:
        with _uncaptured(request.config):
            check_claim("search")

    return check


@pytest.fixture
def check_golden(
    experiment_run: Run, quantbench_session: Session, snapshot: Any, check_claim: Callable[[str], None]
) -> Callable[[], None]:
    """Compares the checkpoint with its golden through syrupy; an update accepts it at the end."""

    def check() -> None:
        from quantbench.experiment.result import RunEvidence
        from quantbench.golden.checkpoints import CHECKPOINTS
        from quantbench.golden.snapshots import golden_extension

        evidence = RunEvidence(experiment_run)
        with quantbench_session.noting(experiment_run.experiment, "reading its checkpoint"):
            CHECKPOINTS.accepted(evidence)  # a damaged one is an error, and never overwritten
            document = CHECKPOINTS.document(evidence)
        name = CHECKPOINTS.name(experiment_run.experiment.id, experiment_run.engine)
        extension = golden_extension(evidence.golden / CHECKPOINTS.folder)
        # syrupy counts it, and decides what its options make of a difference.
        is_same = document == snapshot(name=name, extension_class=extension)
        check_claim("checkpoint")
        if not is_same:
            pytest.fail(f"{experiment_run.experiment.id}: the golden cannot be read as a snapshot", pytrace=False)

    return check


def _uncaptured(config: pytest.Config) -> AbstractContextManager[object]:
    """For what takes minutes: its progress belongs on the terminal, not into captured output."""
    terminal = config.pluginmanager.getplugin("capturemanager")
    return terminal.global_and_fixture_disabled() if terminal else nullcontext()


def _progress_shown(item: pytest.Item) -> AbstractContextManager[object]:
    """The same for claims that are timed."""
    return _uncaptured(item.config) if is_timed(item) else nullcontext()
