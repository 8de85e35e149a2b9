"""pytest plugin: options, parameters from `configs/`, fixtures, outcomes, summary. It translates and decides nothing.

Nothing of torch, pydantic or the modules that measure is imported before an experiment's test is collected, since this
module is loaded by every pytest run of an environment that has quantbench installed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quantbench.plugin_state import State, one_line_errors

if TYPE_CHECKING:
    from quantbench.config import Experiment
    from quantbench.measure.latency import InterleavedForwards
    from quantbench.runner import Run
    from quantbench.stats.verdicts import Verdict

_STATE = pytest.StashKey[State]()
FIXTURE = "experiment_run"
VERDICT_PROPERTY = "quantbench_verdict"
GOLDEN_PROPERTY = "quantbench_golden"
# Nothing was measured, so that records written earlier stay.
NOTHING_RAN = (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("quantbench", "quantization benchmarks")
    group.addoption("--configs", metavar="DIR", help="folder of workload files (default: configs/ in the root folder)")
    group.addoption(
        "--golden", metavar="DIR", help="folder of goldens and baselines (default: golden/ in the root folder)"
    )
    group.addoption(
        "--experiment", action="append", default=[], metavar="ID",
        help="run only this experiment: an exact id or a glob; may be given several times",
    )  # fmt: skip
    group.addoption("--update-golden", action="store_true", help="accept the checkpoints found; refused when CI is set")
    group.addoption("--strict-verdicts", action="store_true", help="INCONCLUSIVE fails")
    group.addoption(
        "--real-data", action="store_true", help="download missing data sets, and fail where data stays absent"
    )
    group.addoption("--retrain", action="store_true", help="train quantization-aware experiments for real")
    group.addoption("--json", metavar="FILE", dest="quantbench_json", help="write the records of the run to FILE")
    group.addoption(
        "--plots", metavar="DIR", help="folder of the bar chart of blocks (default: out/ in the root folder)"
    )
    group.addoption("--engine", metavar="NAME", help="quantized engine (default: x86 on x86-64, qnnpack on Arm)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gate(name): the claim is parametrized by the experiments that set this gate")
    config.addinivalue_line("markers", "ungated(name): the test is parametrized by those that do not set this gate")
    config.addinivalue_line("markers", "latency: measures time; never under parallel workers")
    config.stash[_STATE] = State(config)
    if (path := config.getoption("quantbench_json")) and not hasattr(config, "workerinput"):
        from quantbench.errors import ConfigError
        from quantbench.report.documents import check_place

        try:
            check_place(Path(path))
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
    if (plots := config.getoption("plots")) and Path(plots).exists() and not Path(plots).is_dir():
        raise pytest.UsageError(f"--plots {plots}: is no folder; name one, which is made where there is none")
    if config.getoption("retrain") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--retrain: two workers would train the same weights; drop -n")
    if config.getoption("update_golden"):
        config.option.update_snapshots = True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not _is_claim(metafunc.definition):
        return
    from quantbench.errors import QuantbenchError

    state = metafunc.config.stash[_STATE]
    experiments: list[Experiment] = []
    try:
        experiments = _claimed_experiments(state, metafunc.definition)
    except QuantbenchError as error:
        # Raised here it would be a traceback per test file; the end of collection says it once.
        state.mistake = str(error)
    # Where no experiment sets the gate the one test without an experiment is deselected, not skipped.
    params = [pytest.param(e, id=e.id) for e in experiments] or [pytest.param(None, id="no-experiment")]
    metafunc.parametrize(FIXTURE, params, indirect=True)


def _is_claim(node: pytest.Item) -> bool:
    """Whether a test asks for our fixture, directly or through an override of it, and not for a namesake."""
    info = getattr(node, "_fixtureinfo", None)
    for definition in reversed(info.name2fixturedefs.get(FIXTURE, ()) if info else ()):
        if definition.func.__module__ == __name__:
            return True
        if FIXTURE not in definition.argnames:
            return False
    return False


def _claimed_experiments(state: State, definition: pytest.Item) -> list[Experiment]:
    """The selected experiments; of a gate's claim those that set the gate, of its `ungated` twin the others."""
    gate, ungated = definition.get_closest_marker("gate"), definition.get_closest_marker("ungated")
    marker = gate or ungated
    if marker is None:
        return state.selected
    from quantbench.config import Gates
    from quantbench.errors import ConfigError
    from quantbench.registry import unknown_name

    name = str(marker.args[0]) if marker.args else ""
    if name not in Gates.model_fields:
        raise ConfigError(f"{definition.nodeid}: {unknown_name('gate', name, sorted(Gates.model_fields))}")
    return [e for e in state.selected if (getattr(e.config.gates, name) is not None) == (gate is not None)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ends a run of experiments whose configuration, options or goldens are wrong; drops claims about no experiment."""
    claims = [item for item in items if _is_claim(item)]
    if not claims:
        return
    state = config.stash[_STATE]
    if mistake := state.mistake or _refusal(config) or _orphans(state):
        if not hasattr(config, "workeroutput"):
            raise pytest.UsageError(mistake)
        # In a parallel worker an exception would show as a crash of the worker; the controller ends the run.
        config.workeroutput["quantbench_mistake"] = mistake
        items.clear()
        return
    if empty := [item for item in claims if item.callspec.params[FIXTURE] is None]:  # type: ignore[attr-defined]
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]


def _refusal(config: pytest.Config) -> str | None:
    """Why nothing may be accepted in CI, if that was asked for."""
    asked = config.option.update_snapshots or config.option.update_new_snapshots_only
    if not (asked and os.environ.get("CI")):
        return None
    return (
        "--update-golden is refused because CI is set: a gate must not accept what it checks; update on a "
        "developer's machine and commit the golden"
    )


def _orphans(state: State) -> str | None:
    """Which goldens no experiment claims, whatever part of the suite was selected."""
    from quantbench.goldens import orphans

    found = orphans(state.folder("golden"), state.experiments)
    if not found:
        return None
    names = ", ".join(map(str, found))
    return f"orphan golden, claimed by no experiment in {state.folder('configs')}: {names}; remove it"


@pytest.fixture
def experiment_run(request: pytest.FixtureRequest) -> Run:
    """The measurements of one experiment, shared by every claim about it."""
    from quantbench.data.source import DOWNLOAD_VARIABLE
    from quantbench.errors import DataMissingError

    state = request.config.stash[_STATE]
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with one_line_errors(item, _is_claim(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with one_line_errors(item, _is_claim(item)):
        return (yield)


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """INCONCLUSIVE is an outcome of its own: neither passed nor skipped."""
    if report.when == "call" and report.passed and (VERDICT_PROPERTY, "INCONCLUSIVE") in report.user_properties:
        return "inconclusive", "?", ("INCONCLUSIVE", {"yellow": True})
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over what a parallel worker measured."""
    state = node.config.stash[_STATE]
    output = getattr(node, "workeroutput", {})
    state.collected += [json.loads(record) for record in output.get("quantbench_records", [])]
    state.not_run.update(output.get("quantbench_not_run", {}))
    state.mistake = output.get("quantbench_mistake", state.mistake)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    state = session.config.stash[_STATE]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["quantbench_records"] = state.own_records()
        session.config.workeroutput["quantbench_not_run"] = state.not_run
        return
    if state.mistake is not None:
        session.exitstatus = exitstatus = pytest.ExitCode.USAGE_ERROR
    path = session.config.getoption("quantbench_json")
    if path and exitstatus not in NOTHING_RAN and not session.config.option.collectonly:
        from quantbench.report.documents import write_records

        write_records(Path(path), state.records(), state.not_run_list())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    state = config.stash[_STATE]
    if state.mistake is not None and config.getoption("numprocesses", None):
        terminalreporter.write_line(f"ERROR: {state.mistake}", red=True)
    for text in _properties(terminalreporter, GOLDEN_PROPERTY):
        terminalreporter.write_line(text)
    inconclusive = list(_properties(terminalreporter, "quantbench_message"))
    if inconclusive:
        terminalreporter.section("inconclusive: more samples, or a quiet machine without parallel workers, decide")
        for text in inconclusive:
            terminalreporter.write_line(text)
    if not state.has_results:
        return
    from quantbench.report.step_summary import append_step_summary
    from quantbench.report.tables import terminal_table

    records, not_run = state.records(), state.not_run_list()
    if not records and not not_run:
        return
    append_step_summary(records, not_run)
    terminalreporter.section("quantbench")
    width, color = terminalreporter._tw.fullwidth, terminalreporter._tw.hasmarkup
    terminalreporter.write(terminal_table(records, not_run, width, color))
    from quantbench.report.sensitivity_plot import sensitivity_summary

    terminalreporter.write(sensitivity_summary(records, state.folder("plots")))


def _properties(terminalreporter: Any, name: str) -> Iterator[str]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                yield from (value for key, value in report.user_properties if key == name)
