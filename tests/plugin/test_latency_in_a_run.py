"""Speed in a run of the suite: whose times pytest-benchmark keeps, and that nothing untrusted or untimed passes."""

import json
import subprocess
import sys

import pytest
from made_timings import timings

from quantbench.measure import latency
from quantbench.records.run import RecordFile

DYNAMIC, STATIC = "tiny/ptq_dynamic_int8", "tiny/ptq_static_int8_per_channel"
ONE = ("-q", "--experiment", STATIC, "-m", "latency", "-k", "reaches")
SPEED = ("-q", "-m", "latency", "-k", "ptq and (reaches or speedup_is)")
NOISY = "no verdict: the machine is too noisy: fp32 against itself was 1.100×"
ALL_VOID = "no verdict on speed of this run counts, the machine is too noisy"

OWN_CLAIM = """\
import pytest

@pytest.mark.latency
@pytest.mark.gate("speedup")
@pytest.mark.benchmark(group="mine", min_rounds=3)
def test_own(timed_run, check_gate):
    check_gate()
"""


def record_of(project, experiment=STATIC):
    file = RecordFile.model_validate_json((project.root / "records.json").read_text())
    return next(record for record in file.records if record.experiment == experiment)


def told(result):
    """How the tests that ran ended."""
    return {outcome: n for outcome, n in result.parseoutcomes().items() if outcome != "deselected"}


def verdicts_of(record):
    return {v.quantity: v for v in record.verdicts}


def test_the_file_of_pytest_benchmark_holds_our_times_to_the_last_bit_and_all_pairs(bench, project):
    result = bench(*ONE, "--benchmark-json", "b.json", "--json", "records.json")
    assert result.ret == 0
    (kept,) = json.loads((project.root / "b.json").read_text())["benchmarks"]
    own = record_of(project).latency
    assert kept["stats"]["data"] == own.int8_s
    assert kept["stats"]["rounds"] == own.rounds == len(own.int8_s) >= 12
    assert kept["stats"]["min"] == min(own.int8_s)
    assert kept["extra_info"] == json.loads(own.model_dump_json())
    for form in ("fp32_s", "fp32_again_s", "fp32_fastest_s"):
        assert len(kept["extra_info"][form]) == own.rounds


def test_two_files_of_pytest_benchmark_can_be_compared(bench, project):
    for name in ("a", "b"):
        assert bench(*ONE, "--benchmark-json", f"{name}.json").ret == 0
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "a.json", "b.json", "--columns=median,rounds"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("test_speedup_reaches")]
    assert len(rows) == 2
    assert all(STATIC in row for row in rows)


def test_a_run_can_be_compared_with_a_saved_one_by_pytest_benchmark(bench, machine):
    machine.here = [timings(2.0)]
    assert bench(*ONE, "--benchmark-save", "before").ret == 0
    machine.here = [timings(1.0)]
    slower = bench(*ONE, "--benchmark-compare", "--benchmark-compare-fail", "median:50%")
    assert slower.ret != 0
    assert "Performance has regressed" in slower.stdout.str() + slower.stderr.str()
    machine.here = [timings(2.0)]
    assert bench(*ONE, "--benchmark-compare", "--benchmark-compare-fail", "median:50%").ret == 0


def test_a_marker_of_the_users_own_keeps_its_group(bench, project):
    (project.root / "bench" / "test_own.py").write_text(OWN_CLAIM)
    assert bench("-q", "-k", "test_own", "--benchmark-json", "b.json", "--json", "records.json").ret == 0
    (kept,) = json.loads((project.root / "b.json").read_text())["benchmarks"]
    assert kept["group"] == "mine"
    assert kept["stats"]["data"] == record_of(project).latency.int8_s


def test_a_missed_bound_fails_with_the_figures_of_both_processes(bench, project, machine):
    project.edit("speedup: 0.01", "speedup: 1.5")
    machine.here, machine.fresh = [timings(1.2)], timings(1.1)
    result = bench(*ONE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"{STATIC}: speedup: FAIL", "*measured:*1.200× [[]*; confirmed in a fresh process: 1.100× [[]*"]
    )


def too_few_cores(project, monkeypatch, cores, threads):
    monkeypatch.setattr(latency, "usable_cores", lambda: cores)
    project.edit("rounds: 12", f"rounds: 12, threads: {threads}")


@pytest.mark.parametrize(
    ("cores", "threads", "words"),
    [
        (1, 1, "no verdict: this process may use one core only, *; allow it two"),
        (2, 3, "no verdict: workload.latency.threads asks for 3 threads, but this process may use 2 cores"),
    ],
)
def test_too_few_cores_pass_nothing_and_fail_under_strict_verdicts(
    accepted, project, monkeypatch, cores, threads, words
):
    too_few_cores(project, monkeypatch, cores, threads)
    result = accepted(*SPEED)
    assert result.ret == 0
    assert set(told(result)) == {"inconclusive"}
    result.stdout.fnmatch_lines([f"{STATIC}: speedup: INCONCLUSIVE", f"*measured:*{words}"])
    strict = accepted(*SPEED, "--strict-verdicts")
    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    assert set(told(strict)) == {"failed"}


def test_times_that_pytest_benchmark_was_told_not_to_take_pass_nothing(accepted):
    result = accepted(*SPEED, "--benchmark-disable")
    assert result.ret == 0
    assert set(told(result)) == {"inconclusive"}
    result.stdout.fnmatch_lines(["*measured:*nothing was timed: --benchmark-disable"])
    assert accepted(*SPEED, "--benchmark-disable", "--strict-verdicts").ret == pytest.ExitCode.TESTS_FAILED


def test_a_control_that_held_is_told_in_the_summary(bench, machine):
    machine.here = [timings(2.0, control=1.003)]
    held = "A/A control held in each measurement of speed: fp32 against itself was 1.003× (n=1)"
    bench(*ONE).stdout.fnmatch_lines([held])


@pytest.fixture
def two(bench, project, machine):
    """`bench` of the claims of two experiments, each with a bound on its speed-up."""
    project.edit("gates: {accuracy_drop_pp: 10.0}\n  ptq_static", "gates: {speedup: 1.5}\n  ptq_static")
    project.edit("speedup: 0.01", "speedup: 1.5")
    return lambda *args: bench("-q", "-m", "latency", "-k", "ptq and reaches", "--json", "records.json", *args)


@pytest.mark.parametrize("noisy", [0, 1], ids=["the first", "the last"])
@pytest.mark.parametrize("speedup", [2.0, 1.0], ids=["would pass", "would fail"])
def test_a_control_that_strays_leaves_no_verdict_on_speed_in_the_whole_run(two, project, machine, noisy, speedup):
    machine.here = [timings(speedup), timings(speedup)]
    machine.here[noisy] = timings(speedup, control=1.1)
    result = two()
    assert (result.ret, told(result)) == (0, {"inconclusive": 2})
    for experiment in (DYNAMIC, STATIC):
        verdict = verdicts_of(record_of(project, experiment))["speedup"]
        assert (verdict.outcome, verdict.measured[: len(NOISY)]) == ("INCONCLUSIVE", NOISY)
        result.stdout.fnmatch_lines([f"{experiment}: speedup: INCONCLUSIVE", f"*{NOISY}*"])
        result.stdout.fnmatch_lines([f"{experiment} *INCONCLUSIVE", f"A/A control strayed in 1 of 2 *: {ALL_VOID}"])
    assert machine.fresh_jobs == []


def test_a_control_that_strays_fails_every_claim_on_speed_under_strict_verdicts(two, machine):
    machine.here = [timings(2.0), timings(2.0, control=1.1)]
    result = two("--strict-verdicts")
    assert (result.ret, told(result)) == (pytest.ExitCode.TESTS_FAILED, {"failed": 2})


def stray_in_a_fresh_process(machine):
    """The experiment that is judged second misses its bound; its confirmation cannot be trusted."""
    machine.here, machine.fresh = [timings(2.0), timings(1.0)], timings(1.0, control=1.1)


def test_a_control_that_strays_in_a_fresh_process_takes_back_what_was_told_before(two, project, machine):
    stray_in_a_fresh_process(machine)
    result = two()
    assert result.ret == 0
    assert {verdicts_of(record_of(project, id_))["speedup"].outcome for id_ in (DYNAMIC, STATIC)} == {"INCONCLUSIVE"}
    why = f"{NOISY} [[]*] in a fresh process in {STATIC}"
    result.stdout.fnmatch_lines([f"{DYNAMIC}: speedup: PASS is taken back: {why}"])
    result.stdout.fnmatch_lines([f"{DYNAMIC} *INCONCLUSIVE", f"{STATIC} *INCONCLUSIVE"])


def test_a_pass_that_was_taken_back_fails_the_run_under_strict_verdicts(two, machine):
    stray_in_a_fresh_process(machine)
    assert two("--strict-verdicts").ret == pytest.ExitCode.TESTS_FAILED


def test_an_experiment_that_cannot_be_timed_is_told_by_its_own_claim_only(two, project, machine):
    project.edit("recipe: {name: static_int8_per_channel, calibration_n: 32}", "recipe: {name: qat_int8, epochs: 2}")
    machine.here = [timings(2.0)]
    result = two()
    assert told(result) == {"passed": 1, "errors": 1}
    result.stdout.fnmatch_lines([f"{STATIC}: *.safetensors: no such file*"])


def test_the_summary_of_a_ci_run_says_that_the_control_strayed(two, machine, project, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.root / "summary.md"))
    machine.here = [timings(2.0), timings(2.0, control=1.1)]
    two()
    text = (project.root / "summary.md").read_text()
    assert f"- A/A control strayed in 1 of 2 measurements of speed: {ALL_VOID}" in text.splitlines()
    assert f"- **INCONCLUSIVE** `{STATIC}`: speedup: {NOISY}" in text


def test_a_control_that_strays_where_no_bound_is_set_fails_a_run_under_strict_verdicts_only(bench, machine):
    machine.here = [timings(2.0, control=1.1)]
    measured = ("-q", "-k", "forward_time and dynamic")
    result = bench(*measured)
    assert (result.ret, told(result)) == (0, {"passed": 1})
    result.stdout.fnmatch_lines([f"A/A control strayed in 1 of 1 *: {ALL_VOID}"])
    assert bench(*measured, "--strict-verdicts").ret == pytest.ExitCode.TESTS_FAILED
