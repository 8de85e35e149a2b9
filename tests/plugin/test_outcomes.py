"""PASS passes, FAIL fails, INCONCLUSIVE is neither, and absent data is "not run": each with the words a user reads."""

import os
from xml.etree import ElementTree

import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.records.run import RecordFile

STATIC = "tiny/ptq_static_int8_per_channel"
ACCURACY = ("-q", "--experiment", STATIC, "-k", "accuracy")


@pytest.fixture
def undecided(bench, project):
    """`bench` where the bound of the drop lies inside the interval of the drop."""
    run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
    low, high = run.accuracy.drop_interval_pp
    assert low < high
    project.edit("{accuracy_drop_pp: 10.0, size_ratio", f"{{accuracy_drop_pp: {(low + high) / 2:.3f}, size_ratio")
    return bench


@pytest.fixture
def absent(bench, project):
    """`bench` where the data is not on this machine."""
    project.edit("root: images", 'root: photographs, obtain: "git clone photographs"')
    project.edit("  baseline: tiny", "  optional: true\n  baseline: tiny")
    return bench


def test_a_failed_gate_says_measured_required_and_how_to_look_further_or_accept(bench, project):
    project.edit("size_ratio: 0.2", "size_ratio: 9.0")
    result = bench("-q", "--experiment", STATIC, "-k", "shrinks")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{STATIC}: size_ratio: FAIL",
            "  measured:     0.*× (* → * bytes)",
            "  required:     at least 9×",
            f"  look further: quantbench run {STATIC} --json record.json",
            "  accept:       change experiments.ptq_static_int8_per_channel.gates.size_ratio in configs/tiny.yaml, "
            f'then quantbench gates {STATIC} --accept --reason "…"',
        ]
    )
    result.stdout.no_fnmatch_line("*Error*")


def test_the_summary_has_one_row_per_experiment_with_all_figures(accepted):
    result = accepted("-q", "-k", "not qat")
    assert result.ret == 0
    table = result.outlines[result.outlines.index(next(line for line in result.outlines if "quantbench ==" in line)) :]
    heads = ("experiment", "accuracy %", "drop pp [95 %]", "size ×", "memory ×", "speed-up × [99 %]", "int8 share")
    assert all(head in table[1] for head in (*heads, "verdict"))
    assert [row.split()[0] for row in table[2:5]] == ["tiny/fp32_baseline", "tiny/ptq_dynamic_int8", STATIC]
    assert all(row.split()[-1] == "PASS" for row in table[2:5])
    assert "–" not in table[4]
    assert "100.0 %" in table[4]


def test_an_undecided_verdict_is_an_outcome_of_its_own(undecided):
    result = undecided(*ACCURACY)
    assert result.ret == 0
    assert result.parseoutcomes() == {"inconclusive": 1, "deselected": 24}
    result.stdout.fnmatch_lines(
        [
            "*inconclusive: more samples*",
            f"{STATIC}: accuracy_drop_pp: INCONCLUSIVE",
            "*measured:*pp [[]*lost*",
            "*at most*",
        ]
    )
    result.stdout.fnmatch_lines([f"{STATIC} *INCONCLUSIVE"])


def test_an_undecided_verdict_is_named_in_verbose_output(undecided):
    undecided("-v", *ACCURACY[1:]).stdout.fnmatch_lines(["*test_accuracy_drop*INCONCLUSIVE*"])


def test_an_undecided_verdict_fails_under_strict_verdicts(undecided):
    result = undecided(*ACCURACY, "--strict-verdicts")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: accuracy_drop_pp: INCONCLUSIVE", "*inconclusive counts as failed"])


def test_latency_without_timing_is_inconclusive(bench):
    command = ("-q", "-m", "latency", "--benchmark-disable", "-k", "ptq")
    result = bench(*command)
    assert result.ret == 0
    assert result.parseoutcomes() == {"inconclusive": 4, "deselected": 53}
    result.stdout.fnmatch_lines([f"{STATIC}: speedup: INCONCLUSIVE", "*nothing was timed*"])
    result.stdout.fnmatch_lines(["tiny/ptq_dynamic_int8: latency: INCONCLUSIVE", "*", "*no bound is set*"])
    assert bench(*command, "--strict-verdicts").ret == pytest.ExitCode.TESTS_FAILED


def test_absent_data_is_not_run_with_the_reason_and_the_way_to_get_it(absent, project):
    result = absent("-q", "-rs", "--json", "records.json")
    assert result.ret == 0
    assert result.parseoutcomes() == {"skipped": 49, "deselected": 8}
    reason = f"{project.root}/data/photographs/train: no such folder. To get it: git clone photographs"
    told = f"tiny: 4 experiments not run: {reason}"
    counted = "4 experiments of 1 optional workload did not run, for lack of data or a library"
    result.stdout.fnmatch_lines(["*quantbench ==*", told, "*", counted, f"SKIPPED * not run: {reason}"])
    file = RecordFile.model_validate_json((project.root / "records.json").read_text())
    assert file.records == []
    assert {entry.experiment for entry in file.not_run} == {
        "tiny/fp32_baseline", "tiny/ptq_dynamic_int8", STATIC, "tiny/qat_int8",
    }  # fmt: skip
    assert {entry.reason for entry in file.not_run} == {reason}


def test_absent_data_of_the_users_own_fails_the_run_unless_the_workload_is_optional(absent, project):
    project.edit("optional: true", "optional: false")
    result = absent(*ACCURACY)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: *photographs/train: no such folder. *; or set workload.optional: true*"])


def test_absent_data_fails_under_real_data(absent):
    result = absent(*ACCURACY, "--real-data")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: *photographs/train: no such folder. To get it: git clone photographs"])


def test_real_data_allows_downloads_in_its_own_run_only(bench):
    bench(*ACCURACY, "--real-data")
    assert "QUANTBENCH_DOWNLOAD" not in os.environ


def test_junit_xml_carries_verdict_and_figure(undecided, project):
    undecided("-q", "--experiment", STATIC, "-k", "accuracy or shrinks or checkpoint_is", "--junitxml", "junit.xml")
    cases = list(ElementTree.parse(project.root / "junit.xml").iter("testcase"))  # noqa: S314 — written a line above
    skipped = [case.find("skipped").get("message") for case in cases if case.find("skipped") is not None]
    assert [message.split("\n")[0] for message in skipped] == [
        f"INCONCLUSIVE: {STATIC}: accuracy_drop_pp: INCONCLUSIVE"
    ]
    found = {
        case.get("name").partition("[")[0]: {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in cases
    }
    accuracy = found["test_accuracy_drop_is_within_its_bound"]
    assert accuracy["quantbench_verdict"] == "INCONCLUSIVE"
    assert " lost, " in accuracy["quantbench_accuracy_drop_pp"]
    assert found["test_file_shrinks_by_its_bound"]["quantbench_verdict"] == "PASS"
    assert found["test_checkpoint_is_the_accepted_one"]["quantbench_verdict"] == "FAIL"
