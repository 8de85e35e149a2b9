"""pytest plugin: options, parameters from `configs/`, fixtures, outcomes, summary. It translates and decides nothing.

Nothing of torch, pydantic or the package's own modules is imported before an experiment's test is collected, since this
module is loaded by every pytest run of an environment that has quantbench installed.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quantbench.config import Experiment
    from quantbench.records import NotRun, RunRecord
    from quantbench.runner import Run, Session
    from quantbench.stats.verdicts import Verdict

FIXTURE = "experiment_run"
VERDICT_PROPERTY = "quantbench_verdict"
GOLDEN_PROPERTY = "quantbench_golden"


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
    group.addoption("--engine", metavar="NAME", help="quantized engine (default: x86 on x86-64, qnnpack on Arm)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gate(name): the claim is parametrized by the experiments that set this gate")
    config.addinivalue_line("markers", "latency: measures time; never under parallel workers")
    config.stash[_STATE] = _State(config)
    if config.getoption("update_golden"):
        config.option.update_snapshots = True


class _State:
    """What one pytest process knows; experiments and session are made when first needed."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.not_run: dict[str, str] = {}
        self.collected: list[dict[str, Any]] = []
        self._experiments: list[Experiment] | None = None
        self._session: Session | None = None

    def folder(self, option: str) -> Path:
        given = self.config.getoption(option)
        folder = Path(given) if given else self.config.rootpath / option
        return Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder

    @property
    def experiments(self) -> list[Experiment]:
        """Every configured experiment, before any selection."""
        if self._experiments is None:
            from quantbench.config import load_experiments
            from quantbench.errors import QuantbenchError

            try:
                self._experiments = load_experiments(self.folder("configs"))
            except QuantbenchError as error:
                raise pytest.UsageError(str(error)) from None
        return self._experiments

    @property
    def selected(self) -> list[Experiment]:
        """The experiments that `--experiment` names, or all."""
        from quantbench.config import select
        from quantbench.errors import QuantbenchError

        patterns = self.config.getoption("experiment")
        if not patterns:
            return self.experiments
        try:
            chosen = {experiment.id for pattern in patterns for experiment in select(self.experiments, pattern)}
        except QuantbenchError as error:
            raise pytest.UsageError(f"--experiment: {error}") from None
        return [experiment for experiment in self.experiments if experiment.id in chosen]

    @property
    def session(self) -> Session:
        if self._session is None:
            from quantbench.runner import Session, Settings

            self._session = Session(
                Settings(self.folder("golden"), self.config.getoption("engine"), self.config.getoption("retrain"))
            )
        return self._session

    def records(self) -> list[RunRecord]:
        """Of every run that measured anything, in the order of the configuration; workers' parts are merged."""
        from quantbench.records import RunRecord

        parts = [json.loads(record) for record in self.own_records()] + self.collected
        merged: dict[str, dict[str, Any]] = {}
        for part in parts:
            known = merged.setdefault(part["experiment"], part)
            verdicts = {v["quantity"]: v for v in [*known["verdicts"], *part["verdicts"]]}
            known.update({key: value for key, value in part.items() if value is not None})
            known["verdicts"] = list(verdicts.values())
        order = {experiment.id: i for i, experiment in enumerate(self.experiments)} if merged else {}
        return [RunRecord.model_validate(merged[id_]) for id_ in sorted(merged, key=lambda id_: order.get(id_, 0))]

    def own_records(self) -> list[str]:
        """Records of this process, as JSON."""
        if self._session is None:
            return []
        measured = ("accuracy", "size", "checkpoint", "coverage")
        runs = [
            run for run in self._session.runs.values() if run.timings or any(key in run.__dict__ for key in measured)
        ]
        return [run.record(_command()).model_dump_json() for run in runs]

    def not_run_list(self) -> list[NotRun]:
        from quantbench.records import NotRun

        return [NotRun(experiment=id_, reason=reason) for id_, reason in sorted(self.not_run.items())]


_STATE = pytest.StashKey[_State]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if FIXTURE not in metafunc.fixturenames:
        return
    experiments = metafunc.config.stash[_STATE].selected
    marker = metafunc.definition.get_closest_marker("gate")
    if marker is not None:
        experiments = [e for e in experiments if getattr(e.config.gates, marker.args[0]) is not None]
    metafunc.parametrize(FIXTURE, [pytest.param(e, id=e.id) for e in experiments], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuses to accept anything in CI, and fails a run of experiments whose goldens hold an orphan."""
    if not any(FIXTURE in getattr(item, "fixturenames", ()) for item in items):
        return
    from quantbench.goldens import orphans

    state = config.stash[_STATE]
    if config.option.update_snapshots and os.environ.get("CI"):
        raise pytest.UsageError(
            "--update-golden is refused because CI is set: a gate must not accept what it checks; update on a "
            "developer's machine and commit the golden"
        )
    if found := orphans(state.folder("golden"), state.experiments):
        names = ", ".join(str(path) for path in found)
        raise pytest.UsageError(
            f"orphan golden, claimed by no experiment in {state.folder('configs')}: {names}; remove it"
        )


@pytest.fixture
def experiment_run(request: pytest.FixtureRequest) -> Run:
    """The measurements of one experiment, shared by every claim about it."""
    from quantbench.data.cifar10 import DOWNLOAD_VARIABLE
    from quantbench.errors import DataMissingError

    state = request.config.stash[_STATE]
    real_data = request.config.getoption("real_data")
    if real_data:
        os.environ[DOWNLOAD_VARIABLE] = "1"
    run = state.session.run(request.param)
    try:
        run.opened.splits  # noqa: B018 — opened here, so that absent data is told apart from a failure
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
def timed_run(experiment_run: Run, benchmark: Any) -> Run:
    """The run with its forwards timed in interleaved rounds, the int8 one by pytest-benchmark."""
    from quantbench.measure.latency import WARMUP_ROUNDS, quiet_process

    config = experiment_run.experiment.workload.config.latency
    forwards = experiment_run.forwards()
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
def check_golden(request: pytest.FixtureRequest, experiment_run: Run, snapshot: Any) -> Callable[[], None]:
    """Compares the checkpoint with its golden through syrupy; an update prints old → new."""
    from quantbench.golden_extension import golden_extension
    from quantbench.goldens import differences, read_golden, shortened
    from quantbench.judging import explain, judge_golden

    def check() -> None:
        name, golden = experiment_run.golden_name, experiment_run.settings.golden
        accepted, found = read_golden(golden, name), experiment_run.golden_document()
        verdict = judge_golden(experiment_run)
        same = found == snapshot(name=name, extension_class=golden_extension(golden / "checkpoints"))
        if request.config.option.update_snapshots:
            path = f"{golden / 'checkpoints' / name}.json"
            if accepted is None:
                text = f"{path}: accepted for the first time, {len(found['keys'])} keys"
                request.node.user_properties.append((GOLDEN_PROPERTY, text))
            elif changed := differences(accepted, found):
                text = f"{path}: updated, old → new:\n{shortened(changed)}"
                request.node.user_properties.append((GOLDEN_PROPERTY, text))
            verdict = judge_golden(experiment_run)
        experiment_run.verdicts[verdict.quantity] = verdict
        if not same:
            pytest.fail(explain(experiment_run.experiment, verdict), pytrace=False)

    return check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _one_line_errors(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _one_line_errors(item):
        return (yield)


class _one_line_errors:  # noqa: N801 — reads as a statement
    """Shows our own errors as their line, without a traceback through code the user did not write."""

    def __init__(self, item: pytest.Item) -> None:
        self.active = FIXTURE in getattr(item, "fixturenames", ())
        self.item = item

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self.active or error is None or "quantbench.errors" not in sys.modules:
            return
        from quantbench.errors import QuantbenchError

        if isinstance(error, QuantbenchError):
            id_ = self.item.callspec.id if hasattr(self.item, "callspec") else self.item.name
            raise pytest.fail.Exception(f"{id_}: {error}", pytrace=False) from None


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    state = session.config.stash[_STATE]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["quantbench_records"] = state.own_records()
        session.config.workeroutput["quantbench_not_run"] = state.not_run
        return
    if path := session.config.getoption("quantbench_json"):
        from quantbench.files import write_text
        from quantbench.records import RecordFile

        file = RecordFile(records=state.records(), not_run=state.not_run_list())
        write_text(Path(path), file.model_dump_json(indent=1) + "\n")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    state = config.stash[_STATE]
    for text in _properties(terminalreporter, GOLDEN_PROPERTY):
        terminalreporter.write_line(text)
    inconclusive = list(_properties(terminalreporter, "quantbench_message"))
    if inconclusive:
        terminalreporter.section("inconclusive: more samples or a quieter machine would decide")
        for text in inconclusive:
            terminalreporter.write_line(text)
    records, not_run = state.records(), state.not_run_list()
    if not records and not not_run:
        return
    from quantbench.report.tables import terminal_table

    terminalreporter.section("quantbench")
    width, color = terminalreporter._tw.fullwidth, terminalreporter._tw.hasmarkup
    terminalreporter.write(terminal_table(records, not_run, width, color))


def _properties(terminalreporter: Any, name: str) -> Iterator[str]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                yield from (value for key, value in report.user_properties if key == name)


def _command() -> str:
    """The command line as a user would type it again."""
    program = Path(sys.argv[0]).name
    return shlex.join(["pytest" if program.startswith(("pytest", "__main__")) else program, *sys.argv[1:]])
