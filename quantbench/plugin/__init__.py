"""pytest plugin: options, parameters from `configs/`, fixtures, outcomes, summary. It translates and decides nothing.

Nothing of torch, pydantic or the modules that measure is imported before an experiment's test is collected, since this
module is loaded by every pytest run of an environment that has quantbench installed.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quantbench.plugin.benchmark import ReplayedClock
from quantbench.plugin.claimed import (
    FIXTURE,
    GENERIC_CLAIM,
    QUANTITY,
    claim_of,
    claimed_experiments,
    claimed_pairs,
    is_claim,
    is_timed,
    judged_quantity,
    unclaimed,
)
from quantbench.plugin.looked_at import refuse_xfail
from quantbench.plugin.no_claim import nothing_runs, uncollected_file
from quantbench.plugin.options import (
    TAKEN,
    add_markers,
    add_options,
    check_options,
    long_name,
    option,
    read_short_names,
    spelled,
)
from quantbench.plugin.properties import CLAIM_PROPERTY, MESSAGE_PROPERTY, NO_BASELINE_PROPERTY, VERDICT_PROPERTY
from quantbench.plugin.state import STATE, State
from quantbench.stopping import TERMINATED, status, stoppable

pytest_plugins = ("quantbench.plugin.fixtures",)
# Id of a test that is about no experiment.
NOTHING = "no-experiment"
# Whoever stops a run does not want what it has found so far to be accepted.
CUT_SHORT = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
# Nothing was measured, so that records written earlier stay.
NOTHING_RAN = (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Reads short names of our options, once every conftest.py that may have an option of such a name is loaded."""
    # Where conftest.py files are looked for depends on which arguments are values of options.
    seen = list(args)
    read_short_names(seen, parser)
    known = early_config.known_args_namespace
    early_config.known_args_namespace = parser.parse_known_args(seen, namespace=copy.copy(early_config.option))
    early_config.known_args_namespace.confcutdir = known.confcutdir
    yield
    early_config.stash[TAKEN] = read_short_names(args, parser)


def pytest_configure(config: pytest.Config) -> None:
    add_markers(config)
    config.stash[STATE] = State(config)
    check_options(config)
    _allow_imports(config)
    # Without a name, by which it could be switched off.
    config.pluginmanager.register(_Reports(config.stash[STATE]))
    if option(config, "update-golden"):
        config.option.update_snapshots = True


def _allow_imports(config: pytest.Config) -> None:
    """Lets workload files name the modules of `--allow-import`, as long as pytest runs."""
    if modules := option(config, "allow-import"):
        from quantbench.config.import_paths import ALLOW_VARIABLE, allow_imports

        patch = pytest.MonkeyPatch()
        patch.setenv(ALLOW_VARIABLE, os.environ.get(ALLOW_VARIABLE, ""))
        allow_imports(modules)
        config.add_cleanup(patch.undo)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Ends a run that could only show something, since pytest is not asked again before it does."""
    state = State(config)
    if line := nothing_runs(config, state.folder("golden"), state.folder("configs")):
        raise pytest.UsageError(line)


def pytest_pycollect_makeitem(obj: object) -> list[pytest.Item] | None:
    """Leaves out the claim about any quantity where each has a claim of its own."""
    if getattr(obj, "__module__", None) != GENERIC_CLAIM or not callable(obj):
        return None
    return None if unclaimed() else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not is_claim(metafunc.definition):
        return
    from quantbench.errors import QuantbenchError
    from quantbench.foreign import calling

    state = metafunc.config.stash[STATE]
    is_generic = QUANTITY in metafunc.fixturenames
    params: list[Any] = []
    try:
        with calling("reading the configuration"):
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


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Tells the names of options that something else has, where the run makes claims."""
    taken = config.stash[TAKEN] if config.stash[STATE].has_claims else frozenset[str]()
    return [f"{name} is an option of something else here; the suite's is {long_name(name)}" for name in sorted(taken)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Ends a run of experiments whose configuration, options or goldens are wrong; drops claims about no experiment.

    Timed claims come last, as the session plans them.
    """
    # Before -k and -m leave tests out, since a test that was left out still checks its golden in another run.
    claims = [item for item in items if is_claim(item)]
    state = config.stash[STATE]
    state.has_claims = bool(claims)
    if not claims:
        # Every project of an environment that has the suite pays for what is done here.
        yield
        return
    if mistake := _audited(config, claims):
        state.mistake = mistake
        if not hasattr(config, "workeroutput"):
            raise pytest.UsageError(mistake)
        # In a parallel worker an exception would show as a crash of the worker; the controller ends the run.
        config.workeroutput["quantbench_mistake"] = mistake
        items.clear()
    for item in claims:
        _hand_clock(item)
    before = {claim for item in items if (claim := claim_of(item)) is not None}
    yield
    after = {claim for item in items if (claim := claim_of(item)) is not None}
    state.looked_at.dropped |= before - after - state.deselected
    state.looked_at.selected |= after
    if empty := [item for item in items if is_claim(item) and item.callspec.params[FIXTURE] is None]:  # type: ignore[attr-defined]
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
    items.sort(key=is_timed)
    if claims := [item for item in items if is_claim(item)]:
        from quantbench.quantities.judging import family_of

        judged = [name for item in claims if (name := judged_quantity(item)) is not None]
        state.interval_gates = family_of(judged).gates
        if state.shard:
            # All shards share the false alarms of the run, so that each is judged as the whole would be.
            from quantbench.session.plan import Plan

            state.interval_gates = Plan.of_experiments(state.chosen).family.gates
            # Before anything is accepted.
            state.note_revision()
        timed = {item.callspec.params[FIXTURE].id for item in claims if is_timed(item)}  # type: ignore[attr-defined]
        # In the order of the configuration, as a session without tests plans them.
        state.timed = [experiment for experiment in state.experiments if experiment.id in timed]


def _audited(config: pytest.Config, claims: list[pytest.Item]) -> str | None:
    from quantbench.plugin.audit import audit

    return audit(config, config.stash[STATE], claims)


def _hand_clock(item: pytest.Item) -> None:
    """Hands pytest-benchmark a clock that tells it the times of a latency claim, which were measured in rounds."""
    if "timed_run" in getattr(item, "fixturenames", ()):
        given = item.get_closest_marker("benchmark")
        options = {**(given.kwargs if given else {}), "timer": ReplayedClock()}
        item.add_marker(pytest.mark.benchmark(**options), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Lets SIGTERM, as a CI service sends it, end a run of experiments as Ctrl-C does: with what it has found.

    Parallel workers are ended by their controller, and a debugger would take it for a failure of the test.
    """
    config = session.config
    is_alone = not config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not config.stash[STATE].has_claims or not is_alone or config.option.usepdb:
        return (yield)
    with stoppable():
        try:
            return (yield)
        except KeyboardInterrupt:
            config.stash[STATE].is_terminated = status() == TERMINATED
            raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _one_line_errors(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _one_line_errors(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes which claim a test makes; an expected failure is a failure."""
    report = yield
    if (claim := claim_of(item)) is not None:
        refuse_xfail(report, claim)
        report.user_properties.append((CLAIM_PROPERTY, " ".join(claim)))
    if is_claim(item) and _is_inconclusive(report):
        # To everyone who reads reports it is not passed: JUnit, HTML, dashboards.
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"INCONCLUSIVE: {_message_of(report)}")
    return report


def _is_inconclusive(report: pytest.TestReport | pytest.CollectReport) -> bool:
    properties = getattr(report, "user_properties", ())
    return report.when == "call" and not report.failed and (VERDICT_PROPERTY, "INCONCLUSIVE") in properties


def _message_of(report: pytest.TestReport) -> str:
    properties = dict(report.user_properties)
    if (message := properties.get(MESSAGE_PROPERTY)) is not None:
        return str(message)
    found = properties.get(NO_BASELINE_PROPERTY)
    return str(found[1]) if isinstance(found, list) else ""


class _Reports:
    """Listens to the reports of all tests, those of workers too."""

    def __init__(self, state: State) -> None:
        self.state = state

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.state.deselected |= {claim for item in items if (claim := claim_of(item)) is not None}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.state.has_collection_errors |= report.failed
        # Each parallel worker reports it.
        line = uncollected_file(self.state.config, report) if report.failed else None
        if line is not None and line not in self.state.premises:
            self.state.premises.append(line)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.state.looked_at.note(report)


@contextmanager
def _one_line_errors(item: pytest.Item) -> Generator[None]:
    """Shows our own errors as their line, without a traceback through code that the user did not write."""
    try:
        yield
    except Exception as error:
        # Tests that make no claim about an experiment are left alone.
        if not is_claim(item):
            raise
        from quantbench.errors import QuantbenchError, named

        if not isinstance(error, QuantbenchError):
            raise
        id_ = item.callspec.id if hasattr(item, "callspec") else item.name
        repeated = item.config.stash[STATE].causes.shortened(error, claim_of(item), item.name)
        text = named(id_, repeated or error)
        if not repeated and item.config.get_verbosity() > 1:
            from quantbench.foreign import traceback_of

            text += f"\n\n{traceback_of(error)}"
        raise pytest.fail.Exception(text, pytrace=False) from None


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """INCONCLUSIVE is an outcome of its own: neither passed nor skipped."""
    if _is_inconclusive(report):
        return "inconclusive", "?", ("INCONCLUSIVE", {"yellow": True})
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over what a parallel worker measured."""
    state = node.config.stash[STATE]
    output = getattr(node, "workeroutput", {})
    state.collected += output.get("quantbench_records", [])
    state.elsewhere.update(output.get("quantbench_not_run", {}))
    state.errors_elsewhere += output.get("quantbench_errors", [])
    state.lost.update(dict.fromkeys(output.get("quantbench_lost", [])))
    state.repeats.update(dict.fromkeys(output.get("quantbench_repeats", [])))
    state.mistake = output.get("quantbench_mistake", state.mistake)
    state.interval_gates = output.get("quantbench_interval_gates", state.interval_gates)
    state.has_claims = output.get("quantbench_has_claims", False) or state.has_claims
    state.is_broken = output.get("quantbench_is_broken", False) or state.is_broken
    state.looked_at.dropped |= {(id_, quantity) for id_, quantity in output.get("quantbench_dropped", [])}
    state.looked_at.selected |= {(id_, quantity) for id_, quantity in output.get("quantbench_selected", [])}


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    state = session.config.stash[STATE]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["quantbench_records"] = state.own_records()
        errors = [[each.experiment, each.reason] for each in state.errors()]
        session.config.workeroutput["quantbench_errors"] = errors
        session.config.workeroutput["quantbench_not_run"] = state.not_run
        session.config.workeroutput["quantbench_lost"] = list(state.lost)
        session.config.workeroutput["quantbench_repeats"] = state.own_repeats
        # Each worker collects all tests, and so knows how many gates the whole run has.
        session.config.workeroutput["quantbench_interval_gates"] = state.interval_gates
        session.config.workeroutput["quantbench_has_claims"] = state.has_claims
        session.config.workeroutput["quantbench_is_broken"] = state.has_broken_claims
        session.config.workeroutput["quantbench_dropped"] = sorted(state.looked_at.dropped)
        session.config.workeroutput["quantbench_selected"] = sorted(state.looked_at.selected)
        return
    if state.mistake is not None:
        session.exitstatus = exitstatus = pytest.ExitCode.USAGE_ERROR
    is_cut_short = exitstatus in CUT_SHORT or bool(session.shouldfail or session.shouldstop)
    is_sound = state.finish(is_cut_short)
    path = option(session.config, "json")
    if path and exitstatus not in NOTHING_RAN and not session.config.option.collectonly:
        from quantbench.report.documents import write_records

        with state.losing(f"{spelled(session.config, '--json')} {path}: writing the records"):
            facts = shard.facts(state.chosen, state.note_revision()) if (shard := state.shard) else None
            write_records(Path(path), state.records(), state.not_run_list(), state.errors(), facts, state.premises)
    if not is_sound or state.lost:
        _fail(session)
    if state.is_terminated:
        session.exitstatus = TERMINATED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    # A parallel worker writes to nowhere, but plots and the page of a CI service are files.
    if hasattr(terminalreporter.config, "workeroutput"):
        return
    from quantbench.plugin.summary import write_summary

    write_summary(terminalreporter)
    if terminalreporter.config.stash[STATE].lost:
        _fail(terminalreporter._session)


def _fail(session: pytest.Session) -> None:
    """Fails a run that nothing else has failed."""
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
