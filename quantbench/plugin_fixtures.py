"""Fixtures of the claims in `bench/`: an experiment's run, what is timed, and the outcome that a verdict becomes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from quantbench.plugin_state import GOLDEN_PROPERTY, STATE, VERDICT_PROPERTY

if TYPE_CHECKING:
    from quantbench.measure.latency import InterleavedForwards
    from quantbench.runner import Run
    from quantbench.stats.verdicts import Verdict


@pytest.fixture
def experiment_run(request: pytest.FixtureRequest) -> Run:
    """The measurements of one experiment, shared by every claim about it."""
    from quantbench.data.source import DOWNLOAD_VARIABLE
    from quantbench.errors import DataMissingError

    state = request.config.stash[STATE]
    real_data = request.config.getoption("real_data")
    run = state.session.run(request.param)
    # Making data and training take minutes: their progress belongs on the terminal, not into captured output.
    terminal = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with (
            terminal.global_and_fixture_disabled() if terminal else nullcontext(),
            pytest.MonkeyPatch.context() as environment,
        ):
            if real_data:
                environment.setenv(DOWNLOAD_VARIABLE, "1")
            run.opened.splits  # noqa: B018 — opened here, so that absent data is told apart from a failure
            if state.session.settings.retrain:
                run.artefact  # noqa: B018
    except DataMissingError as error:
        if real_data:
            raise
        state.not_run[run.experiment.id] = str(error)
        request.node.user_properties.append(("quantbench_not_run", [run.experiment.id, str(error)]))
        pytest.skip(f"not run: {error}")
    return run


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> str:
    """The name of the gate that the test's `gate` marker gives."""
    marker = request.node.get_closest_marker("gate")
    if marker is None:
        raise pytest.UsageError(f"{request.node.nodeid}: mark the test with @pytest.mark.gate('<name>')")
    return str(marker.args[0])


@pytest.fixture
def forwards(experiment_run: Run) -> InterleavedForwards:
    """What is timed. Apart from the timing, so that a model that fails here leaves no unused benchmark behind."""
    return experiment_run.forwards()


@pytest.fixture
def timed_run(experiment_run: Run, forwards: InterleavedForwards, benchmark: Any) -> Run:
    """The run with its forwards timed in interleaved rounds, the int8 one by pytest-benchmark."""
    from quantbench.measure.latency import WARMUP_ROUNDS, quiet_process

    config = experiment_run.experiment.workload.config.latency
    with quiet_process(config.threads):
        benchmark.pedantic(
            forwards.int8,
            setup=forwards.before,
            teardown=forwards.after,
            rounds=config.rounds,
            warmup_rounds=WARMUP_ROUNDS,
        )
    # None under parallel workers and under --benchmark-disable: no figures, so no verdict.
    if benchmark.stats is not None:
        experiment_run.timings = forwards.timings(list(benchmark.stats.stats.data))
        latency = experiment_run.latency
        benchmark.extra_info.update(latency.model_dump() if latency else {})
    return experiment_run


@pytest.fixture
def check_verdict(request: pytest.FixtureRequest, experiment_run: Run) -> Callable[[Verdict], None]:
    """Turns a verdict into the test's outcome: FAIL fails, INCONCLUSIVE is shown and fails under --strict-verdicts."""
    from quantbench.judging import explain
    from quantbench.stats.verdicts import Outcome

    def check(verdict: Verdict) -> None:
        message = explain(experiment_run.experiment, verdict)
        request.node.user_properties.append((VERDICT_PROPERTY, verdict.outcome.value))
        request.node.user_properties.append((f"quantbench_{verdict.quantity}", verdict.measured))
        if verdict.outcome is Outcome.FAIL:
            pytest.fail(message, pytrace=False)
        if verdict.outcome is Outcome.INCONCLUSIVE:
            if request.config.getoption("strict_verdicts"):
                pytest.fail(f"{message}\n  --strict-verdicts: inconclusive counts as failed", pytrace=False)
            request.node.user_properties.append(("quantbench_message", message))

    return check


@pytest.fixture
def check_gate(experiment_run: Run, gate: str, check_verdict: Callable[[Verdict], None]) -> Callable[[], None]:
    """Measures what the test's gate is about, judges it and makes that the test's outcome."""

    def check() -> None:
        from quantbench.judging import judge_gate

        check_verdict(judge_gate(experiment_run, gate))

    return check


@pytest.fixture
def check_measured(experiment_run: Run, check_verdict: Callable[[Verdict], None]) -> Callable[[str], None]:
    """Measures a quantity that the experiment sets no bound for, so that its record and the table are complete."""

    def check(quantity: str) -> None:
        from quantbench.judging import measure

        if (verdict := measure(experiment_run, quantity)) is not None:
            check_verdict(verdict)

    return check


@pytest.fixture
def check_reload(experiment_run: Run, check_verdict: Callable[[Verdict], None]) -> Callable[[], None]:
    """Loads the checkpoint in a fresh process and asks for the same bits."""

    def check() -> None:
        from quantbench.judging import judge_reload

        verdict = judge_reload(experiment_run)
        experiment_run.verdicts[verdict.quantity] = verdict
        check_verdict(verdict)

    return check


@pytest.fixture
def check_golden(request: pytest.FixtureRequest, experiment_run: Run, snapshot: Any) -> Callable[[], None]:
    """Compares the checkpoint with its golden through syrupy; an update prints old → new."""
    from quantbench.golden_extension import golden_extension
    from quantbench.goldens import differences, read_golden, shortened
    from quantbench.judging import explain, judge_golden

    def check() -> None:
        name, golden = experiment_run.golden_name, experiment_run.settings.golden
        before, found = read_golden(golden, name), experiment_run.golden_document()
        same = found == snapshot(name=name, extension_class=golden_extension(golden / "checkpoints"))
        after = read_golden(golden, name)
        verdict = judge_golden(experiment_run)
        experiment_run.verdicts[verdict.quantity] = verdict
        properties = request.node.user_properties
        properties += [(VERDICT_PROPERTY, verdict.outcome.value), ("quantbench_checkpoint", verdict.measured)]
        path = f"{golden / 'checkpoints' / name}.json"
        if before is None and after is not None:
            properties.append((GOLDEN_PROPERTY, f"{path}: accepted for the first time, {len(found['keys'])} keys"))
        elif changed := differences(before, after):
            properties.append((GOLDEN_PROPERTY, f"{path}: updated, old → new:\n{shortened(changed)}"))
        if not same:
            pytest.fail(explain(experiment_run.experiment, verdict), pytrace=False)

    return check
