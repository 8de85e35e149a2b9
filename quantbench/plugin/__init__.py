"""pytest plugin: options, parameters from `configs/`, fixtures, outcomes, summary. It translates and decides nothing.

Nothing of torch, pydantic or the modules that measure is imported before an experiment's test is collected, since this
module is loaded by every pytest run of an environment that has quantbench installed.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantbench.plugin.audit import audit
from quantbench.plugin.claimed import (
    FIXTURE,
    GENERIC_CLAIM,
    QUANTITY,
    claimed_experiments,
    claimed_pairs,
    judged_quantity,
    unclaimed,
)
from quantbench.plugin.state import (
    BEHAVIOUR_PROPERTY,
    NO_BASELINE_PROPERTY,
    STATE,
    VERDICT_PROPERTY,
    ReplayedClock,
    State,
    one_line_errors,
)

pytest_plugins = ("quantbench.plugin.fixtures",)
# Id of a test that is about no experiment.
NOTHING = "no-experiment"
# Whoever stops a run does not want what it has found so far to be accepted.
CUT_SHORT = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
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
    group.addoption(
        "--update-golden", action="store_true",
        help="accept what is found of the experiments named by --experiment; needs --reason; refused when CI is set",
    )  # fmt: skip
    group.addoption("--reason", metavar="TEXT", help="why a golden is updated, kept in its history")
    group.addoption("--strict-verdicts", action="store_true", help="INCONCLUSIVE fails")
    group.addoption(
        "--real-data", action="store_true", help="download missing data sets, and fail where data stays absent"
    )
    group.addoption("--retrain", action="store_true", help="train quantization-aware experiments for real")
    group.addoption("--amp", action="store_true", help="with --retrain: train in bf16 (torch.autocast)")
    group.addoption("--json", metavar="FILE", dest="quantbench_json", help="write the records of the run to FILE")
    group.addoption(
        "--plots", metavar="DIR", help="folder of the bar chart of blocks (default: out/ in the root folder)"
    )
    group.addoption("--engine", metavar="NAME", help="quantized engine (default: x86 on x86-64, qnnpack on Arm)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gate(name): the claim is parametrized by the experiments that set this gate")
    config.addinivalue_line("markers", "ungated(name): the test is parametrized by those that do not set this gate")
    config.addinivalue_line(
        "markers", "claim(name): the claim, of a quantity without a gate, is about these experiments"
    )
    config.addinivalue_line("markers", "searched: the test is parametrized by the experiments that ask for a search")
    config.addinivalue_line("markers", "latency: measures time; never under parallel workers")
    config.stash[STATE] = State(config)
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
    if config.getoption("amp") and not config.getoption("retrain"):
        raise pytest.UsageError("--amp: is how --retrain trains; add --retrain, or drop --amp")
    if config.getoption("update_golden"):
        config.option.update_snapshots = True


def pytest_pycollect_makeitem(obj: object) -> list[pytest.Item] | None:
    """Leaves out the claim about any quantity where each has a claim of its own."""
    if getattr(obj, "__module__", None) != GENERIC_CLAIM or not callable(obj):
        return None
    return None if unclaimed() else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not _is_claim(metafunc.definition):
        return
    from quantbench.errors import QuantbenchError

    state = metafunc.config.stash[STATE]
    is_generic = QUANTITY in metafunc.fixturenames
    params: list[Any] = []
    try:
        if is_generic:
            params = claimed_pairs(state)
        else:
            params = [pytest.param(e, id=e.id) for e in claimed_experiments(state, metafunc.definition)]
    except QuantbenchError as error:
        # Raised here it would be a traceback per test file; the end of collection says it once.
        state.mistake = str(error)
    # Where no experiment sets the gate the one test without an experiment is deselected, not skipped.
    if is_generic:
        metafunc.parametrize((FIXTURE, QUANTITY), params or [pytest.param(None, None, id=NOTHING)], indirect=True)
    else:
        metafunc.parametrize(FIXTURE, params or [pytest.param(None, id=NOTHING)], indirect=True)


def _is_claim(node: pytest.Item) -> bool:
    """Whether a test asks for our fixture, directly or through an override of it, and not for a namesake."""
    info = getattr(node, "_fixtureinfo", None)
    for definition in reversed(info.name2fixturedefs.get(FIXTURE, ()) if info else ()):
        if definition.func.__module__ == "quantbench.plugin.fixtures":
            return True
        if FIXTURE not in definition.argnames:
            return False
    return False


def pytest_itemcollected(item: pytest.Item) -> None:
    """Hands pytest-benchmark a clock that tells it the times of a latency claim, which were measured in rounds."""
    if "timed_run" in getattr(item, "fixturenames", ()):
        given = item.get_closest_marker("benchmark")
        options = {**(given.kwargs if given else {}), "timer": ReplayedClock()}
        item.add_marker(pytest.mark.benchmark(**options), append=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Ends a run of experiments whose configuration, options or goldens are wrong; drops claims about no experiment."""
    # Before -k and -m leave tests out, since a test that was left out still checks its golden in another run.
    claims = [item for item in items if _is_claim(item)]
    state = config.stash[STATE]
    if claims and (mistake := audit(config, state, claims)):
        if not hasattr(config, "workeroutput"):
            raise pytest.UsageError(mistake)
        # In a parallel worker an exception would show as a crash of the worker; the controller ends the run.
        config.workeroutput["quantbench_mistake"] = mistake
        items.clear()
    yield
    if empty := [item for item in items if _is_claim(item) and item.callspec.params[FIXTURE] is None]:  # type: ignore[attr-defined]
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
    if judged := [name for item in items if _is_claim(item) and (name := judged_quantity(item)) is not None]:
        from quantbench.quantities.judging import family_of

        state.interval_gates = family_of(judged).gates
    timed = [item for item in items if _is_claim(item) and item.get_closest_marker("latency") is not None]
    state.timed = list({e.id: e for e in (item.callspec.params[FIXTURE] for item in timed)}.values())  # type: ignore[attr-defined]


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
    state = node.config.stash[STATE]
    output = getattr(node, "workeroutput", {})
    state.collected += [json.loads(record) for record in output.get("quantbench_records", [])]
    state.not_run.update(output.get("quantbench_not_run", {}))
    state.mistake = output.get("quantbench_mistake", state.mistake)
    state.interval_gates = output.get("quantbench_interval_gates", state.interval_gates)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    state = session.config.stash[STATE]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["quantbench_records"] = state.own_records()
        session.config.workeroutput["quantbench_not_run"] = state.not_run
        # Each worker collects all tests, and so knows how many gates the whole run has.
        session.config.workeroutput["quantbench_interval_gates"] = state.interval_gates
        return
    if state.mistake is not None:
        session.exitstatus = exitstatus = pytest.ExitCode.USAGE_ERROR
    if not state.finish(is_cut_short=exitstatus in CUT_SHORT) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
    path = session.config.getoption("quantbench_json")
    if path and exitstatus not in NOTHING_RAN and not session.config.option.collectonly:
        from quantbench.report.documents import write_records

        write_records(Path(path), state.records(), state.not_run_list())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    state = config.stash[STATE]
    if state.mistake is not None and config.getoption("numprocesses", None):
        terminalreporter.write_line(f"ERROR: {state.mistake}", red=True)
    for text in state.told:
        terminalreporter.write_line(text)
    inconclusive = list(_properties(terminalreporter, "quantbench_message"))
    if inconclusive:
        terminalreporter.section("inconclusive: more samples, or a quiet machine without parallel workers, decide")
        for text in inconclusive:
            terminalreporter.write_line(text)
    if new := [(value[0], value[1]) for value in _properties(terminalreporter, NO_BASELINE_PROPERTY)]:
        from quantbench.report.tables import without_baseline

        terminalreporter.section("no baseline for this machine: nothing to compare speed with")
        for text in without_baseline(new):
            terminalreporter.write_line(text)
    if behaviour := list(_properties(terminalreporter, BEHAVIOUR_PROPERTY)):
        terminalreporter.section("change of behaviour: predictions flipped although nothing else changed")
        for text in behaviour:
            terminalreporter.write_line(text)
    if not state.has_results:
        return
    from quantbench.report.step_summary import append_step_summary
    from quantbench.report.tables import terminal_table

    records, not_run = state.records(), state.not_run_list()
    if not records and not not_run:
        return
    append_step_summary(records, not_run, state.sentences())
    terminalreporter.section("quantbench")
    width, color = terminalreporter._tw.fullwidth, terminalreporter._tw.hasmarkup
    terminalreporter.write(terminal_table(records, not_run, width, color))
    for sentence in state.sentences():
        terminalreporter.write_line(sentence)
    from quantbench.report.sensitivity_plot import sensitivity_summary

    terminalreporter.write(sensitivity_summary(records, state.folder("plots")))


def _properties(terminalreporter: Any, name: str) -> Iterator[Any]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                yield from (value for key, value in report.user_properties if key == name)
