"""One experiment measured end to end on the project in miniature."""

import pytest

from quantbench.config import load_experiments, select
from quantbench.judging import measure_and_judge
from quantbench.records import RunRecord
from quantbench.runner import Session, Settings


@pytest.fixture
def session(project):
    return Session(Settings(project.golden))


def run_of(session, project, name):
    return session.run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def test_every_gate_of_a_static_experiment_is_measured_and_judged(session, project):
    run = run_of(session, project, "ptq_static_int8_per_channel")
    verdicts = {v.quantity: v.outcome for v in measure_and_judge(run)}
    gates = {"accuracy_drop_pp", "size_ratio", "int8_share", "speedup"}
    accepted = {"accuracy_vs_accepted", "speedup_vs_accepted"}
    assert set(verdicts) - gates - accepted == {"reload", "determinism", "checkpoint"}
    assert gates | accepted <= set(verdicts)
    assert verdicts["reload"] == verdicts["determinism"] == "PASS"
    assert verdicts["checkpoint"] == "FAIL", "no golden was accepted yet"


def test_a_record_survives_json(session, project):
    run = run_of(session, project, "ptq_static_int8_per_channel")
    measure_and_judge(run)
    record = run.record("quantbench run")
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
