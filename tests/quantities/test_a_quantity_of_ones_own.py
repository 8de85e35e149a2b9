"""A quantity is one file and one line of the table: gates, records, tables, summaries and claims are made from it."""

import subprocess
import sys

import pytest
from toy_quantity import LargestTensor, Tensors

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import ConfigError, MeasurementError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import explain, family_of, judge, judged_of, measure, quantities, shown_of
from quantbench.records.run import RecordFile
from quantbench.registry import QUANTITIES
from quantbench.report.documents import read_records, write_records
from quantbench.report.step_summary import summary_markdown
from quantbench.report.tables import cells, columns, markdown_table, terminal_table

GATE, STATIC = "largest_tensor_bytes", "ptq_static_int8_per_channel"
# 8 filters of 3 × 3 over 3 channels.
LARGEST = 8 * 27


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.setitem(QUANTITIES.table, GATE, "toy_quantity:LARGEST_TENSOR")


@pytest.fixture
def run_of(project):
    """The experiment's run, with that bound on its largest tensor, or with none."""

    def run(bound=None):
        if bound is not None:
            project.edit("size_ratio: 0.2", f"size_ratio: 0.2, {GATE}: {bound}")
        return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{STATIC}")[0])

    return run


def test_its_bound_is_a_key_of_the_gates_checked_by_its_own_annotation(run_of, project):
    assert run_of(LARGEST).experiment.config.gates.bounds[GATE] == LARGEST
    project.edit(f"{GATE}: {LARGEST}", f"{GATE}: 0.5")
    place = f"{project.config}: experiments.{STATIC}.gates.{GATE}: "
    with pytest.raises(ConfigError, match=r"gates\.largest_tensor_bytes: Input should be a valid integer") as refused:
        load_experiments(project.configs)
    assert str(refused.value).startswith(place)


def test_a_misspelt_gate_leads_to_it(project):
    project.edit("size_ratio: 0.2", "largest_tensor_byte: 9")
    with pytest.raises(ConfigError, match=r"unknown key 'largest_tensor_byte'\. Did you mean 'largest_tensor_bytes'\?"):
        load_experiments(project.configs)


@pytest.mark.parametrize(("bound", "outcome"), [(LARGEST, "PASS"), (LARGEST - 1, "FAIL")])
def test_it_is_measured_once_and_judged(run_of, project, bound, outcome):
    run = run_of(bound)
    verdict = judge(run, GATE)
    assert verdict is run.verdicts[GATE]
    assert run.measured("tensors") is run.measured("tensors")
    assert explain(run.experiment, verdict).splitlines() == [
        f"tiny/{STATIC}: {GATE}: {outcome}",
        f"  measured:     {LARGEST} bytes ('conv.weight')",
        f"  required:     at most {bound} bytes",
        f"  look further: quantbench run tiny/{STATIC} --json record.json",
        (
            f"  accept:       change experiments.{STATIC}.gates.{GATE} in {project.config}, then "
            f'quantbench gates tiny/{STATIC} --accept --reason "…"'
        ),
    ]


def test_a_machine_that_cannot_say_is_inconclusive_gated_or_not(run_of, monkeypatch):
    def refuse(*_):
        raise MeasurementError("no scales here")

    monkeypatch.setattr(LargestTensor, "measure", refuse)
    gated, shown = judge(run := run_of(9), GATE), measure(run, "tensors")
    assert (gated.outcome, gated.measured, gated.requirement) == ("INCONCLUSIVE", "no scales here", "bound 9")
    assert (shown.quantity, shown.outcome, shown.measured) == ("tensors", "INCONCLUSIVE", "no scales here")


def test_where_no_bound_is_set_it_is_shown_and_not_judged(run_of):
    experiment = run_of().experiment
    assert GATE not in [each.name for each in judged_of(experiment)]
    assert GATE in [each.name for each in shown_of(experiment)]


def test_its_part_stands_in_the_record_before_the_verdicts_and_is_read_again(run_of, tmp_path):
    run = run_of(LARGEST)
    judge(run, GATE)
    path = tmp_path / "records.json"
    write_records(path, [run.record("by hand")], [])
    (record,) = read_records([path])
    assert record == run.record("by hand")
    assert record.parts["tensors"] == Tensors(largest="conv.weight", largest_bytes=LARGEST)
    assert list(record.model_dump())[-4:] == ["outputs", "work", "tensors", "verdicts"]


def test_a_part_whose_quantity_is_not_installed_is_refused_by_name(run_of, tmp_path, monkeypatch):
    run = run_of(LARGEST)
    judge(run, GATE)
    path = tmp_path / "records.json"
    write_records(path, [run.record("by hand")], [])
    monkeypatch.delitem(QUANTITIES.table, GATE)
    with pytest.raises(ConfigError, match=r"records\.json: records\.0\.tensors: no installed quantity measures this"):
        read_records([path])
    # What was not measured says nothing that could be lost.
    text = path.read_text().replace(record_of_tensors(path), "null")
    assert RecordFile.model_validate_json(text).records[0].experiment == f"tiny/{STATIC}"


def record_of_tensors(path):
    text = path.read_text()
    start = text.index('"tensors": ') + len('"tensors": ')
    return text[start : text.index("}", start) + 1]


def test_its_column_stands_before_the_verdict_in_every_table(run_of):
    run = run_of(LARGEST)
    judge(run, GATE)
    measured, nothing = run.record("by hand"), run_of().record("by hand")
    assert columns()[-2:] == ("largest tensor", "verdict")
    assert cells(measured)[-2:] == (f"{LARGEST} B", "PASS")
    assert cells(nothing)[-2:] == ("–", "–")
    assert f" {LARGEST} B | PASS |" in markdown_table([measured])
    assert f"{LARGEST} B" in terminal_table([measured], [], 200, False)


def test_the_summary_tells_its_failure(run_of):
    run = run_of(LARGEST - 1)
    judge(run, GATE)
    text = summary_markdown([run.record("by hand")], [])
    assert f"- **FAIL** `tiny/{STATIC}`: {GATE}: {LARGEST} bytes" in text


def test_only_quantities_that_samples_decide_share_false_alarms(monkeypatch):
    assert family_of(["accuracy_drop_pp", "size_ratio", "accuracy_vs_accepted", GATE]).gates == 2
    monkeypatch.setattr(LargestTensor, "by_interval", True)
    assert family_of(["accuracy_drop_pp", "size_ratio", GATE, GATE]).gates == 3


def test_every_entry_of_the_table_is_the_quantity_of_that_name():
    assert [each.name for each in quantities()] == list(QUANTITIES.table)


@pytest.mark.parametrize("first", ["records.run", "config.schema", "quantities.speedup", "report.tables"])
def test_whichever_module_comes_first_the_table_can_be_imported(first):
    use = "from quantbench.records.run import part_models; from quantbench.config.schema import Gates; part_models()"
    command = [sys.executable, "-c", f"import quantbench.{first}; {use}; Gates(size_ratio=1)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
