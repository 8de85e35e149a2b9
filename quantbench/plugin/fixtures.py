"""Fixtures of the claims in `bench/`: an experiment's run, what is timed, and the outcome that a verdict becomes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from quantbench.plugin.state import (
    BEHAVIOUR_PROPERTY,
    CHANGE_PROPERTY,
    NO_BASELINE_PROPERTY,
    STATE,
    VERDICT_PROPERTY,
    is_update,
)

if TYPE_CHECKING:
    from quantbench.experiment.run import Run
    from quantbench.stats.verdicts import Verdict


@pytest.fixture
def experiment_run(request: pytest.FixtureRequest) -> Run:
    """The measurements of one experiment, shared by every claim about it."""
    from quantbench.errors import DataMissingError

    state = request.config.stash[STATE]
    run = state.session.run(request.param)
    try:
        _open(request.config, run)
    except DataMissingError as error:
        if request.config.getoption("real_data"):
            raise
        state.not_run[run.experiment.id] = str(error)
        request.node.user_properties.append(("quantbench_not_run", [run.experiment.id, str(error)]))
        pytest.skip(f"not run: {error}")
    return run


def _open(config: pytest.Config, run: Run) -> None:
    """Makes data and trains where that is needed; opened here, so that absent data is told apart from a failure."""
    from quantbench.data.source import DOWNLOAD_VARIABLE

    with _uncaptured(config), pytest.MonkeyPatch.context() as environment:
        if config.getoption("real_data"):
            environment.setenv(DOWNLOAD_VARIABLE, "1")
        run.opened.splits  # noqa: B018
        if is_update(config):
            run.check_control()
        if run.settings.retrain:
            run.candidate  # noqa: B018


def _uncaptured(config: pytest.Config) -> AbstractContextManager[object]:
    """For what takes minutes: its progress belongs on the terminal, not into captured output."""
    terminal = config.pluginmanager.getplugin("capturemanager")
    return terminal.global_and_fixture_disabled() if terminal else nullcontext()


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> str:
    """The name of the gate that the test's `gate` marker gives."""
    marker = request.node.get_closest_marker("gate")
    if marker is None:
        raise pytest.UsageError(f"{request.node.nodeid}: mark the test with @pytest.mark.gate('<name>')")
    return str(marker.args[0])


@pytest.fixture
def timeable_run(experiment_run: Run) -> Run:
    """The run, its models loaded. Apart from the timing, so that one that fails here leaves no unused benchmark."""
    experiment_run.forwards()
    return experiment_run


@pytest.fixture
def timed_run(request: pytest.FixtureRequest, timeable_run: Run, benchmark: Any) -> Run:
    """The run with its forwards timed in interleaved rounds, the int8 times handed on to pytest-benchmark."""
    _time(request.config, timeable_run)
    latency = timeable_run.latency
    if latency is None:
        # pytest-benchmark then has no figures either, and does not complain of a fixture that was not used.
        benchmark.disabled = True
        benchmark.pedantic(_nothing)
        return timeable_run
    clock = request.node.get_closest_marker("benchmark").kwargs["timer"]
    clock.durations = list(latency.int8_s)
    benchmark.pedantic(_nothing, rounds=latency.rounds)
    benchmark.extra_info.update(latency.model_dump())
    return timeable_run


def _nothing() -> None:
    """What pytest-benchmark calls: the forwards ran before, in an order and number of rounds that it cannot give."""


def _time(config: pytest.Config, run: Run) -> None:
    """Times the run's forwards once a session, where timing is possible.

    The first run to be timed waits for all others, since one A/A control that strays voids every verdict on speed, and
    a verdict that was told cannot be unsaid.
    """
    from quantbench.progress import progress
    from quantbench.quantities.speed import questions_of

    if hasattr(config, "workerinput"):
        run.leave_untimed("nothing was timed: parallel workers disturb each other; time with -m latency and without -n")
    elif config.getoption("benchmark_disable", False):
        run.leave_untimed("nothing was timed: --benchmark-disable")
    elif run.latency is None:
        state = config.stash[STATE]
        timed, state.timed = state.timed, []
        others = [state.session.run(experiment) for experiment in timed if experiment.id != run.experiment.id]
        with _uncaptured(config), progress("timing") as show:
            for i, other in enumerate(others):
                show.update(i, len(others), other.experiment.id)
                # Whatever is wrong with it is told by its own claim, which asks again.
                with suppress(Exception):
                    _open(config, other)
                    other.time_forwards(questions_of(other, is_update(config)))
        run.time_forwards(questions_of(run, is_update(config)))


@pytest.fixture
def check_verdict(request: pytest.FixtureRequest, experiment_run: Run) -> Callable[[Verdict], None]:
    """Turns a verdict into the test's outcome: FAIL fails, INCONCLUSIVE is shown and fails under --strict-verdicts."""
    from quantbench.quantities.judging import explain
    from quantbench.stats.regression import Change
    from quantbench.stats.verdicts import Outcome

    def check(verdict: Verdict) -> None:
        message = explain(experiment_run.experiment, verdict)
        request.node.user_properties.append((VERDICT_PROPERTY, verdict.outcome.value))
        request.node.user_properties.append((f"quantbench_{verdict.quantity}", verdict.measured))
        if verdict.change is not None:
            request.node.user_properties.append((CHANGE_PROPERTY, verdict.change.value))
        if verdict.outcome is Outcome.FAIL:
            pytest.fail(message, pytrace=False)
        if verdict.outcome is Outcome.INCONCLUSIVE:
            if request.config.getoption("strict_verdicts"):
                pytest.fail(f"{message}\n  --strict-verdicts: inconclusive counts as failed", pytrace=False)
            told = [experiment_run.experiment.id, message]
            is_new = verdict.change is Change.NO_BASELINE
            properties = request.node.user_properties
            properties.append((NO_BASELINE_PROPERTY, told) if is_new else ("quantbench_message", message))

    return check


@pytest.fixture
def check_gate(experiment_run: Run, gate: str, check_verdict: Callable[[Verdict], None]) -> Callable[[], None]:
    """Measures what the test's gate is about, judges it and makes that the test's outcome."""

    def check() -> None:
        from quantbench.quantities.judging import judge

        check_verdict(judge(experiment_run, gate))

    return check


@pytest.fixture
def check_measured(experiment_run: Run, check_verdict: Callable[[Verdict], None]) -> Callable[[str], None]:
    """Measures a quantity that the experiment sets no bound for, so that its record and the table are complete."""

    def check(quantity: str) -> None:
        from quantbench.quantities.judging import measure

        if (verdict := measure(experiment_run, quantity)) is not None:
            check_verdict(verdict)

    return check


@pytest.fixture
def check_claim(experiment_run: Run, check_verdict: Callable[[Verdict], None]) -> Callable[[str], None]:
    """Makes a claim that needs no bound, by the name of its quantity."""

    def check(claim: str) -> None:
        from quantbench.quantities.judging import judge

        check_verdict(judge(experiment_run, claim))

    return check


@pytest.fixture
def claimed_quantity(request: pytest.FixtureRequest) -> str:
    """The name of the quantity that the claim about any quantity is about."""
    return str(request.param)


@pytest.fixture
def check_quantity(
    request: pytest.FixtureRequest,
    experiment_run: Run,
    claimed_quantity: str,
    check_verdict: Callable[[Verdict], None],
) -> Callable[[], None]:
    """Judges the test's quantity; where it needs a bound and the experiment sets none, measures it for the table."""

    def check() -> None:
        from quantbench.quantities.judging import judge, judged_of, measure
        from quantbench.registry import QUANTITIES

        found = QUANTITIES.get(claimed_quantity, request.node.nodeid)
        if found.timed:
            _time(request.config, experiment_run)
        if found in judged_of(experiment_run.experiment):
            check_verdict(judge(experiment_run, claimed_quantity))
        elif (verdict := measure(experiment_run, found.part)) is not None:
            check_verdict(verdict)

    return check


@pytest.fixture
def check_accepted(
    request: pytest.FixtureRequest, experiment_run: Run, check_claim: Callable[[str], None]
) -> Callable[[str], None]:
    """Compares the run with the accepted result; an update notes it for acceptance at the end of the session."""
    from quantbench.quantities.accuracy_vs_accepted import change_of_behaviour
    from quantbench.registry import QUANTITIES

    def check(claim: str) -> None:
        is_timed = QUANTITIES.get(claim, request.node.nodeid).timed
        if is_timed:
            _time(request.config, experiment_run)
        if request.config.stash[STATE].acceptances.takes(experiment_run, claim):
            return
        if not is_timed and (text := change_of_behaviour(experiment_run)) is not None:
            request.node.user_properties.append((BEHAVIOUR_PROPERTY, text))
        check_claim(claim)

    return check


@pytest.fixture
def check_golden(
    request: pytest.FixtureRequest, experiment_run: Run, snapshot: Any, check_verdict: Callable[[Verdict], None]
) -> Callable[[], None]:
    """Compares the checkpoint with its golden through syrupy; an update notes it for acceptance at the end."""
    from quantbench.experiment.result import RunEvidence
    from quantbench.golden.checkpoints import CHECKPOINTS
    from quantbench.golden.snapshots import golden_extension
    from quantbench.quantities.judging import judge

    def check() -> None:
        evidence = RunEvidence(experiment_run)
        CHECKPOINTS.accepted(evidence)  # a damaged one is told, and never overwritten
        acceptances = request.config.stash[STATE].acceptances
        extension = golden_extension(
            evidence.golden / CHECKPOINTS.folder, partial(acceptances.takes, experiment_run, "checkpoint")
        )
        name = CHECKPOINTS.name(experiment_run.experiment.id, experiment_run.engine)
        # syrupy counts it, and decides what its options make of a difference.
        is_same = CHECKPOINTS.document(evidence) == snapshot(name=name, extension_class=extension)
        if acceptances.has(experiment_run, "checkpoint"):
            return
        check_verdict(judge(experiment_run, "checkpoint"))
        if not is_same:
            pytest.fail(f"{experiment_run.experiment.id}: the golden cannot be read as a snapshot", pytrace=False)

    return check


@pytest.fixture
def check_search(
    request: pytest.FixtureRequest, experiment_run: Run, check_claim: Callable[[str], None]
) -> Callable[[], None]:
    """Compares what the experiment's search finds with its golden; an update notes it for acceptance at the end."""

    def check() -> None:
        with _uncaptured(request.config):
            experiment_run.measured("search")
        if not request.config.stash[STATE].acceptances.takes(experiment_run, "search"):
            check_claim("search")

    return check
