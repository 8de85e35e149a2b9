"""Records as rows: what was measured, a dash for what was not, the worst verdict."""

import pytest

from quantbench.records.run import ExperimentError, Memory, NotRun, VerdictRecord
from quantbench.report.tables import (
    cells,
    error_lines,
    markdown_rows,
    markdown_table,
    not_run_lines,
    overall,
    plain_table,
    provenance,
    rows_of,
    terminal_table,
    without_baseline,
)


def judged(record, *outcomes):
    verdicts = [VerdictRecord(quantity=f"q{i}", outcome=o, measured="", requirement="") for i, o in enumerate(outcomes)]
    return record.model_copy(update={"verdicts": verdicts})


def with_memory(record, ratio):
    memory = Memory(
        batch_size=32,
        threads=1,
        processes=3,
        fp32_bytes=8 << 20,
        quantized_bytes=2 << 20,
        ratio=ratio,
        ratio_range=ratio and (ratio - 0.1, ratio + 0.1),
        fp32_each_bytes=[8 << 20] * 3,
        quantized_each_bytes=[2 << 20] * 3,
        fp32_load_bytes=9 << 20,
        quantized_load_bytes=3 << 20,
        fp32_total_bytes=300 << 20,
        quantized_total_bytes=300 << 20,
    )
    return record.model_copy(update={"memory": memory})


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("PASS", "PASS"), "PASS"),
        (("PASS", "INCONCLUSIVE"), "INCONCLUSIVE"),
        (("INCONCLUSIVE", "FAIL", "PASS"), "FAIL"),
        ((), "–"),
    ],
)
def test_the_verdict_of_a_row_is_its_worst(make_record, outcomes, expected):
    assert overall(judged(make_record("w/a"), *outcomes)) == expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [(("PASS",), "PASS, no baseline"), (("PASS", "FAIL"), "FAIL, no baseline"), ((), "–")],
)
def test_a_speedup_without_a_baseline_is_said_and_hides_no_other_verdict(make_record, outcomes, expected):
    record = judged(make_record("w/a"), *outcomes)
    new = VerdictRecord(quantity="s", outcome="INCONCLUSIVE", measured="", requirement="", change="NO BASELINE")
    record = record.model_copy(update={"verdicts": [*record.verdicts, new]})
    assert overall(record) == expected
    assert terminal_table([record], [], 200, False).splitlines()[1].rstrip().endswith(expected)
    assert expected.partition(",")[0] in terminal_table([record], [], 200, True)


def test_many_speedups_without_a_baseline_are_told_by_one_with_the_command_for_all_of_them():
    told = [("v/a", "words of a"), ("w/b", "words of b"), ("w/c", "words of c")]
    assert without_baseline([]) == []
    assert without_baseline(told[:1]) == ["words of a"]
    assert without_baseline(told) == [
        "words of a",
        "2 more experiments have no accepted speed-up for this machine either; accept them all: pytest bench "
        "--experiment 'v/*' --experiment 'w/*' -m latency --update-golden --reason \"…\"",
    ]


def test_a_row_has_figures_with_their_intervals(make_record):
    assert cells(with_memory(make_record("w/a", correct=900, kib=275, speedup=2.0), 3.75)) == (
        "w/a", "90.00", "+1.00 [+0.54, +1.83]", "4.00", "3.75", "2.00 [1.90, 2.08]", "1.60 (fused)", "–", "PASS",
    )  # fmt: skip


def test_what_was_not_measured_is_a_dash_and_not_a_zero(make_record):
    bare = make_record("w/a").model_copy(update={"accuracy": None, "size": None, "latency": None, "verdicts": []})
    assert cells(bare) == ("w/a", *["–"] * 8)


def test_memory_measured_but_too_small_for_a_ratio_is_told_apart_from_memory_not_measured(make_record):
    assert cells(with_memory(make_record("w/a"), None))[4] == "too small"
    assert cells(make_record("w/a"))[4] == "–"


def test_the_baseline_has_no_drop_and_no_ratio_against_itself(make_record):
    row = cells(with_memory(make_record("w/fp32_baseline", 910, 1_100, None), 1.0))
    assert row[1:6] == ("91.00", "–", "–", "–", "–")


def test_the_terminal_table_cuts_nothing_on_a_narrow_terminal(make_record):
    name = "a_workload_with_a_long_name/ptq_static_int8_per_channel"
    text = terminal_table([judged(make_record(name), "INCONCLUSIVE")], [], width=40, color=False)
    assert f"{name} " in text
    assert "INCONCLUSIVE" in text
    assert len(text.splitlines()) == 2


def test_the_terminal_table_cuts_nothing_where_the_terminal_is_called_dumb(make_record, monkeypatch):
    record = judged(make_record("a_workload_with_a_long_name/and_an_experiment_too"), "FAIL")
    expected = terminal_table([record], [], width=200, color=False)
    monkeypatch.setenv("TERM", "dumb")
    assert terminal_table([record], [], width=200, color=False) == expected
    assert "a_workload_with_a_long_name/and_an_experiment_too" in expected


def test_the_terminal_table_colours_verdicts_only_where_colour_is_wanted(make_record):
    record = judged(make_record("w/a"), "FAIL")
    assert "\x1b[31mFAIL" in terminal_table([record], [], width=200, color=True)
    assert "\x1b" not in terminal_table([record], [], width=200, color=False)


ERRORS = [ExperimentError(experiment=id_, reason="KeyError:\n'x'") for id_ in ("w/broken", "w/b", "w/c")]


def test_an_experiment_with_an_error_is_a_row_that_begins_its_verdict_with_it(make_record):
    records = [
        judged(make_record("w/a"), "PASS"),
        judged(make_record("w/b"), "FAIL", "PASS"),
        judged(make_record("w/c")),
    ]
    rows = {row[0]: row for row in rows_of(records, ERRORS)}
    assert {id_: row[-1] for id_, row in rows.items()} == {
        "w/a": "PASS", "w/b": "error, FAIL", "w/c": "error", "w/broken": "error",
    }  # fmt: skip
    assert set(rows["w/broken"][1:-1]) == {"–"}
    assert markdown_table(records, ERRORS).splitlines()[-1].startswith("| w/broken | – |")
    assert "\x1b[31merror, FAIL" in terminal_table(records, [], width=200, color=True, errors=ERRORS)
    assert error_lines(ERRORS[:1] * 2) == ["w/broken: error: KeyError: 'x'"]


def test_what_was_not_run_follows_with_its_reason_on_one_line():
    reason = "[data]/x: no such folder. To get it: " + "git clone somewhere " * 10
    text = terminal_table([], [NotRun(experiment="w/a", reason=reason)], width=40, color=False)
    assert text == f"w/a: not run: {reason}\n"


def test_every_row_of_the_markdown_table_has_every_column(two_workloads):
    lines = markdown_table(two_workloads).splitlines()
    assert len(lines) == 14
    assert {line.count("|") for line in lines} == {10}


def test_the_same_circumstances_are_told_once_and_others_apart(make_record):
    lines = provenance([make_record("w/a"), make_record("w/b"), make_record("v/a"), make_record("w/c", speedup=None)])
    assert len(lines.splitlines()) == 3
    assert "`w`: n = 1,000 test samples; speed-up: median of 3 interleaved rounds, batch 32, 1 thread(s)" in lines
    assert "not timed" in lines


def test_a_plain_table_aligns_names_to_the_left_and_figures_to_the_right():
    assert plain_table(("part", "drop pp"), [("block1", "+6.20"), ("all", "–")]) == (
        "part    drop pp\n"
        "block1    +6.20\n"
        "all           –\n"
    )  # fmt: skip


def test_a_plain_table_without_rows_is_its_titles_and_no_line_ends_in_blanks():
    assert plain_table(("part", "note"), []) == "part  note\n"
    assert plain_table(("part", "note"), [("a", "")]) == "part  note\na\n"


def test_markdown_rows_put_figures_to_the_right_and_the_last_column_where_it_is_told():
    assert markdown_rows(("a", "b", "c"), [("1", "2", "3")]) == [
        "| a | b | c |",
        "| --- | ---: | ---: |",
        "| 1 | 2 | 3 |",
    ]
    assert markdown_rows(("a", "b"), [], last="---") == ["| a | b |", "| --- | --- |"]


def test_where_a_record_of_unknown_libraries_comes_from_is_told_all_the_same(make_record):
    record = make_record("w/a")
    record = record.model_copy(update={"environment": record.environment.model_copy(update={"versions": {}})})
    assert "torch (unknown), Python 3.12.1" in provenance([record])


def test_of_a_machine_without_torch_the_runtimes_are_told(make_record):
    record = make_record("w/a")
    versions = {"numpy": "2.4.6", "quantbench-suite": "1", "onnxruntime": "1.32.0", "onnx": "1.23.2"}
    record = record.model_copy(update={"environment": record.environment.model_copy(update={"versions": versions})})
    assert ", onnxruntime 1.32.0, onnx 1.23.2, Python 3.12.1" in provenance([record])


def test_absent_data_is_told_once_for_all_experiments_that_wait_for_it():
    absent, other = "no such folder. To get it: git clone x", "no synthesizer"
    lines = not_run_lines(
        [NotRun(experiment=id_, reason=reason)
         for id_, reason in (("a/one", absent), ("b/one", other), ("a/two", absent), ("b/two", absent))]
    )  # fmt: skip
    assert lines == [
        f"a: 2 experiments not run: {absent}",
        f"b/one: not run: {other}",
        f"b/two: not run: {absent}",
    ]
