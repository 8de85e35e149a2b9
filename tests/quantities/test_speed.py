"""Verdicts on a bound of speed: none on a machine that cannot be trusted, no FAIL without a second measurement."""

import re

import pytest
from judged import measure_and_judge
from made_timings import beside_others, timings

from quantbench.arrays import INPUT
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import CheckpointError
from quantbench.experiment import run as runner
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure import latency
from quantbench.measure.latency import FP32, FP32_AGAIN, FP32_FASTEST, INT8
from quantbench.quantities.judging import judge
from quantbench.quantities.speed import confirmed, questions_of
from quantbench.quantities.speedup import SPEEDUP
from quantbench.stats.intervals import Interval
from quantbench.stats.speed import Measurement, Speedup
from quantbench.stats.verdicts import Outcome, at_least

STATIC = "tiny/ptq_static_int8_per_channel"
FIGURES = r"\d+\.\d{3}× \[\d+\.\d{3}, \d+\.\d{3}\]"
NOISY = "no verdict: the machine is too noisy: fp32 against itself was "


def run_of(project, bound, rounds="rounds: 12"):
    project.edit("speedup: 0.01", f"speedup: {bound}")
    project.edit("rounds: 12", rounds)
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])


def judged(run):
    run.time_forwards(questions_of(run))
    return judge(run, "speedup")


def test_a_bound_that_is_surely_missed_fails_with_the_figure_of_a_fresh_process(project, machine):
    machine.here, machine.fresh = [timings(2.0, rounds=60)], timings(1.9, rounds=60)
    verdict = judged(run_of(project, 1000, "rounds: 60, looks: 1"))
    assert verdict.outcome is Outcome.FAIL
    assert re.search(
        rf"^{FIGURES} at 99 % over 60 rounds .*; confirmed in a fresh process: {FIGURES}$", verdict.measured
    )
    first, *_, second = re.findall(FIGURES, verdict.measured)
    assert first != second, "measured again, not repeated"
    assert verdict.requirement == "at least 1000×"


def test_a_pass_needs_no_fresh_process(project, machine):
    machine.here = [timings(2.0, looks=2)]
    verdict = judged(run_of(project, 1.5))
    assert (verdict.outcome, verdict.n, machine.fresh_jobs) == (Outcome.PASS, 40, [])
    assert re.search(r"^2\.000× .* over 40 rounds \(look 2 of 5\), batch 4, 1 thread\(s\); ", verdict.measured)
    assert re.search(rf"over the fastest fp32 \(.*\) {FIGURES}; fp32 against itself 1\.000×$", verdict.measured)


def test_a_bound_inside_the_interval_is_inconclusive_without_a_fresh_process(project, machine):
    machine.here = [timings(1.5, spread=0.1)]
    verdict = judged(run_of(project, 1.5))
    assert (verdict.outcome, machine.fresh_jobs) == (Outcome.INCONCLUSIVE, [])
    assert "no verdict" not in verdict.measured


def test_a_fail_that_a_fresh_process_does_not_confirm_is_inconclusive_and_both_figures_are_told(project, machine):
    machine.here, machine.fresh = [timings(1.2)], timings(1.6)
    verdict = judged(run_of(project, 1.5))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert re.search(r"^1\.200× .*; not confirmed in a fresh process: 1\.600× \[1\.\d+, 1\.\d+\]$", verdict.measured)


def test_a_fresh_process_that_cannot_tell_does_not_confirm(project, machine):
    machine.here, machine.fresh = [timings(1.2)], timings(1.3, spread=0.3)
    assert judged(run_of(project, 1.5)).outcome is Outcome.INCONCLUSIVE


def test_the_fresh_process_is_asked_the_same_with_the_same_plan(project, machine):
    machine.here, machine.fresh = [timings(1.2)], timings(1.2)
    run = run_of(project, 1.5, "rounds: 12, looks: 3, budget_s: 7.5")
    assert judged(run).outcome is Outcome.FAIL
    (job,) = machine.fresh_jobs
    assert (job.looks, job.budget_s, job.threads) == (run.looks, 7.5, 1)
    assert (job.looks.first, job.looks.count, job.looks.level) == (12, 3, 0.99)
    assert (job.questions, job.inputs[INPUT].shape) == (questions_of(run), (4, 3, 8, 8))
    assert job.candidate == run.artifact
    assert job.reference == run.baseline.artifact


def test_a_fail_is_no_verdict_where_the_control_of_the_fresh_process_strays(project, machine):
    machine.here, machine.fresh = [timings(1.2)], timings(1.2, control=1.1)
    run = run_of(project, 1.5)
    verdict = judged(run)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert re.search(rf"^{NOISY}1\.100× \[.*\] in a fresh process; measured 1\.200× ", verdict.measured)
    assert list(run.failed_controls) == [STATIC]


@pytest.mark.parametrize("bound", [0.5, 1.2, 5.0], ids=["PASS", "INCONCLUSIVE", "FAIL"])
@pytest.mark.parametrize("control", [1.05, 1 / 1.05])
def test_whatever_was_measured_beside_a_control_that_strays_is_no_verdict(project, machine, bound, control):
    machine.here = [timings(1.2, control)]
    verdict = judged(run_of(project, bound))
    assert (verdict.outcome, machine.fresh_jobs) == (Outcome.INCONCLUSIVE, []), "nothing to confirm"
    assert verdict.measured.startswith(f"{NOISY}{control:.3f}× [")
    assert "; measured 1.200× [" in verdict.measured


@pytest.mark.parametrize("control", [1.015, 1 / 1.015])
def test_a_control_within_2_percent_does_not_stray(project, machine, control):
    machine.here = [timings(1.2, control, spread=0.001)]
    run = run_of(project, 1.0)
    assert judged(run).outcome is Outcome.PASS
    assert run.failed_controls == {}


@pytest.mark.usefixtures("operators")
def test_a_control_that_really_does_more_work_strays(project, monkeypatch):
    forwards_of = runner.Run.forwards

    def unequal(run):
        forwards = forwards_of(run)
        return forwards | {FP32_AGAIN: lambda: [forwards[FP32]() for _ in range(4)]}

    monkeypatch.setattr(runner.Run, "forwards", unequal)
    run = run_of(project, 0.001)
    verdict = judged(run)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.measured.startswith(f"{NOISY}0.")
    assert run.latency.strayed
    assert run.latency.control_interval[1] < 0.98


def measured(speedup, control=1.0):
    return Measurement(*(Speedup(x, Interval(0.99 * x, 1.01 * x, 0.99)) for x in (speedup, control)))


def judge_speed(now):
    return at_least("speedup", now.estimate, now.interval, 1.5, 40, f"{now.estimate:.3f}×", "×")


def test_a_control_that_strayed_elsewhere_in_the_run_is_enough():
    again = pytest.fail
    for speedup in (1.0, 1.5, 2.0):
        verdict, failed_control = confirmed(measured(speedup), judge_speed, again, "1.200× [1.100, 1.300] in w/other")
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert verdict.measured == f"{NOISY}1.200× [1.100, 1.300] in w/other; measured {speedup:.3f}×"
        assert failed_control == "1.200× [1.100, 1.300] in w/other"


BUSY = (
    "the machine was busy (100 % of forwards were preempted and lost time, 0 % of rounds are clean, others kept 2.0 "
    "cores busy, something waited for a core 90 % of the time)"
)


def test_a_busy_machine_is_judged_by_processor_time_and_the_verdict_says_so(project, machine):
    machine.here = [beside_others(timings(2.0, looks=2))]
    verdict = judged(run := run_of(project, 1.5))
    assert verdict.outcome is Outcome.PASS
    assert f"over 40 rounds (look 2 of 5), by processor time: {BUSY}; batch 4" in verdict.measured
    assert SPEEDUP.columns[0].cell(run.latency).endswith("] by processor time")
    assert run.failed_controls == {}


def test_a_fail_by_processor_time_is_confirmed_by_the_clock_that_is_believed_there(project, machine):
    machine.here, machine.fresh = [beside_others(timings(1.2))], timings(1.2)
    assert judged(run_of(project, 1.5)).outcome is Outcome.FAIL


@pytest.mark.parametrize("bound", [0.5, 1.2, 5.0], ids=["PASS", "INCONCLUSIVE", "FAIL"])
def test_a_model_that_waits_is_never_judged_on_a_busy_machine(project, machine, bound):
    machine.here = [beside_others(timings(1.2), waits=INT8)]
    verdict = judged(run := run_of(project, bound))
    assert (verdict.outcome, machine.fresh_jobs) == (Outcome.INCONCLUSIVE, [])
    assert verdict.measured.startswith(
        f"no verdict: {BUSY}, and processor time does not tell: int8 waits in 100 % of its forwards (sleep, file, lock "
        "or other thread); measured 1.200× ["
    )
    assert run.failed_controls == {}, "this measurement alone is undecided"


def test_a_fail_that_a_busy_machine_cannot_confirm_is_inconclusive(project, machine):
    machine.here, machine.fresh = [timings(1.2)], beside_others(timings(1.2), waits=FP32)
    verdict = judged(run_of(project, 1.5))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"; not confirmed in a fresh process: {BUSY}, and processor time" in verdict.measured


def test_both_clocks_and_all_counters_of_every_form_are_in_the_record(project, machine):
    made = beside_others(timings(2.0))
    machine.here = [made]
    judged(run := run_of(project, 1.5))
    found = run.record("quantbench run").latency
    assert found.counted.keys() == made.samples.keys()
    assert found.counted[INT8].thread_s == pytest.approx(made.samples[INT8].thread_s.tolist(), abs=1e-9)
    assert found.counted[INT8].involuntary == [1] * made.rounds
    assert (found.clock, found.clean, found.others_cores, found.pressure) == ("processor", 0.0, 2.0, 0.9)
    assert found.speedup_by == pytest.approx({"wall": found.speedup, "processor": found.speedup})


TWICE = {
    "the same": (1.0, 1.0, Outcome.FAIL, "1.000×; confirmed in a fresh process: 1.000× [0.990, 1.010]"),
    "another": (1.0, 2.0, Outcome.INCONCLUSIVE, "1.000×; not confirmed in a fresh process: 2.000× [1.980, 2.020]"),
    "undecided": (1.0, 1.5, Outcome.INCONCLUSIVE, "1.000×; not confirmed in a fresh process: 1.500× [1.485, 1.515]"),
}


@pytest.mark.parametrize(("first", "second", "outcome", "words"), TWICE.values(), ids=TWICE)
def test_only_what_was_found_twice_fails(first, second, outcome, words):
    verdict, failed_control = confirmed(measured(first), judge_speed, lambda: measured(second))
    assert (verdict.outcome, verdict.measured, failed_control) == (outcome, words, None)


def test_the_death_of_the_fresh_process_is_an_error_and_no_verdict(project, machine):
    machine.here = [timings(1.2)]
    machine.fresh = CheckpointError("a.pt: the fresh process that timed it died")
    run = run_of(project, 1.5)
    with pytest.raises(CheckpointError, match="the fresh process that timed it died"):
        judged(run)
    assert "speedup" not in run.verdicts


@pytest.mark.parametrize(
    ("cores", "threads", "words"),
    [
        (1, 1, "no verdict: this process may use one core only, .*; allow it two"),
        (2, 3, "no verdict: workload.latency.threads asks for 3 threads, but this process may use 2 cores"),
    ],
)
def test_a_machine_with_too_few_cores_gives_no_verdict_and_no_times(project, monkeypatch, cores, threads, words):
    monkeypatch.setattr(latency, "usable_cores", lambda: cores)
    run = run_of(project, 0.01, f"rounds: 12, threads: {threads}")
    verdicts = {verdict.quantity: verdict for verdict in measure_and_judge(run)}
    for quantity in ("speedup", "speedup_vs_accepted"):
        assert verdicts[quantity].outcome is Outcome.INCONCLUSIVE
        assert re.fullmatch(words, verdicts[quantity].measured)
        assert verdicts[quantity].n == 0
    assert run.record("quantbench run").latency is None


def test_nothing_timed_is_no_evidence_and_no_pass(project):
    verdict = judge(run_of(project, 0.01), "speedup")
    assert (verdict.outcome, verdict.measured) == (Outcome.INCONCLUSIVE, "nothing was timed")


def test_every_time_of_every_form_is_in_the_record(project, machine):
    made = timings(2.0, looks=3)
    machine.here = [made]
    run = run_of(project, 1.5)
    judged(run)
    found = run.record("quantbench run").latency
    for form in (FP32, FP32_AGAIN, FP32_FASTEST, INT8):
        assert getattr(found, f"{form}_s") == made.samples[form].wall_s.tolist()
    assert (found.rounds, found.warmup_rounds, found.looks, found.planned_looks) == (40, 8, 3, 5)
    assert (found.level, found.out_of_time, found.strayed) == (0.99, False, False)
    assert found.speedup_interval[0] < found.speedup < found.speedup_interval[1]
