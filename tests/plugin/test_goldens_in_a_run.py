"""Checkpoints are accepted on request, shown as old → new, refused in CI, and never lost or left behind."""

import json

import pytest

from quantbench.golden.snapshots import golden_extension

STATIC = "tiny/ptq_static_int8_per_channel"
ONLY_GOLDENS = ("-q", "-k", "checkpoint_is and not qat")
WHY = ("--reason", "the observers changed")
UPDATE = ("--update-golden", *WHY)


def golden_of(project, experiment):
    return project.golden / "checkpoints" / f"{experiment}.json"


def test_a_missing_golden_fails_with_the_command_that_accepts_it(bench):
    result = bench("-q", "--experiment", STATIC, "-k", "checkpoint_is")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{STATIC}: checkpoint: FAIL",
            f"*measured:*no golden {STATIC}.json was ever accepted",
            f'*accept:*pytest bench --experiment {STATIC} --update-golden --reason "…"',
        ]
    )


def test_a_golden_that_is_gone_is_told_from_one_that_never_was(accepted, project):
    golden_of(project, STATIC).unlink()
    result = accepted("-q", "--experiment", STATIC, "-k", "checkpoint_is")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    gone = (
        f"was accepted on 20??-??-??, but its golden golden/checkpoints/{STATIC}.json is gone: restore it from version "
        f'control, or accept it anew: pytest bench --experiment {STATIC} --update-golden --reason "…"'
    )
    result.stdout.fnmatch_lines([f"{STATIC}: checkpoint: FAIL", f"*measured:*{gone}"])


@pytest.mark.parametrize("option", ["--update-golden", "--snapshot-update", "--snapshot-update-new-only"])
def test_an_update_writes_the_golden_and_says_that_it_is_new_and_then_it_passes(bench, project, option):
    path = golden_of(project, STATIC)
    result = bench("-q", "--experiment", STATIC, "-k", "checkpoint_is", option, *WHY)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"golden/checkpoints/{STATIC}.json: accepted for the first time, * keys"])
    content = json.loads(path.read_text())
    assert content["recipe"]["kind"] == "static_int8"
    assert [entry["reason"] for entry in content["history"]] == [WHY[1]]
    assert bench("-q", "--experiment", STATIC, "-k", "checkpoint_is").ret == 0


def test_a_changed_observer_fails_with_old_and_new_and_how_to_accept(accepted, project):
    project.edit("static_int8_per_channel, calibration_n", "static_int8_per_tensor, calibration_n")
    result = accepted("-q", "--experiment", STATIC, "-k", "checkpoint_is")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{STATIC}: checkpoint: FAIL",
            "*observers / conv / weight: *PerChannelMinMaxObserver*per_channel_* → *MinMaxObserver*per_tensor_*",
            '*recipe / weight / granularity: "per_channel" → "per_tensor"',
            f'*accept:*pytest bench --experiment {STATIC} --update-golden --reason "…"',
        ]
    )


def test_an_update_of_a_changed_recipe_prints_old_and_new_and_then_it_passes(accepted, project):
    project.edit("static_int8_per_channel, calibration_n", "static_int8_per_tensor, calibration_n")
    result = accepted("-q", "--experiment", STATIC, "-k", "checkpoint_is", *UPDATE)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            f"golden/checkpoints/{STATIC}.json: updated, old → new:",
            '*recipe / weight / granularity: "per_channel" → "per_tensor"',
        ]
    )
    assert accepted("-q", "--experiment", STATIC, "-k", "checkpoint_is").ret == 0


def test_accepting_only_what_is_new_leaves_a_changed_golden_failing(accepted, project):
    before = golden_of(project, STATIC).read_text()
    project.edit("static_int8_per_channel, calibration_n", "static_int8_per_tensor, calibration_n")
    result = accepted(*ONLY_GOLDENS, "--experiment", STATIC, "--snapshot-update-new-only", *WHY)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert golden_of(project, STATIC).read_text() == before


def test_a_second_update_prints_nothing(accepted):
    result = accepted(*ONLY_GOLDENS, "--experiment", STATIC, *UPDATE)
    assert result.ret == 0
    assert "accepted for" not in result.stdout.str()
    assert "updated" not in result.stdout.str()


def test_a_golden_that_was_only_formatted_anew_still_passes(accepted, project):
    path = golden_of(project, STATIC)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=8).replace("\n", "\r\n"))
    result = accepted(*ONLY_GOLDENS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["3 snapshots passed."])


def test_syrupy_is_never_told_of_a_golden_that_it_could_call_unused_and_delete(accepted_golden):
    extension = golden_extension(accepted_golden / "checkpoints")()
    assert list(extension.discover_snapshots(test_location=None)) == []
    assert len(list(accepted_golden.rglob("checkpoints/tiny/*.json"))) == 3


@pytest.mark.parametrize(
    "selection", [("-k", "checkpoint_is and per_channel", "--experiment", "*"), ("--experiment", STATIC)]
)
def test_an_update_of_one_experiment_keeps_the_goldens_of_the_others(accepted, project, selection):
    dynamic = golden_of(project, "tiny/ptq_dynamic_int8")
    # Goldens for another engine are of no use to this run either.
    golden_of(project, "tiny/ptq_dynamic_int8@qnnpack").write_bytes(dynamic.read_bytes())
    others = {path: path.read_bytes() for path in project.golden.rglob("checkpoints/tiny/*.json")}
    others.pop(golden_of(project, STATIC))
    golden_of(project, STATIC).unlink()
    assert accepted("-q", *UPDATE, *selection).ret == 0
    assert golden_of(project, STATIC).is_file()
    assert len(others) == 3
    assert {path: path.read_bytes() for path in others if path.exists()} == others


def test_a_golden_of_another_engine_is_no_orphan(accepted, project):
    golden_of(project, STATIC).rename(golden_of(project, f"{STATIC}@qnnpack"))
    assert accepted("-q", "--collect-only").ret == 0


def test_a_damaged_golden_is_named_and_not_overwritten(accepted, project):
    path = golden_of(project, STATIC)
    path.write_text(path.read_text()[:100])
    result = accepted(*ONLY_GOLDENS, "--experiment", "tiny/ptq_*", *UPDATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"{STATIC}: golden/checkpoints/{STATIC}.json: not valid JSON*restore it from version*"]
    )
    assert len(path.read_text()) == 100
