"""One A/A control that strays takes back every verdict on speed of its run, also those that were told before."""

import pytest
from made_timings import beside_others, timings

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.latency import INT8
from quantbench.measure.load import Moment
from quantbench.quantities import judging
from quantbench.quantities.judging import judge
from quantbench.quantities.speed import questions_of, withdraw
from quantbench.quantities.speedup import SPEEDUP
from quantbench.quantities.speedup_vs_accepted import SPEEDUP_VS_ACCEPTED
from quantbench.records.run import RecordFile
from quantbench.session import session
from quantbench.session.plan import Plan
from quantbench.session.result import run_session
from quantbench.stats.verdicts import Outcome

DYNAMIC, STATIC = "tiny/ptq_dynamic_int8", "tiny/ptq_static_int8_per_channel"
STRAYED = "no verdict: the machine is too noisy: fp32 against itself was 1.100× ["
ALL_VOID = "no verdict on speed of this run counts, the machine is too noisy"


@pytest.fixture
def both(project, monkeypatch):
    """The runs of a session and two of its experiments, each with a bound on its speed-up; only speed is judged."""
    monkeypatch.setattr(judging, "quantities", lambda: [SPEEDUP, SPEEDUP_VS_ACCEPTED])
    project.edit("gates: {accuracy_drop_pp: 10.0}\n  ptq_static", "gates: {speedup: 1.5}\n  ptq_static")
    project.edit("speedup: 0.01", "speedup: 1.5")
    experiments = load_experiments(project.configs)
    return Runs(Settings(project.golden)), [select(experiments, id_)[0] for id_ in (DYNAMIC, STATIC)]


def run_both(runs, experiments):
    return run_session(runs, Plan.of_experiments(experiments), "quantbench run")


def speeds(result):
    verdicts = {record.experiment: {v.quantity: v for v in record.verdicts} for record in result.records}
    return {id_: (each["speedup"].outcome, each["speedup"].measured) for id_, each in verdicts.items()}


@pytest.mark.parametrize("speedup", [2.0, 1.0], ids=["a PASS", "a confirmed FAIL"])
def test_a_control_that_strays_last_takes_back_what_was_told_first(both, machine, speedup):
    machine.here, machine.fresh = [timings(speedup), timings(2.0, control=1.1)], timings(speedup)
    found = speeds(result := run_both(*both))
    assert {outcome for outcome, _ in found.values()} == {"INCONCLUSIVE"}
    assert found[DYNAMIC][1].startswith(STRAYED)
    assert f"] in {STATIC}; measured {speedup:.3f}× [" in found[DYNAMIC][1]
    assert "; measured 2.000× [" in found[STATIC][1]
    assert f" in {STATIC}" not in found[STATIC][1], "its own control"
    assert any(text.startswith(f"{DYNAMIC}: speedup: INCONCLUSIVE") for text in result.messages)
    assert not any("speedup: FAIL" in text for text in result.messages)


def test_a_control_that_strays_first_leaves_no_verdict_and_no_confirmation_for_what_follows(both, machine):
    machine.here = [timings(2.0, control=1.1), timings(1.0)]
    found = speeds(run_both(*both))
    assert {outcome for outcome, _ in found.values()} == {"INCONCLUSIVE"}
    assert f"] in {DYNAMIC}; measured 1.000× [" in found[STATIC][1]
    assert machine.fresh_jobs == []


def test_only_the_controls_that_really_strayed_are_counted(both, machine):
    runs, experiments = both
    machine.here = [timings(2.0, control=1.1), timings(2.0)]
    result = run_both(runs, experiments)
    assert list(runs.failed_controls) == [DYNAMIC]
    assert result.sentences[1] == f"A/A control strayed in 1 of 2 measurements of speed: {ALL_VOID}"


def test_a_control_that_strays_only_in_a_fresh_process_voids_the_run_too(both, machine):
    machine.here, machine.fresh = [timings(2.0), timings(1.0)], timings(1.0, control=1.1)
    found = speeds(run_both(*both))
    assert {outcome for outcome, _ in found.values()} == {"INCONCLUSIVE"}
    assert f"] in a fresh process in {STATIC}; measured 2.000× [" in found[DYNAMIC][1]


def test_controls_that_held_are_told_with_their_range_and_number(both, machine):
    machine.here = [timings(2.0, control=0.995), timings(2.0, control=1.004)]
    result = run_both(*both)
    assert {outcome for outcome, _ in speeds(result).values()} == {"PASS"}
    assert result.sentences[1:] == [
        "A/A control held in each measurement of speed: fp32 against itself was 0.995–1.004× (n=2)"
    ]


def test_the_summary_begins_with_what_disturbed_the_timings(both, machine, monkeypatch):
    monkeypatch.setattr(session, "usable_cores", lambda: 2)
    machine.here = [timings(2.0)]
    machine.moments = [
        Moment(0.0, 0.0, busy_s=0.0),
        Moment(5.0, 5.0, busy_s=10.0, throttled=3),
        Moment(10.0, 10.0, busy_s=30.0, throttled=7),
    ]
    result = run_both(*both)
    assert result.sentences[0] == (
        "the machine disturbed its timings: it was busy (others kept 2.0 cores busy); its cores were slowed down by "
        "heat 7 times"
    )


def test_a_quiet_machine_is_not_mentioned(both, machine):
    machine.here = [timings(2.0)]
    assert not any("the machine" in line for line in run_both(*both).sentences)


def test_measurements_by_processor_time_and_undecided_ones_are_counted(both, machine):
    machine.here = [beside_others(timings(2.0)), beside_others(timings(2.0), waits=INT8)]
    assert run_both(*both).sentences[-2:] == [
        "1 of 2 measurements of speed are by processor time, on a busy machine",
        "1 of 2 measurements of speed decide nothing, on a busy machine",
    ]


def test_a_run_that_timed_nothing_says_nothing_of_controls(both):
    runs, experiments = both
    runs.run(experiments[0])
    assert runs.control_sentences() == []


def test_what_is_not_about_speed_or_has_no_figure_is_left_as_it_was(both, machine):
    runs, (dynamic, static) = both
    machine.here = [timings(2.0), timings(2.0, control=1.1)]
    first, second = runs.run(dynamic), runs.run(static)
    judge(first, "speedup")
    judge(second, "size_ratio")
    second.time_forwards(questions_of(second))
    machine.here = [timings(2.0, control=1.1)]
    second.time_forwards(questions_of(second))
    judge(second, "speedup")
    before = dict(second.verdicts)
    withdraw(first)
    withdraw(second)
    withdraw(second)
    assert first.verdicts["speedup"].measured == "nothing was timed"
    assert second.verdicts == before, "taken back once"
    assert second.verdicts["size_ratio"].outcome is Outcome.PASS


def test_the_command_line_ends_with_1_under_strict_verdicts_and_shows_why(both, machine, quantbench, project):
    machine.here = [timings(2.0), timings(2.0, control=1.1)]
    status, out, err = quantbench("run", "tiny/ptq_*", "--strict-verdicts", "--json", "r.json")
    assert status == 1
    assert f"A/A control strayed in 1 of 2 measurements of speed: {ALL_VOID}\n" in out
    assert f"{DYNAMIC}: speedup: INCONCLUSIVE\n  measured:     {STRAYED}" in err
    records = RecordFile.model_validate_json((project.root / "r.json").read_text()).records
    assert [record.latency.strayed for record in records] == [False, True]
    assert {v.outcome for r in records for v in r.verdicts if v.quantity == "speedup"} == {"INCONCLUSIVE"}


def test_the_summary_of_a_ci_run_says_so_too(both, machine, quantbench, project, monkeypatch):
    place = project.root / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    machine.here = [timings(2.0), timings(2.0, control=1.1)]
    quantbench("run", "tiny/ptq_*")
    text = place.read_text()
    assert f"- A/A control strayed in 1 of 2 measurements of speed: {ALL_VOID}" in text.splitlines()
    assert f"- **INCONCLUSIVE** `{DYNAMIC}`: speedup: {STRAYED}" in text


def test_the_summary_of_a_ci_run_says_that_the_controls_held(both, machine, quantbench, project, monkeypatch):
    place = project.root / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    machine.here = [timings(2.0)]
    _, out, _ = quantbench("run", STATIC)
    held = "A/A control held in each measurement of speed: fp32 against itself was 1.000× (n=1)"
    assert f"- {held}" in place.read_text().splitlines()
    assert held in out.splitlines()
