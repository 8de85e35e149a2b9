"""The bound on what an experiment loses against another one: held, broken, undecided, and impossible to tell."""

import pytest
from judged import measure_and_judge

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden.gates import accepted_gates
from quantbench.quantities.judging import explain, judge
from quantbench.quantities.parity import PARITY
from quantbench.session.gates import accept_gates, bounds_of

STATIC = "recipe: {name: static_int8_per_channel, calibration_n: 32}"


@pytest.fixture
def runs(project):
    """The project's, with one experiment in parity with another: `runs(twin, bound)`."""

    def make(twin="ptq_dynamic_int8", bound=10.0):
        project.edit(STATIC, f"{STATIC}\n    parity_with: {twin}")
        project.edit("accuracy_drop_pp: 10.0, size_ratio", f"parity_pp: {bound}, size_ratio")
        return Runs(Settings(project.golden))

    return make


def run_of(runs, project, name="ptq_static_int8_per_channel"):
    return runs.run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def test_an_experiment_that_loses_little_against_the_other_passes_and_names_it(runs, project):
    run = run_of(runs(), project)
    verdict = judge(run, "parity_pp")
    assert verdict.outcome == "PASS"
    assert verdict.measured.endswith(" against 'ptq_dynamic_int8' (eager)")
    assert verdict.requirement == "at most 10 pp against 'ptq_dynamic_int8' (eager)"
    twin = run.twin("ptq_dynamic_int8")
    compared = run.measured("parity")
    assert (compared.other, compared.accuracy.n) == ("ptq_dynamic_int8", 150)
    assert compared.accuracy.fp32 == twin.evaluation.accuracy
    assert compared.accuracy.quantized == run.evaluation.accuracy


def test_an_experiment_that_loses_more_than_its_bound_fails(runs, project):
    run = run_of(runs(), project)
    state, key = read_checkpoint(run.artifact.path), "fc._packed_params._packed_params"
    weight, bias = state[key]
    state[key] = weight, -bias
    write_checkpoint(run.artifact.path, state)
    verdict = judge(run, "parity_pp")
    assert verdict.outcome == "FAIL"
    assert run.measured("parity").accuracy.drop_interval_pp[0] > 10
    assert explain(run.experiment, verdict).splitlines()[-1] == (
        f"  accept:       change experiments.ptq_static_int8_per_channel.gates.parity_pp in {project.config}, then "
        'quantbench gates tiny/ptq_static_int8_per_channel --accept --reason "…"'
    )


def test_too_few_samples_for_a_tight_bound_are_inconclusive(runs, project):
    verdict = judge(run_of(runs(bound=0.1), project), "parity_pp")
    assert verdict.outcome == "INCONCLUSIVE"


def test_another_experiment_that_cannot_be_made_is_named_and_nothing_passes(runs, project):
    verdict = judge(run_of(runs(twin="qat_int8"), project), "parity_pp")
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.measured.startswith("'qat_int8', which it is compared with, cannot be measured: ")
    assert "qat_int8.safetensors" in verdict.measured
    assert verdict.requirement == "at most 10 pp against 'qat_int8'"


def test_the_gate_is_among_all_that_is_judged_and_recorded_and_the_other_is_not_reported(runs, project):
    own = runs()
    run = run_of(own, project)
    assert "parity_pp" in {each.quantity for each in measure_and_judge(run)}
    assert list(own.by_id) == ["tiny/ptq_static_int8_per_channel"]
    record = run.record("quantbench run")
    assert record.parts["parity"].other == "ptq_dynamic_int8"
    assert record.model_validate_json(record.model_dump_json()) == record


def test_the_other_is_run_once_whoever_asks_for_it(runs, project):
    own = runs()
    twin = run_of(own, project).twin("ptq_dynamic_int8")
    assert run_of(own, project, "ptq_dynamic_int8") is twin
    assert run_of(own, project).twin("ptq_dynamic_int8") is twin
    assert own.compared == {}


def test_a_larger_bound_or_another_experiment_is_looser_than_what_was_accepted(runs, project):
    experiment = run_of(runs(), project).experiment
    accept_gates(project.golden, [experiment], "first")
    accepted = accepted_gates(project.golden)[experiment.id]
    assert bounds_of(experiment)["parity_pp"] == accepted["parity_pp"] == {"ptq_dynamic_int8": 10.0}
    assert PARITY.is_looser({"ptq_dynamic_int8": 11.0}, accepted["parity_pp"])
    assert PARITY.is_looser({"qat_int8": 1.0}, accepted["parity_pp"])
    assert PARITY.is_looser(None, accepted["parity_pp"])
    assert not PARITY.is_looser({"ptq_dynamic_int8": 9.0}, accepted["parity_pp"])
    assert not PARITY.is_looser({"ptq_dynamic_int8": 9.0}, None)
