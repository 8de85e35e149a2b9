"""Whatever code of a user raises fails the claims that call it; the run's end is written, and the others are judged."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from raising import ERRORS, HERE, own_code

from quantbench.experiment.run import Run
from quantbench.plugin import pytest_testnodedown
from quantbench.plugin import state as plugin_state
from quantbench.plugin.state import State
from quantbench.report import tables
from quantbench.session.session import Session

HINT = "; for the traceback run again with --verbose (pytest: -vv)"


# Claims about what these projects measure.
CLAIMS = """\
from quantbench.claims.test_accuracy import test_accuracy_drop_is_within_its_bound
from quantbench.claims.test_checkpoint import test_checkpoint_loads_in_a_fresh_process_to_the_same_bits
from quantbench.claims.test_latency import *
from quantbench.claims.test_quantities import *
from quantbench.claims.test_size import *
"""


@pytest.fixture
def ran(bench, project, monkeypatch):
    """Runs the claims about both workloads; what pytest printed, and the records that were written."""
    for file in (project.root / "bench").glob("*.py"):
        file.unlink()
    (project.root / "bench" / "test_claims.py").write_text(CLAIMS)
    with own_code(project, monkeypatch):

        def run(*options):
            path = project.root / "records.json"
            result = bench("--json", path, *(options or ("-q",)))
            assert result.ret == pytest.ExitCode.TESTS_FAILED
            records = {each["experiment"]: each for each in json.loads(path.read_text())["records"]}
            outcomes = {each["quantity"]: each["outcome"] for each in records["safe/safe"]["verdicts"]}
            assert outcomes["accuracy_drop_pp"] == outcomes["size_ratio"] == outcomes["reload"] == "PASS"
            assert "safe/safe" in (project.root / "page.md").read_text()
            if not options:
                result.stdout.no_fnmatch_line("*Traceback*")
                result.stdout.no_fnmatch_line("*INTERNALERROR*")
            return result, records

        yield run


def only(result, text):
    """The lines of the output that hold a text."""
    found = [line for line in result.outlines if text in line]
    assert found, result.stdout.str()
    return found


@pytest.mark.parametrize(
    ("place", "name", "words"),
    [
        ("model factory", "SystemExit", "own/own: the fp32 model: configs/own.yaml: workload.model: model 'raising"),
        ("decode", "OSError", "own/own: data set Images: decode raised OSError: [Errno 5] Input/output error"),
        ("forward", "WordlessError", "own/own: the fp32 model: the forward raised WordlessError: (its message rai"),
        ("recipe factory", "KeyError", "own/own: configs/own.yaml: experiments.own.recipe: recipe 'raising:recipe' "),
        ("load", "MemoryError", "own/own: the quantized model: backend 'lowering': load raised MemoryError, at "),
        ("judge", "ValueError", "own/own-own_bytes: quantity 'own_bytes': judge raised ValueError: first, at "),
    ],
)  # fmt: skip
def test_what_raises_is_the_failure_of_its_claims_in_one_line(ran, place, name, words):
    HERE[place] = ERRORS[name]
    result, _ = ran()
    lines = [each for each in result.outlines if each.startswith(("own/own: ", "own/own-own_bytes: "))]
    whole = [each for each in lines if "not made: see " not in each]
    assert any(each.startswith(words) for each in whole)
    assert all(each.endswith(HINT) and len(each) < 600 for each in whole)
    assert len(whole) == len(set(whole)), "each is told in full once"
    causes = tuple(f": {each.partition(': ')[2][:80]}…" for each in whole)
    assert all(each.endswith(causes) for each in lines if each not in whole)


def test_one_cause_is_told_in_full_by_the_first_of_its_claims(ran):
    HERE["decode"] = ERRORS["OSError"]
    result, _ = ran()
    cause = "own/own: data set Images: decode raised OSError: [Errno 5] Input/output error"
    (whole,) = [line for line in only(result, cause) if line.startswith(cause)]
    assert whole.endswith(HINT)
    start = whole.removeprefix("own/own: ")[:80]
    others = [line for line in only(result, "own/own: not made: see ") if line.startswith("own/own")]
    assert len(others) == 3
    assert set(others) == {f"own/own: not made: see accuracy_drop_pp of own/own: {start}…"}


def test_what_could_not_be_measured_is_in_the_records_and_the_table(ran, project):
    HERE["forward"] = ERRORS["KeyError"]
    result = ran()[0]
    errors = json.loads((project.root / "records.json").read_text())["errors"]
    assert {each["experiment"] for each in errors} == {"own/own"}
    assert [line.split()[-1] for line in result.outlines if line.startswith("own/own ")] == ["error"]


def test_with_tracebacks_too(ran):
    HERE["decode"] = ERRORS["OSError"]
    result, _ = ran("-q", "-vv")
    assert len([line for line in result.outlines if line.startswith("own/own: data set Images: decode raised")]) == 1


def test_the_traceback_is_shown_on_request(ran):
    HERE["measure"] = ERRORS["KeyError"]
    result, _ = ran("-vv")
    result.stdout.fnmatch_lines(
        ["own/own-own_bytes: quantity 'own_bytes': measure raised KeyError: 'x', at *", "Traceback*"]
    )
    assert "KeyError: 'x'" in result.outlines


def test_a_claim_that_raises_on_its_own_is_a_failure_as_pytest_shows_it(ran, project):
    (project.root / "bench" / "test_own.py").write_text(
        "def test_own(experiment_run):\n    assert experiment_run.experiment.id == 'safe/safe'\n"
    )
    result, _ = ran("-q", "-vv")
    result.stdout.fnmatch_lines(["*assert experiment_run.experiment.id == 'safe/safe'"])


def test_a_column_that_raises_shows_so_and_fails_the_run(ran):
    HERE["column"] = ERRORS["RuntimeError"]
    result, _ = ran()
    (line,) = [each for each in only(result, "own/own: column 'own' raised RuntimeError") if each.startswith("own/own")]
    assert line.endswith(HINT)
    (row,) = [each for each in result.outlines if each.startswith("own/own ") and "error" in each]
    assert row.split()[-2] == "error"


def test_a_record_that_cannot_be_made_is_left_out_and_fails_the_run(ran, monkeypatch):
    whole = Run.record

    def record(run, command):
        if run.experiment.id == "own/own":
            raise KeyError("engine")
        return whole(run, command)

    monkeypatch.setattr(Run, "record", record)
    result, records = ran()
    assert records.keys() == {"safe/safe"}
    assert len(only(result, "own/own: its record, which is left out, raised KeyError: 'engine'")) == 1


def test_timing_that_raises_leaves_the_others_timings(ran, monkeypatch):
    forwards = Run.forwards

    def of_others(run):
        if run.experiment.id == "own/own":
            raise SystemExit(0)
        return forwards(run)

    monkeypatch.setattr(Run, "forwards", of_others)
    result, records = ran()
    assert records["safe/safe"]["latency"] is not None
    assert only(result, "own/own: loading what is timed raised SystemExit: 0")


def test_an_end_that_raises_is_told_and_fails_the_run(ran, monkeypatch):
    monkeypatch.setattr(Session, "finish", lambda *_: 1 / 0)
    result, _ = ran()
    assert len(only(result, "the end of the session raised ZeroDivisionError: division by zero")) == 1


def test_premises_that_cannot_be_checked_are_told_and_fail_the_run(ran, monkeypatch):
    monkeypatch.setattr(plugin_state, "outcome", lambda *_: 1 / 0)
    result, _ = ran()
    assert len(only(result, "the look for claims that were left out raised ZeroDivisionError")) == 1


def test_a_table_that_cannot_be_shown_is_told_and_fails_the_run(ran, monkeypatch):
    monkeypatch.setattr(tables, "terminal_table", lambda *_: 1 / 0)
    result, records = ran()
    assert records.keys() == {"own/own", "safe/safe"}
    assert len(only(result, "showing the table raised ZeroDivisionError")) == 1


def test_what_a_worker_lost_fails_the_run_of_the_controller(ran, monkeypatch, project):
    line, errors = "own/own: its record, which is left out, raised KeyError: 'x'", [["own/other", "KeyError: 'y'"]]

    def finish(state, is_cut_short, whole=State.finish):
        node = SimpleNamespace(
            config=state.config, workeroutput={"quantbench_lost": [line], "quantbench_errors": errors}
        )
        pytest_testnodedown(node)
        return whole(state, is_cut_short)

    monkeypatch.setattr(State, "finish", finish)
    result, _ = ran()
    assert len(only(result, line)) == 1
    (error,) = json.loads((project.root / "records.json").read_text())["errors"]
    assert error == {"experiment": "own/other", "reason": "KeyError: 'y'"}
