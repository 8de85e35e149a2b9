"""An update without names or a reason, in CI, in parallel, on a noisy machine or half done accepts nothing at all."""

from pathlib import Path

import pytest
from accepting import read_result, result_path
from flipped import changed, contents, flip, recalibrate
from made_timings import beside_others, timings

from quantbench.experiment import run
from quantbench.stats import speed

STATIC = "tiny/ptq_static_int8_per_channel"
WHY = ("--reason", "calibrated anew")
UPDATE = ("-q", "--experiment", STATIC, "--update-golden", *WHY)
ACCEPTING = ("-k", "checkpoint_is or worse_than")
OPTIONS = ["--update-golden", "--snapshot-update", "--snapshot-update-new-only"]
FORGETFUL = """\
import itertools
from tiny_model import TinyCNN

MADE = itertools.count()

class Forgetful(TinyCNN):
    def __init__(self):
        super().__init__(3, 8)
        self.offset = next(MADE)

    def forward(self, x):
        return super().forward(x) + self.offset

def forgetful():
    return Forgetful()
"""


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "--update-golden: name what is accepted: --experiment ID, several times or as a glob; '*' is everything"),
        (("--reason", "x"), "--update-golden: name what is accepted: --experiment ID, *"),
        (("--experiment", STATIC), '--update-golden: say why, for the history of the golden: --reason "…"'),
        (("--experiment", STATIC, "--reason", " "), "--update-golden: say why, *"),
        (("--experiment", "tiny/gone", *WHY), "--experiment: unknown experiment 'tiny/gone'. *"),
    ],
    ids=["nothing", "no experiment", "no reason", "blank reason", "unknown"],
)
def test_an_update_needs_experiments_and_a_reason(accepted, project, option, given, told):
    before = contents(project.golden)
    result = accepted("-q", option, *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {told}"])
    assert changed(before, project.golden) == []


@pytest.mark.parametrize("option", OPTIONS)
def test_an_update_is_refused_in_ci(accepted, project, monkeypatch, option):
    monkeypatch.setenv("CI", "true")
    before = contents(project.golden)
    result = accepted("-q", option, "--experiment", STATIC, *WHY)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --update-golden is refused because CI is set: *commit the golden"])
    assert changed(before, project.golden) == []


def test_an_update_is_refused_under_parallel_workers(accepted, project):
    before = contents(project.golden)
    result = accepted("-n", "2", *UPDATE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --update-golden: parallel workers cannot time what is accepted; drop -n" in result.outlines
    assert changed(before, project.golden) == []


def test_timing_alone_is_refused_where_nothing_was_accepted(accepted, project):
    result_path(project.golden, STATIC).unlink()
    result = accepted(*UPDATE, "-m", "latency")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: no accepted result to add a speed-up to; accept it whole: pytest bench *"])
    assert not result_path(project.golden, STATIC).exists()


def test_timing_alone_fails_where_nothing_was_timed(accepted, project):
    before = contents(project.golden)
    result = accepted(*UPDATE, "-m", "latency", "--benchmark-disable")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: no speed-up is accepted: nothing was timed: --benchmark-disable"])
    assert changed(before, project.golden) == []


def test_a_control_that_strays_stops_the_acceptance_of_speed_alone(accepted, project, monkeypatch):
    recalibrate(project)
    monkeypatch.setattr(speed, "CONTROL_TOLERANCE", -2.0)
    before = contents(project.golden)
    result = accepted(*UPDATE, *ACCEPTING)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["passed"] == 3
    result.stdout.fnmatch_lines(
        [f"{STATIC}: no speed-up is accepted: the machine is too noisy; update on a quiet one", "*accuracy: * → *"]
    )
    assert changed(before, project.golden) == [f"checkpoints/{STATIC}.json", f"results/{STATIC}.json"]
    # The speed-up of other inputs is gone, and none took its place.
    assert read_result(project.golden, STATIC).speedups == []


def test_a_speed_that_is_not_by_wall_time_of_a_quiet_machine_is_judged_and_not_accepted(accepted, project, monkeypatch):
    recalibrate(project)
    made = beside_others(timings(2.0))
    monkeypatch.setattr(run, "time_forwards", lambda *_, **__: made)
    before = contents(project.golden)
    result = accepted(*UPDATE, *ACCEPTING)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = f"{STATIC}: no speed-up is accepted: its times are no wall times of a quiet machine (by processor *"
    result.stdout.fnmatch_lines([told])
    assert changed(before, project.golden) == [f"checkpoints/{STATIC}.json", f"results/{STATIC}.json"]


def test_a_speed_of_a_wide_interval_is_judged_and_not_accepted(accepted, project, monkeypatch):
    recalibrate(project)
    made = timings(2.0, spread=0.6)
    monkeypatch.setattr(run, "time_forwards", lambda *_, **__: made)
    result = accepted(*UPDATE, *ACCEPTING)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = (
        f"{STATIC}: no speed-up is accepted: 2.000× [[]*] is too imprecise to compare with: * more than 1.5 times its *"
    )
    result.stdout.fnmatch_lines([told])
    assert read_result(project.golden, STATIC).speedups == []


def test_what_is_not_timed_is_accepted_on_a_machine_however_noisy(accepted, project, monkeypatch):
    recalibrate(project)
    monkeypatch.setattr(speed, "CONTROL_TOLERANCE", -2.0)
    before = contents(project.golden)
    assert accepted(*UPDATE, "-k", "checkpoint_is").ret == 0
    assert changed(before, project.golden) == [f"checkpoints/{STATIC}.json"]
    assert accepted(*UPDATE, "-k", "predictions").ret == 0


@pytest.mark.parametrize("kind", ["checkpoints", "results"])
def test_a_damaged_golden_is_never_overwritten(accepted, project, kind):
    (project.golden / kind / f"{STATIC}.json").write_text('{"schema_version": 1,')
    before = contents(project.golden)
    result = accepted(*UPDATE, "-k", "checkpoint_is" if kind == "checkpoints" else "predictions")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: golden/{kind}/{STATIC}.json: not valid JSON *restore it from version *"])
    assert changed(before, project.golden) == []


@pytest.mark.parametrize("kind", ["checkpoints", "results"])
def test_a_write_that_fails_is_one_line_and_leaves_the_old_golden(accepted, project, monkeypatch, kind):
    recalibrate(project)
    before = contents(project.golden)
    replace = Path.replace

    def full(path, target):
        if target.is_relative_to(Path("golden")):
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    result = accepted(*UPDATE, "-k", "checkpoint_is" if kind == "checkpoints" else "predictions")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"golden/{kind}/{STATIC}.json: cannot be written (No space left on device); what was accepted stays as it was"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert changed(before, project.golden) == []


def test_a_run_that_is_stopped_accepts_nothing_of_what_it_found_so_far(accepted, project):
    flip(project.golden, STATIC, lost=27)
    (project.root / "bench" / "test_stop.py").write_text("import pytest\n\ndef test_stop(): pytest.exit('enough')\n")
    before = contents(project.golden)
    result = accepted(*UPDATE, "-k", "predictions or stop")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert result.parseoutcomes()["passed"] == 1
    result.stdout.fnmatch_lines(["nothing is accepted: the run was cut short"])
    assert changed(before, project.golden) == []


def test_a_checkpoint_that_changes_when_it_is_loaded_is_not_accepted(accepted, project, monkeypatch):
    (project.root / "forgetful_in_a_run.py").write_text(FORGETFUL)
    monkeypatch.syspath_prepend(project.root)
    project.edit("tiny_model:tiny_cnn", "forgetful_in_a_run:forgetful")
    before = contents(project.golden)
    result = accepted(*UPDATE, "-k", "checkpoint or predictions")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: nothing is accepted: reload failed: logits differ by up to *"])
    assert changed(before, project.golden) == []
