"""Whatever code of a user raises is one line of its experiment; all that the others found is told and written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import raising
import torch
from raising import CAUSES, ERRORS, HERE, own_code

from quantbench.config.reading import load_experiments
from quantbench.experiment import run as runner
from quantbench.experiment.run import Run
from quantbench.report import tables
from quantbench.session.gates import accept_gates
from quantbench.session.session import Session

# Place → what its line says of it.
PLACES = {
    "model factory": "configs/own.yaml: workload.model: model 'raising:net' raised {}",
    "eval": "configs/own.yaml: workload.model: model 'raising:net': eval raised {}",
    "forward": "the fp32 model: the forward raised {} in Net, batch [64, 3, 8, 8], at ",
    "fuse_model": "Net.fuse_model(is_qat=False) failed: {}",
    "deepcopy": "rehearsal: Net cannot be copied ({}",
    "source factory": "configs/own.yaml: workload.data: data set 'raising:images' raised {}",
    "locate": "data set Images: locate raised {}",
    "fingerprint": "data set Images: fingerprint raised {}",
    "decode": "data set Images: decode raised {}",
    "task factory": "configs/own.yaml: workload.task: task 'raising:task' raised {}",
    "check": "the fp32 model: samples 0 to 63 of split 'test': task Task: check raised {}",
    "scores": "the fp32 model: samples 0 to 63 of split 'test': task Task: scores raised {}",
    "answers": "the fp32 model: samples 0 to 63 of split 'test': task Task: answers raised {}",
    "loss": "the fp32 model: task Task: loss raised {}",
    "recipe factory": "configs/own.yaml: experiments.own.recipe: recipe 'raising:recipe' raised {}",
    "backend factory": "configs/own.yaml: experiments.own.backend: backend 'raising:backend' raised {}",
    "supports": "backend 'lowering': supports raised {}",
    "rehearse": "backend 'lowering': quantize raised {}",
    "quantize": "backend 'lowering': quantize raised {}",
    "load": "the quantized model: backend 'lowering': load raised {}",
    "int8 forward": "the quantized model: samples 0 to 63 of split 'test': the forward raised {}",
    "describe": "backend 'lowering': describe raised {}",
    "kernels": "backend 'lowering': kernels raised {}",
    "why_not": "quantity 'own_bytes': why_not raised {}",
    "measure": "quantity 'own_bytes': measure raised {}",
    "judge": "quantity 'own_bytes': judge raised {}",
    "further": "quantity 'own_bytes': further raised {}",
    "accept": "quantity 'own_bytes': accept raised {}",
    "column": "column 'own' raised {}",
}


@pytest.fixture
def two(project, monkeypatch):
    """The project with two workloads: one of own code that may raise, and one that holds."""
    with own_code(project, monkeypatch):
        yield project


@pytest.fixture
def ran(two, quantbench):
    """Runs both workloads; status, standard error, and what was written."""

    def run(*options):
        path = two.root / "records.json"
        status, out, err = quantbench("run", "*", "--json", path, *options)
        records = {each["experiment"]: each for each in json.loads(path.read_text())["records"]}
        page = (two.root / "page.md").read_text()
        assert "safe/safe" in out
        assert "safe/safe" in page
        assert "Traceback" not in out
        outcomes = {each["quantity"]: each["outcome"] for each in records["safe/safe"]["verdicts"]}
        assert outcomes["accuracy_drop_pp"] == outcomes["size_ratio"] == outcomes["reload"] == "PASS"
        return status, err, records

    return run


@pytest.mark.parametrize(("i", "place"), list(enumerate(PLACES)), ids=PLACES)
def test_each_place_costs_its_own_experiment_alone(ran, two, i, place):
    name = list(ERRORS)[i % len(ERRORS)]
    if name == "ValueError" and place.endswith("factory"):
        name = "SystemExit"  # a ValueError is a factory's own word on its parameters
    HERE[place] = ERRORS[name]
    status, err, _ = ran()
    told = [line for line in err.splitlines() if CAUSES[name] in line]
    assert status == 2
    expected = PLACES[place].format(CAUSES[name])
    assert any(expected in line for line in told), err
    assert all("own/own: " in line or "own_bytes" in line or "column 'own'" in line for line in told)
    hint = "; for the traceback run again with --verbose (pytest: -vv)"
    assert all(line.endswith(hint) for line in told if " raised " in line)
    assert max(map(len, told)) < 600
    assert "Traceback" not in err


@pytest.mark.parametrize("place", ["forward", "measure"])
def test_what_could_not_be_measured_is_in_the_records_the_table_and_the_summary(ran, two, place):
    HERE[place] = ERRORS["KeyError"]
    ran()
    assert "own/own" in {each["experiment"] for each in json.loads((two.root / "records.json").read_text())["errors"]}
    page = (two.root / "page.md").read_text()
    assert "- **error** `own/own`: " in page
    (row,) = [line for line in page.splitlines() if line.startswith("| own/own |")]
    assert row.rpartition("| error")[1] == "| error"


def test_the_traceback_is_shown_on_request(ran):
    HERE["measure"] = ERRORS["KeyError"]
    _, err, _ = ran("--verbose")
    assert "raise HERE[place]\nKeyError: 'x'" in err
    assert "\nquantbench: own/own: quantity 'own_bytes': measure raised KeyError: 'x', at " in err


def test_ctrl_c_stops_the_run_which_shows_and_writes_what_it_found_until_then(two, quantbench):
    HERE["measure"] = KeyboardInterrupt()
    status, out, err = quantbench("run", "*", "--json", "records.json")
    assert status == 130
    assert out.splitlines()[1].startswith("own/own ")
    assert "safe/safe" not in out
    (record,) = json.loads((two.root / "records.json").read_text())["records"]
    assert [each["quantity"] for each in record["verdicts"]] == ["accuracy_drop_pp"]
    assert "own/own" in (two.root / "page.md").read_text()
    assert re.fullmatch(
        r"quantbench: interrupted: \d+ of \d+ claims were made; data and checkpoints are cached, and the same command "
        r"makes all claims with them",
        err.splitlines()[-1],
    )


def test_ctrl_c_before_anything_was_found_shows_no_table(two, quantbench):
    HERE["model factory"] = KeyboardInterrupt()
    status, out, err = quantbench("run", "own/own")
    assert (status, out) == (130, "")
    assert err.startswith("quantbench: interrupted: 0 of ")


@pytest.mark.parametrize("name", ["GeneratorExit", "NoCauseError", "NamelessError", "HiddenError", "OddTextError"])
def test_exceptions_that_are_odd_themselves_cost_their_own_experiment_alone(ran, name):
    HERE["forward"] = ERRORS[name]
    status, err, _ = ran("--verbose")
    assert status == 2
    assert f"own/own: the fp32 model: the forward raised {CAUSES[name]} in Net, batch [64, 3, 8, 8], at " in err


def test_what_nobody_foresaw_costs_one_experiment_alone(ran, monkeypatch):
    whole = Session.make

    def make(session, run, quantity):
        if run.experiment.id == "own/own":
            raise KeyError("unforeseen")
        return whole(session, run, quantity)

    monkeypatch.setattr(Session, "make", make)
    status, err, _ = ran()
    assert status == 2
    assert "own/own: judging accuracy_drop_pp raised KeyError: 'unforeseen'" in err


@pytest.mark.parametrize(
    ("method", "what"), [("finish", "the end of the session"), ("sentences", "the sentences about the session")]
)
def test_an_end_that_raises_loses_nothing_of_what_was_measured(ran, monkeypatch, method, what):
    monkeypatch.setattr(Session, method, lambda *_: 1 / 0)
    status, err, _ = ran()
    assert status == 2
    assert f"{what} raised ZeroDivisionError: division by zero" in err


def test_a_record_that_cannot_be_made_is_left_out_and_named(ran, monkeypatch):
    whole = Run.record

    def record(run, command):
        if run.experiment.id == "own/own":
            raise KeyError("engine")
        return whole(run, command)

    monkeypatch.setattr(Run, "record", record)
    status, err, records = ran()
    assert status == 2
    assert records.keys() == {"safe/safe"}
    assert "own/own: its record, which is left out, raised KeyError: 'engine'" in err


def test_a_record_that_could_not_be_read_again_is_left_out_and_named(ran, monkeypatch):
    whole = raising.OwnQuantity.measure

    def measure(quantity, run):
        ratio = float("nan") if run.experiment.id == "own/own" else 1.0
        return whole(quantity, run).model_copy(update={"ratio": ratio})

    monkeypatch.setattr(raising.OwnQuantity, "measure", measure)
    status, err, records = ran()
    assert status == 2
    assert records.keys() == {"safe/safe"}
    assert "own/own: its record is left out: own_tensors.ratio: Input should be a valid number" in err


@pytest.mark.parametrize("place", ["bound_of", "is_looser"])
def test_bounds_that_cannot_be_compared_with_accepted_ones_are_named(ran, two, place):
    accept_gates(two.golden, load_experiments(two.configs), "as they are")
    HERE[place] = ERRORS["OSError"]
    status, err, _ = ran()
    assert status == 2
    assert f"quantity 'own_bytes': {place} raised OSError: [Errno 5] Input/output error, at " in err


def test_a_judge_that_gives_no_verdict_is_named(ran, monkeypatch):
    monkeypatch.setattr(raising.OwnQuantity, "judge", lambda *_: None)
    status, err, _ = ran()
    assert status == 2
    assert "own/own: quantity 'own_bytes': judge gave a NoneType; return a Verdict" in err


def test_forwards_that_cannot_be_timed_leave_those_of_others(ran, monkeypatch):
    forwards = Run.forwards

    def of_others(run):
        if run.experiment.id == "own/own":
            raise SystemExit(0)
        return forwards(run)

    monkeypatch.setattr(Run, "forwards", of_others)
    status, err, records = ran()
    assert status == 2
    assert records["safe/safe"]["latency"] is not None
    assert "own/own: measuring 'latency' raised SystemExit: 0" in err


def test_timing_that_raises_is_told_by_its_own_claim(ran, monkeypatch):
    monkeypatch.setattr(runner, "time_forwards", lambda *_, **__: 1 / 0)
    status, err, records = ran()
    assert status == 2
    for id_ in ("own/own", "safe/safe"):
        assert records[id_]["latency"] is None
        assert f"{id_}: measuring 'latency' raised ZeroDivisionError: division by zero" in err


def test_a_table_that_cannot_be_shown_leaves_the_records(two, quantbench, monkeypatch):
    monkeypatch.setattr(tables, "terminal_table", lambda *_: 1 / 0)
    status, _, err = quantbench("run", "*", "--json", "records.json")
    assert status == 2
    assert "showing the table raised ZeroDivisionError: division by zero" in err
    assert len(json.loads((two.root / "records.json").read_text())["records"]) == 2
    assert "safe/safe" in (two.root / "page.md").read_text()


def test_records_that_cannot_be_written_leave_the_table(two, quantbench, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quantbench.report.documents.write_text", full)
    status, out, err = quantbench("run", "*", "--json", "records.json")
    assert status == 1, "all was measured and holds; what is missing is said"
    assert "--json records.json: writing the records raised OSError: [Errno 28] No space left on device" in err
    assert "safe/safe" in out


def test_what_own_code_changes_in_the_process_is_put_back(two, quantbench, monkeypatch):
    def change(*_):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(2)
        torch.manual_seed(1)
        os.environ["QUANTBENCH_CACHE"] = "elsewhere"
        os.chdir("/")
        raise KeyError("x")

    state, folder, cache = torch.get_rng_state(), Path.cwd(), os.environ["QUANTBENCH_CACHE"]
    threads = torch.get_num_threads()
    monkeypatch.setattr(raising.OwnQuantity, "measure", change)
    quantbench("run", "own/*")
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
    assert (Path.cwd(), os.environ["QUANTBENCH_CACHE"]) == (folder, cache)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_reading_records_names_the_part_whose_own_code_raises(two, quantbench):
    assert quantbench("run", "own/*", "--json", "records.json")[0] in (0, 1)
    HERE["impossible"] = ERRORS["MemoryError"]
    status, _, err = quantbench("report", "records.json")
    assert status == 2
    assert err.startswith("quantbench: own/own: part 'own_tensors' of its record: impossible raised MemoryError, at ")


def test_a_form_of_fp32_that_cannot_run_is_left_out_and_said(two, quantbench):
    HERE["fuse_model"] = ERRORS["KeyError"]
    path = two.root / "records.json"
    config = two.configs / "own.yaml"
    config.write_text(config.read_text().replace('"raising:recipe", calibration_n: 32', "dynamic_int8"))
    status, out, _ = quantbench("run", "own/*", "--json", path)
    assert status == 0
    (record,) = json.loads(path.read_text())["records"]
    (line,) = record["latency"]["forms_left_out"]
    assert line == "the forms of Net in fp32 that may be faster are not timed: it cannot be fused (KeyError: 'x')"
    assert f"own: {line}" in out.splitlines()


@pytest.mark.parametrize("name", ["SystemExit", "WordlessError", "GeneratorExit"])
def test_other_commands_end_with_the_line_too(two, quantbench, name):
    HERE["forward"] = ERRORS[name]
    status, out, err = quantbench("train", "own")
    assert (status, out) == (2, "")
    assert err.startswith("quantbench: ")
    assert CAUSES[name] in err.splitlines()[-1]
