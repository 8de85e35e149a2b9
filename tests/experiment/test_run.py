"""One experiment measured end to end on the project in miniature."""

import json

import pytest
from judged import measure_and_judge

from quantbench.arrays import INPUT
from quantbench.backends.torch_ao.eager import EagerBackend, EnginePredictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.latency import INT8
from quantbench.records.run import RunRecord


@pytest.fixture
def runs(project):
    return Runs(Settings(project.golden))


def run_of(runs, project, name):
    return runs.run(select(load_experiments(project.configs), f"tiny/{name}")[0])


@pytest.mark.usefixtures("real_processes")
def test_every_gate_of_a_static_experiment_is_measured_and_judged(runs, project):
    run = run_of(runs, project, "ptq_static_int8_per_channel")
    verdicts = {v.quantity: v.outcome for v in measure_and_judge(run)}
    gates = {"accuracy_drop_pp", "size_ratio", "int8_share", "speedup"}
    accepted = {"accuracy_vs_accepted", "speedup_vs_accepted"}
    assert set(verdicts) - gates - accepted == {
        "reload", "determinism", "checkpoint", "macs_ratio", "answered_classes",
    }  # fmt: skip
    assert gates | accepted <= set(verdicts)
    assert verdicts["reload"] == verdicts["determinism"] == "PASS"
    assert verdicts["checkpoint"] == "FAIL", "no golden was accepted yet"


def test_a_record_survives_json(runs, project):
    run = run_of(runs, project, "ptq_static_int8_per_channel")
    measure_and_judge(run)
    record = run.record("quantbench run")
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


def test_seconds_of_compiling_stand_in_the_record_where_something_was_compiled(runs, project, monkeypatch):
    run = run_of(runs, project, "ptq_static_int8_per_channel")
    assert run.evaluation.accuracy > 0
    assert "compile_s" not in json.loads(run.record("quantbench run").model_dump_json())
    monkeypatch.setattr(EnginePredictor, "compile_s", 12.5)
    run.note_outputs(run.loaded(1))
    record = run.record("quantbench run")
    assert json.loads(record.model_dump_json())["compile_s"] == 12.5
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


def test_the_batch_that_is_timed_is_the_first_that_its_model_runs(runs, project, monkeypatch):
    load, shapes = EagerBackend.module, []

    def watched(backend, artifact):
        model = load(backend, artifact)
        own = []
        shapes.append(own)
        model.register_forward_pre_hook(lambda _, inputs: own.append(tuple(inputs[0].shape)))
        return model

    monkeypatch.setattr(EagerBackend, "module", watched)
    run = run_of(runs, project, "ptq_static_int8_per_channel")
    assert run.accuracy.n == 150
    batch = tuple(run.baseline.latency_inputs[INPUT].shape)
    for _ in range(2):
        run.forwards()[INT8]()
        assert shapes[-1] == [batch]
    evaluated = shapes[0]
    assert evaluated
    assert batch not in evaluated
