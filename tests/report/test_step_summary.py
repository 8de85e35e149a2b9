"""The results on the page of a CI run: appended, complete, and never the reason for a run to fail."""

import pytest

from quantbench.records.run import ExperimentError, NotRun, VerdictRecord
from quantbench.report.step_summary import append_step_summary, summary_markdown


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The file that the service names, as another step left it."""
    place = tmp_path / "summary.md"
    place.write_text("# Another step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    return place


def judged(record, *outcomes):
    verdicts = [
        VerdictRecord(quantity=f"q{i}", outcome=outcome, measured=f"{i} pp | `x`\n  line 2", requirement="at most 1 pp")
        for i, outcome in enumerate(outcomes)
    ]
    return record.model_copy(update={"verdicts": verdicts})


def test_verdicts_are_counted_and_those_that_are_no_pass_are_told_worst_first(make_record):
    one = judged(make_record("a/one"), "PASS", "INCONCLUSIVE")
    two = judged(make_record("a/two"), "PASS", "FAIL")
    lines = summary_markdown([one, two], []).splitlines()
    assert lines[:3] == ["## quantbench", "", "2 PASS, 1 FAIL, 1 INCONCLUSIVE"]
    told = [line for line in lines if line.startswith("- **")]
    assert told == [
        "- **FAIL** `a/two`: q1: 1 pp \\| 'x' line 2; required: at most 1 pp",
        "- **INCONCLUSIVE** `a/one`: q1: 1 pp \\| 'x' line 2; required: at most 1 pp",
    ]


def test_missing_baselines_of_many_experiments_are_told_once_after_all_else(make_record):
    new = VerdictRecord(quantity="s", outcome="INCONCLUSIVE", measured="none", requirement="r", change="NO BASELINE")
    records = [judged(make_record(id_), "INCONCLUSIVE") for id_ in ("a/one", "a/two")]
    records = [record.model_copy(update={"verdicts": [new, *record.verdicts]}) for record in records]
    told = [line for line in summary_markdown(records, []).splitlines() if line.startswith("- ")][:4]
    assert told[2] == "- **INCONCLUSIVE** `a/one`: s: none; required: r"
    assert told[3].startswith("- 1 more experiments have no accepted speed-up for this machine either; accept them")


def test_the_table_and_where_its_figures_come_from_are_there(make_record):
    record = make_record("a/one")
    text = summary_markdown([record], [])
    assert "| a/one |" in text
    assert f"`{record.command}`" in text


def test_errors_are_told_first_and_are_rows(place, make_record):
    errors = [ExperimentError(experiment="a/two", reason="the forward raised KeyError: `x`")]
    lines = summary_markdown([judged(make_record("a/one"), "FAIL")], [], errors=errors).splitlines()
    told = [line for line in lines if line.startswith("- **")]
    assert told[0] == "- **error** `a/two`: the forward raised KeyError: 'x'"
    assert told[1].startswith("- **FAIL** `a/one`")
    assert any(line.startswith("| a/two | – |") and line.endswith("| error |") for line in lines)
    append_step_summary([], [], errors=errors)
    assert "| a/two | – |" in place.read_text(), "where nothing was measured too"


def test_what_was_not_run_is_said_with_its_reason():
    text = summary_markdown([], [NotRun(experiment="a/one", reason="no such folder. To get it: `git clone x`")])
    assert "- a/one: not run: no such folder. To get it: 'git clone x'" in text
    assert "nothing was judged" in text


def test_it_is_appended_to_what_other_steps_wrote(place, make_record):
    append_step_summary([make_record("a/one")], [])
    append_step_summary([make_record("a/two")], [])
    text = place.read_text()
    assert text.startswith("# Another step\n## quantbench\n")
    assert text.index("a/one") < text.index("a/two")


def test_without_the_variable_or_without_results_nothing_is_written(place, make_record, monkeypatch):
    append_step_summary([], [])
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    append_step_summary([make_record("a/one")], [])
    assert place.read_text() == "# Another step\n"


def test_a_file_that_cannot_be_written_is_named_and_fails_nothing(tmp_path, make_record, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    append_step_summary([make_record("a/one")], [])
    told = capsys.readouterr().err
    assert told == f"$GITHUB_STEP_SUMMARY: {tmp_path}: cannot be written (Is a directory); the summary is left out\n"
