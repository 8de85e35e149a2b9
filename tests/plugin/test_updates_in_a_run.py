"""Goldens are accepted on request: of the experiments named and no other, shown as old → new, with a history."""

import json

import pytest
from accepting import read_result, result_path
from flipped import changed, contents, flip, recalibrate, rewrite

STATIC = "tiny/ptq_static_int8_per_channel"
DYNAMIC = "tiny/ptq_dynamic_int8"
WHY = ("--reason", "calibrated anew")
UPDATE = ("-q", "--experiment", STATIC, "--update-golden", *WHY)
ACCEPTING = ("-k", "checkpoint_is or worse_than")


def test_an_update_accepts_both_goldens_of_the_experiment_named_and_touches_no_other(accepted, project):
    recalibrate(project)
    assert accepted("-q", "--experiment", STATIC, *ACCEPTING).ret == pytest.ExitCode.TESTS_FAILED
    before = contents(project.golden)
    result = accepted(*UPDATE, *ACCEPTING)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            f"golden/checkpoints/{STATIC}.json: updated, old → new:",
            '*recipe / weight / granularity: "per_channel" → "per_tensor"',
            f"golden/results/{STATIC}.json: updated, old → new:",
            "    input config: changed",
            "    speed-up on *: * → *",
        ]
    )
    assert changed(before, project.golden) == [f"checkpoints/{STATIC}.json", f"results/{STATIC}.json"]
    assert accepted("-q", "--experiment", STATIC, *ACCEPTING).ret == 0


def test_several_experiments_may_be_named(accepted, project):
    for experiment in (STATIC, DYNAMIC, "tiny/fp32_baseline"):
        flip(project.golden, experiment, lost=1)
    before = contents(project.golden)
    result = accepted(*UPDATE, "--experiment", "*/*dynamic*", "-k", "predictions")
    assert result.ret == 0
    assert changed(before, project.golden) == [f"results/{DYNAMIC}.json", f"results/{STATIC}.json"]


def test_a_first_update_accepts_what_was_never_accepted_and_then_it_holds(bench, project):
    project.edit("rounds: 12}", "rounds: 12}\n  regression: {accuracy_pp: 3.0, speedup: 0.9}")
    result = bench(*UPDATE, *ACCEPTING)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            f"golden/checkpoints/{STATIC}.json: accepted for the first time, * keys",
            f"golden/results/{STATIC}.json: accepted for the first time:",
            "    accuracy: – → 0.8*",
        ]
    )
    assert bench("-q", "--experiment", STATIC, *ACCEPTING).ret == 0


def test_reason_and_date_are_kept_in_the_history_of_both_goldens_one_entry_an_update(accepted, project):
    for i, calibration in enumerate((2, 3)):
        project.edit(f"calibration_n: {(32, 2)[i]}", f"calibration_n: {calibration}")
        project.edit(
            *(("static_int8_per_channel,", "static_int8_per_tensor,") if i == 0 else ("per_tensor,", "per_channel,"))
        )
        assert accepted("-q", "--experiment", STATIC, "--update-golden", "--reason", f"try {i}", *ACCEPTING).ret == 0
        for kind in ("checkpoints", "results"):
            history = json.loads((project.golden / kind / f"{STATIC}.json").read_text())["history"]
            assert [entry["reason"] for entry in history] == ["as it was trained", *(f"try {j}" for j in range(i + 1))]
            assert all(entry["date"].startswith("20") for entry in history)


def test_an_update_that_changes_nothing_writes_nothing(accepted, project):
    before = contents(project.golden)
    result = accepted(*UPDATE, "-k", "checkpoint_is or predictions")
    assert result.ret == 0
    assert changed(before, project.golden) == []
    assert "accepted for" not in result.stdout.str()
    assert "updated" not in result.stdout.str()


@pytest.mark.parametrize(
    ("selection", "touched"),
    [(("-k", "checkpoint_is"), "checkpoints"), (("-k", "predictions"), "results"), (("-m", "latency"), "results")],
)
def test_an_update_of_a_part_touches_the_golden_of_that_part_only(accepted, project, selection, touched):
    recalibrate(project)
    before = contents(project.golden)
    assert accepted(*UPDATE, *selection).ret == 0
    assert changed(before, project.golden) == [f"{touched}/{STATIC}.json"]


def test_timing_alone_adds_the_speedup_of_this_machine_and_accepts_no_prediction(accepted, project):
    rewrite(project.golden, STATIC, speedups=[])
    flip(project.golden, STATIC, lost=5)
    before = read_result(project.golden, STATIC)
    result = accepted(*UPDATE, "-m", "latency")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"golden/results/{STATIC}.json: updated, old → new:", "    speed-up on *: – → *"])
    after = read_result(project.golden, STATIC)
    assert (after.correct, after.metrics) == (before.correct, before.metrics)
    (speedup,) = after.speedups
    assert speedup.rounds == 192, "every look that is planned, since later comparisons inherit its interval"


def test_accepting_what_is_new_only_judges_a_result_that_is_there(accepted, project):
    flip(project.golden, STATIC, lost=27)
    before = contents(project.golden)
    result = accepted("-q", "--experiment", STATIC, "--snapshot-update-new-only", *WHY, "-k", "predictions")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: accuracy_vs_accepted: REGRESSED"])
    assert changed(before, project.golden) == []


def test_accepting_what_is_new_only_accepts_what_is_new(accepted, project):
    result_path(project.golden, STATIC).unlink()
    before = contents(project.golden)
    names = ("--experiment", STATIC, "--experiment", DYNAMIC)
    assert accepted("-q", *names, "--snapshot-update-new-only", *WHY, "-k", "predictions").ret == 0
    assert changed(before, project.golden) == [f"results/{STATIC}.json"]
