"""The gate on the speed-up over the fastest fp32 form, of whichever runtime."""

import re
from dataclasses import replace

import pytest
from made_timings import timings

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.clocks import Samples
from quantbench.measure.latency import FP32_FASTEST
from quantbench.quantities.judging import judge
from quantbench.quantities.speed import questions_of
from quantbench.stats.intervals import Interval
from quantbench.stats.speed import SpeedQuestions, Speedup

STATIC = "tiny/ptq_static_int8_per_channel"


def with_fastest(made, times_faster):
    """The same rounds with a form of fp32 that is so much faster than the plain one."""
    seconds = made.samples["fp32"].wall_s / times_faster
    return replace(made, samples={**made.samples, FP32_FASTEST: Samples.of_wall_time(seconds)})


@pytest.fixture
def judged(project, machine):
    def judge_it(bound, here, fresh=None):
        project.edit("speedup: 0.01", f"speedup: 0.01, speedup_over_fastest: {bound}")
        machine.here, machine.fresh = [here], fresh
        run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
        run.time_forwards(questions_of(run))
        return judge(run, "speedup_over_fastest"), run

    return judge_it


def test_int8_that_is_faster_than_its_own_fp32_fails_where_another_fp32_is_faster_still(judged, machine):
    verdict, run = judged(1.5, with_fastest(timings(2.0), 1.6), timings(1.25))
    assert verdict.outcome == "FAIL"
    assert verdict.estimate == pytest.approx(1.25, abs=1e-6)
    assert re.search(r"; confirmed in a fresh process: 1\.250× ", verdict.measured)
    (job,) = machine.fresh_jobs
    assert (job.form, job.reference) == (run.baseline.fastest.form, run.baseline.fastest.source.artifact)
    assert job.questions == SpeedQuestions(bound=1.5)


def test_it_passes_where_int8_is_faster_than_all(judged):
    verdict, _ = judged(1.5, with_fastest(timings(3.0), 1.6))
    assert (verdict.outcome, verdict.quantity) == ("PASS", "speedup_over_fastest")


def test_a_bound_inside_the_interval_is_not_decided(judged):
    noisy = timings(2.0, spread=0.2)
    assert judged(2.0, with_fastest(noisy, 1.0))[0].outcome == "INCONCLUSIVE"


def test_timing_goes_on_until_this_bound_is_answered_too():
    def speedup(low, high):
        return Speedup((low + high) / 2, Interval(low, high, 0.99))

    questions = SpeedQuestions(bound=1.0, fastest_bound=1.5)
    assert not questions.answered(speedup(1.9, 2.1), speedup(1.4, 1.6))
    assert questions.answered(speedup(1.9, 2.1), speedup(1.6, 1.7))
    assert questions.answered(speedup(1.9, 2.1), speedup(1.3, 1.4)), "surely missed"
    assert questions.answered(speedup(1.9, 2.1)), "nothing of it was timed"
