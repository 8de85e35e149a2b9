"""Against accepted results a run improves, stays, regresses or stays open, and tells a change of behaviour."""

import json
from xml.etree import ElementTree

import pytest
from accepting import result_path
from flipped import flip, rewrite

from quantbench.records.run import RecordFile

STATIC = "tiny/ptq_static_int8_per_channel"
PREDICTIONS = ("-q", "--experiment", STATIC, "-k", "predictions")
BEHAVIOUR = "*= change of behaviour: predictions flipped although nothing else changed =*"


def properties(project):
    """Of the only test in the JUnit file, by name."""
    (case,) = ElementTree.parse(project.root / "junit.xml").iter("testcase")  # noqa: S314 — written a line above
    return {p.get("name"): p.get("value") for p in case.iter("property")}


def verdict_of(project):
    """Of the only record in the JSON file."""
    file = RecordFile.model_validate_json((project.root / "records.json").read_text())
    (verdict,) = file.records[0].verdicts
    return verdict


@pytest.mark.parametrize(
    ("lost", "gained", "change", "outcome", "status"),
    [
        (0, 0, "SAME", "PASS", 0),
        (0, 27, "IMPROVED", "PASS", 0),
        (27, 0, "REGRESSED", "FAIL", 1),
        (2, 0, "INCONCLUSIVE", "INCONCLUSIVE", 0),
    ],
)
def test_what_became_of_predictions_is_the_outcome_and_stands_in_junit_and_records(
    accepted, project, lost, gained, change, outcome, status
):
    flip(project.golden, STATIC, lost, gained)
    result = accepted(*PREDICTIONS, "--junitxml", "junit.xml", "--json", "records.json")
    assert result.ret == status
    counted = {"PASS": "passed", "FAIL": "failed", "INCONCLUSIVE": "inconclusive"}[outcome]
    assert result.parseoutcomes()[counted] == 1
    found = properties(project)
    assert (found["quantbench_verdict"], found["quantbench_change"]) == (outcome, change)
    assert f"{lost} lost, {gained} gained, exact test p = " in found["quantbench_accuracy_vs_accepted"]
    verdict = verdict_of(project)
    assert (verdict.quantity, verdict.outcome, verdict.change) == ("accuracy_vs_accepted", outcome, change)
    if outcome != "PASS":
        result.stdout.fnmatch_lines(
            [
                f"{STATIC}: accuracy_vs_accepted: {change}",
                f"  measured:     *pp lost [[]*{lost} lost, {gained} gained*",
                "  required:     at most 3 pp below what was accepted",
                f"  look further: quantbench run {STATIC} --json record.json",
                f"  accept:       pytest bench --experiment {STATIC} --update-golden --reason *",
            ]
        )


def test_an_open_comparison_fails_under_strict_verdicts(accepted, project):
    flip(project.golden, STATIC, lost=2)
    result = accepted(*PREDICTIONS, "--strict-verdicts")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*samples changing at these rates would decide", "*inconclusive counts as failed"])


def test_a_change_of_behaviour_is_told_in_the_summary_and_in_junit_even_if_it_passes(accepted, project):
    flip(project.golden, STATIC, gained=1)
    result = accepted(*PREDICTIONS, "--junitxml", "junit.xml")
    assert result.ret == 0
    told = f"{STATIC}: change of behaviour: 1 of 150 predictions flipped since 20*: the code computes something else"
    result.stdout.fnmatch_lines([BEHAVIOUR, told])
    assert "1 of 150 predictions flipped" in properties(project)["quantbench_behaviour"]


def test_a_change_of_behaviour_is_told_by_quantbench_run_too(accepted, project, quantbench):
    flip(project.golden, STATIC, gained=1)
    _, _, err = quantbench("run", STATIC)
    assert f"{STATIC}: change of behaviour: 1 of 150 predictions flipped since 20" in err


@pytest.mark.parametrize(
    ("edit", "status", "told"),
    [
        (lambda _: None, 0, ""),
        (lambda golden: flip(golden, STATIC, lost=27), 1, f"{STATIC}: accuracy_vs_accepted: REGRESSED\n"),
        (lambda golden: result_path(golden, STATIC).write_text("{"), 2, f"{STATIC}.json: not valid JSON ("),
    ],
    ids=["holds", "regressed", "damaged"],
)
def test_quantbench_run_ends_with_0_1_or_2(accepted, project, quantbench, edit, status, told):
    edit(project.golden)
    code, out, err = quantbench("run", STATIC)
    assert code == status
    assert told in err
    assert "\n2 gates judged by intervals: " in out, "a claim that cannot be made leaves the others of its experiment"


def test_flips_beside_another_version_are_no_change_of_behaviour(accepted, project):
    flip(project.golden, STATIC, lost=27)
    rewrite(project.golden, STATIC, versions={"torch": "1.0"})
    result = accepted(*PREDICTIONS, "--junitxml", "junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*27 lost*; also changed: torch (1.0 → *)"])
    result.stdout.no_fnmatch_line(BEHAVIOUR)
    assert "quantbench_behaviour" not in properties(project)


def test_the_same_predictions_are_no_change_of_behaviour(accepted):
    result = accepted(*PREDICTIONS)
    assert (result.ret, result.parseoutcomes()["passed"]) == (0, 1)
    result.stdout.no_fnmatch_line("*change of behaviour*")


def test_a_result_that_is_gone_fails_with_the_date_and_the_ways_to_get_it_back(accepted, project):
    result_path(project.golden, STATIC).unlink()
    result = accepted("-q", "--experiment", STATIC, "-k", "worse_than")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(
        [
            f"{STATIC}: accuracy_vs_accepted: FAIL",
            "  measured:     was accepted on 20??-??-??, but its golden "
            f"golden/results/{STATIC}.json is gone: restore it from version control, or accept it anew: pytest bench *",
            f"  accept:       pytest bench --experiment {STATIC} --update-golden --reason *",
        ]
    )
    result.stdout.fnmatch_lines(
        [
            f"{STATIC}: speedup_vs_accepted: NO BASELINE",
            f"  accept:       pytest bench --experiment {STATIC} --update-golden --reason *",
        ]
    )


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[:300], "not valid JSON (*"),
        (lambda text: text.replace('"n": 150', '"n": 999'), "correct: holds 19 bytes, but the bits of 999 samples *"),
        (lambda text: text.replace('"accuracy": 0.8', '"accuracy": 0.9'), "metrics.accuracy: is 0.9*"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 3'), "schema_version: is 3, but this *"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": "2"'), "schema_version: is '2', but *"),
        (lambda text: text.replace("per_channel", "per_tensor"), "experiment: is 'tiny/ptq_static_int8_per_tensor'*"),
    ],
    ids=["cut short", "bits", "accuracy", "schema", "schema as text", "another experiment"],
)
def test_a_result_edited_by_hand_fails_with_its_file_key_and_what_to_do(accepted, project, damage, told):
    path = result_path(project.golden, STATIC)
    changed = damage(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    result = accepted(*PREDICTIONS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"{STATIC}: golden/results/{STATIC}.json: {told}restore it from version control, or *"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_result_of_another_test_split_fails(accepted, project):
    rewrite(project.golden, STATIC, inputs={"test": "f" * 64})
    result = accepted(*PREDICTIONS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: accuracy_vs_accepted: FAIL", "*of other test samples (n=150, *"])


def test_a_damaged_result_costs_a_run_no_other_claim(accepted, project):
    path = result_path(project.golden, STATIC)
    path.write_text("{")
    result = accepted("-q", "--experiment", STATIC, "-k", "speedup or accuracy or shrinks")
    assert result.parseoutcomes()["passed"] == 3
    assert result.parseoutcomes()["failed"] == 1, "the comparison with the accepted speed-up"


def test_the_summary_states_the_gates_and_the_control_in_the_terminal_and_on_the_page(accepted, project, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.root / "summary.md"))
    flip(project.golden, STATIC, lost=27)
    result = accepted("-q", "-k", "(predictions or speedup_is) and per_channel")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*= quantbench =*", f"{STATIC} *FAIL*", "1 gate judged by an interval: *", "A/A control *"]
    )
    page = (project.root / "summary.md").read_text()
    assert f"- **FAIL** `{STATIC}`: accuracy_vs_accepted: 18.00 pp lost [" in page
    assert "\n- 1 gate judged by an interval: " in page
    assert "\n- A/A control " in page
    assert f"| {STATIC} |" in page


def test_records_of_a_run_hold_what_is_accepted_then(accepted, project):
    accepted(*PREDICTIONS, "--json", "records.json")
    record = RecordFile.model_validate_json((project.root / "records.json").read_text()).records[0]
    golden = json.loads(result_path(project.golden, STATIC).read_text())
    assert record.accuracy.quantized_correct == golden["correct"]
    assert record.test_sha256 == golden["inputs"]["test"]


def test_on_another_machine_missing_speedups_are_told_once_and_hide_no_verdict(accepted, project):
    ids = [STATIC, "tiny/ptq_dynamic_int8"]
    for id_ in ids:
        path = result_path(project.golden, id_)
        path.write_text(path.read_text().replace('"threads": 1', '"threads": 99'))
    chosen = [part for id_ in ids for part in ("--experiment", id_)]
    result = accepted("-q", *chosen, "-k", "speedup_is_no or shrinks", "-m", "latency or not latency")
    assert result.ret == 0
    assert result.parseoutcomes()["inconclusive"] == 2
    result.stdout.fnmatch_lines(
        [
            "*= no baseline for this machine: nothing to compare speed with =*",
            "tiny/ptq_dynamic_int8: speedup_vs_accepted: NO BASELINE",
            "1 more experiments have no accepted speed-up for this machine either; *-m latency --update-golden*",
            f"{STATIC} *PASS, no baseline",
        ]
    )
    assert result.stdout.str().count("speedup_vs_accepted: NO BASELINE") == 1
    assert accepted("-q", *chosen, "-k", "speedup_is_no", "--strict-verdicts").ret == pytest.ExitCode.TESTS_FAILED
