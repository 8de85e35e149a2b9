"""A speed-up against the accepted one: of this class of machine, this batch and these inputs, or of none."""

import re

import pytest
from accepting import accept, read_result, write_result
from made_timings import timings

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import GoldenError
from quantbench.experiment.result import margin_of
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import explain, judge
from quantbench.quantities.speed import questions_of
from quantbench.stats.regression import Change
from quantbench.stats.speed import SpeedQuestions
from quantbench.stats.verdicts import Outcome

ID = "tiny/ptq_static_int8_per_channel"
ACCEPT_ALL = f'pytest bench --experiment {ID} --update-golden --reason "…"'
ACCEPT = f'pytest bench --experiment {ID} -m latency --update-golden --reason "…"'
CLAIM = "speedup_vs_accepted"


@pytest.fixture
def run_of(project, machine):
    """The experiment's run, in a session of its own, having measured what it is given."""

    def make(made=None):
        run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), ID)[0])
        if made is not None:
            machine.here = [made]
            run.time_forwards(questions_of(run))
        return run

    return make


@pytest.fixture
def accepted(run_of, project):
    """The project in which a speed-up of 4 was accepted."""
    assert accept(run_of(timings(4.0)), "the first", predictions=True, speed=True) is not None
    return project


def edited(project, **changes):
    """Changes the accepted speed-up."""
    result = read_result(project.golden, ID)
    (speedup,) = result.speedups
    write_result(project.golden, result.model_copy(update={"speedups": [speedup.model_copy(update=changes)]}))


CHANGES = {
    "faster": (4.8, 0.01, Change.IMPROVED, Outcome.PASS),
    "as fast": (4.0, 0.01, Change.SAME, Outcome.PASS),
    "a little slower": (3.8, 0.01, Change.SAME, Outcome.PASS),
    "at the margin": (3.6, 0.01, Change.INCONCLUSIVE, Outcome.INCONCLUSIVE),
    "slower": (3.2, 0.01, Change.REGRESSED, Outcome.FAIL),
    "slower, perhaps": (3.2, 0.3, Change.INCONCLUSIVE, Outcome.INCONCLUSIVE),
}


@pytest.mark.parametrize(("speedup", "spread", "change", "outcome"), CHANGES.values(), ids=CHANGES)
def test_a_speedup_is_improved_the_same_regressed_or_undecided(
    accepted, run_of, machine, speedup, spread, change, outcome
):
    machine.fresh = timings(speedup, spread=spread, seed=1)
    verdict = judge(run_of(timings(speedup, spread=spread)), CLAIM)
    assert (verdict.change, verdict.outcome, verdict.n) == (change, outcome, 40)
    share = speedup / 4
    assert re.match(rf"{share:.3f} \[\d\.\d+, \d\.\d+\] of the accepted 4\.000×: {speedup:.3f}× \[", verdict.measured)
    assert verdict.requirement == "at most 10 % of the accepted speed-up lost"
    assert verdict.estimate == pytest.approx(1 - share, abs=0.001)
    assert verdict.interval.low < verdict.estimate < verdict.interval.high
    assert len(machine.fresh_jobs) == (change is Change.REGRESSED)


def test_the_margin_is_the_one_of_the_configuration(accepted, run_of, machine):
    accepted.edit("  latency:", "  regression: {speedup: 0.3}\n  latency:")
    run = run_of(timings(3.2))
    verdict = judge(run, CLAIM)
    assert (margin_of(run).speedup, verdict.change) == (0.3, Change.SAME)
    assert verdict.requirement == "at most 30 % of the accepted speed-up lost"


def test_a_regression_is_told_with_the_fresh_process_and_the_command_that_accepts_it(accepted, run_of, machine):
    machine.fresh = timings(3.1)
    run = run_of(timings(3.2))
    title, measured, *_, accept_line = explain(run.experiment, judge(run, CLAIM)).splitlines()
    assert title == f"{ID}: {CLAIM}: REGRESSED"
    assert re.search(r"; confirmed in a fresh process: 3\.100× \[3\.\d+, 3\.\d+\]$", measured)
    assert accept_line == f"  accept:       {ACCEPT}"


def test_a_regression_that_a_fresh_process_does_not_find_is_inconclusive(accepted, run_of, machine):
    machine.fresh = timings(4.0)
    verdict = judge(run_of(timings(3.2)), CLAIM)
    assert (verdict.change, verdict.outcome) == (Change.INCONCLUSIVE, Outcome.INCONCLUSIVE)
    assert "; not confirmed in a fresh process: 4.000× [" in verdict.measured


def test_a_regression_on_a_noisy_machine_is_no_verdict(accepted, run_of, machine):
    verdict = judge(run_of(timings(3.2, control=1.1)), CLAIM)
    assert (verdict.change, verdict.outcome) == (Change.INCONCLUSIVE, Outcome.INCONCLUSIVE)
    assert verdict.measured.startswith("no verdict: the machine is too noisy: fp32 against itself was 1.100× [")
    assert machine.fresh_jobs == []


def test_one_fresh_process_confirms_both_claims_about_speed(accepted, run_of, machine):
    accepted.edit("speedup: 0.01", "speedup: 3.5")
    machine.fresh = timings(3.2)
    run = run_of(timings(3.2))
    verdicts = judge(run, "speedup"), judge(run, CLAIM)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.FAIL, Outcome.FAIL]
    assert all("; confirmed in a fresh process: 3.200× [" in verdict.measured for verdict in verdicts)
    assert len(machine.fresh_jobs) == 1


def test_timing_goes_on_until_both_claims_are_answered(accepted, run_of):
    questions = questions_of(run_of())
    assert (questions.bound, questions.margin) == (0.01, 0.1)
    assert questions.accepted.estimate == pytest.approx(4.0, abs=1e-3)
    assert questions.accepted.interval.level == 0.99


def assert_no_baseline(verdict, run, found, accept=ACCEPT, because=None):
    assert (verdict.change, verdict.outcome, verdict.estimate) == (Change.NO_BASELINE, Outcome.INCONCLUSIVE, None)
    machine = rf"no baseline for this machine \(.*, engine {run.engine}, torch .*, 1 thread\(s\)\) was accepted"
    assert re.fullmatch(rf"{found:.3f}×, but {because or machine}", verdict.measured), verdict.measured
    assert verdict.accept == accept
    assert questions_of(run) == SpeedQuestions(0.01, None, 0.1), "nothing that timing could answer"


@pytest.mark.parametrize("key", ["architecture", "isa", "engine", "torch", "threads"])
def test_another_class_of_machine_is_no_baseline_however_slow_it_was(accepted, run_of, key):
    machine = read_result(accepted.golden, ID).speedups[0].machine
    other = {"isa": ("avx9",), "threads": 7}.get(key, "another")
    edited(accepted, machine=machine.model_copy(update={key: other}))
    run = run_of(timings(1.0))
    assert_no_baseline(judge(run, CLAIM), run, 1.0)


def test_another_batch_size_is_no_baseline(accepted, run_of):
    accepted.edit("batch_size: 4", "batch_size: 8")
    run = run_of(timings(1.0))
    because = "the baseline for this machine was accepted with batches of 4, and these are of 8"
    assert_no_baseline(judge(run, CLAIM), run, 1.0, because=because)


@pytest.mark.parametrize("key", ["config", "baseline", "weights", "calibration", "test"])
def test_a_speedup_of_other_inputs_is_no_baseline(accepted, run_of, key):
    inputs = read_result(accepted.golden, ID).speedups[0].inputs
    edited(accepted, inputs=inputs.model_copy(update={key: "0" * 64}))
    run = run_of(timings(1.0))
    because = f"the baseline for this machine was accepted with other inputs: {key} changed since"
    assert_no_baseline(judge(run, CLAIM), run, 1.0, because=because)


def test_nothing_accepted_at_all_is_no_baseline(run_of):
    run = run_of(timings(1.0))
    assert_no_baseline(judge(run, CLAIM), run, 1.0, ACCEPT_ALL)


def test_nothing_timed_is_no_evidence(accepted, run_of):
    verdict = judge(run_of(), CLAIM)
    assert (verdict.outcome, verdict.measured, verdict.n) == (Outcome.INCONCLUSIVE, "nothing was timed", 0)


def test_a_damaged_accepted_result_is_an_error_that_timing_does_not_stumble_over(accepted, run_of):
    path = accepted.golden / "results" / f"{ID}.json"
    path.write_text(path.read_text()[:200])
    run = run_of(timings(4.0))
    assert run.latency.speedup == pytest.approx(4.0, abs=1e-3)
    with pytest.raises(GoldenError, match="not valid JSON"):
        judge(run, CLAIM)
