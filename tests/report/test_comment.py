"""The comment on a change: at most sixty lines, what is new first, and nothing of a file read as Markdown."""

import numpy as np
import pytest
from page_records import HOSTILE, verdict

from quantbench.records.base import pack_bits
from quantbench.records.run import ExperimentError, NotRun, RecordFile
from quantbench.records.samples import Samples
from quantbench.report.comment import MARKER, MOST_LINES, bar, commands, comment, flipped_since
from quantbench.report.html.judged import Bounded
from quantbench.report.junit import junit

FAILING = {"outcome": "FAIL", "estimate": 2.0, "interval": (1.5, 2.5)}


def made(record, *verdicts):
    return record.model_copy(update={"verdicts": list(verdicts)})


def test_newly_failing_gates_stand_before_those_that_failed_before(make_record):
    before = [made(make_record("w/a"), verdict()), made(make_record("w/b"), verdict(**FAILING))]
    now = [made(make_record(id_), verdict(**FAILING)) for id_ in ("w/a", "w/b")]
    text = comment(RecordFile(records=now), RecordFile(records=before), "https://ci.example/1")
    lines = text.splitlines()
    assert lines[:4] == [MARKER, "### quantbench: 2 of 2 experiments fail a gate", "", "❌ 2 FAIL"]
    new, old = lines.index("**Newly failing** (1)"), lines.index("**Failing on the base as well** (1)")
    assert lines[new + 1] == "- ❌ `w/a` `accuracy_drop_pp` `2.0 pp`, required: `at most 1.0 pp`"
    assert new < old
    assert lines[-1] == "[Whole report](https://ci.example/1)"


def test_without_a_base_failing_gates_are_just_that(make_record):
    text = comment(RecordFile(records=[made(make_record("w/a"), verdict(**FAILING), verdict(change="REGRESSED"))]))
    assert "**Failing** (1)" in text
    assert "- REGRESSED: `w/a` `0.4 pp`" in text
    assert "Newly" not in text


def test_samples_that_flipped_since_the_base_are_counted(make_record):
    before, now = make_record("w/a", correct=905), make_record("w/a", correct=900)
    bits = np.arange(1_000) < 903
    bits[:10] = False
    changed = now.accuracy.model_copy(update={"quantized_correct": pack_bits(bits)})
    (found,) = flipped_since(
        RecordFile(records=[now.model_copy(update={"accuracy": changed})]), RecordFile(records=[before])
    )
    assert (found.lost, found.gained, found.n) == (12, 0, 1_000)
    other = now.model_copy(update={"test_sha256": "f" * 64})
    assert flipped_since(RecordFile(records=[other]), RecordFile(records=[before])) == []


def test_samples_that_were_drawn_are_compared_as_far_as_both_were(make_record):
    def drawn(correct, used):
        record = make_record("w/a", correct)
        samples = Samples(used=used, total=50_000, why="decided", decided={}, error_share=0.2)
        changes = {"samples": samples, "n": used, "quantized_correct": pack_bits(np.arange(used) < correct)}
        return RecordFile(records=[record.model_copy(update={"accuracy": record.accuracy.model_copy(update=changes)})])

    (found,) = flipped_since(drawn(700, 900), drawn(705, 800))
    assert (found.lost, found.gained, found.n) == (5, 0, 800)
    assert flipped_since(drawn(700, 900), RecordFile(records=[make_record("w/a", 705)])) == []


def test_a_comment_has_sixty_lines_at_most(make_record):
    records = [made(make_record(f"w/e{i}"), verdict(**FAILING), verdict(outcome="INCONCLUSIVE")) for i in range(200)]
    errors = [ExperimentError(experiment=f"w/x{i}", reason="no") for i in range(50)]
    not_run = [NotRun(experiment=f"v{i}/x", reason=f"no data {i}") for i in range(50)]
    text = comment(RecordFile(records=records, errors=errors, not_run=not_run), link="https://ci.example/1")
    assert text.count("\n") <= MOST_LINES
    assert "- … and 192 more" in text
    assert text.count("```") % 2 == 0
    assert "More is in the records." in text


def test_texts_of_files_are_code(make_record):
    hostile = f"{HOSTILE}\n# title\n[x](https://evil) ![p](https://evil) @team `code` ```"
    wrong = verdict(outcome="FAIL").model_copy(
        update={"measured": hostile, "requirement": hostile, "quantity": hostile, "change": "REGRESSED"}
    )
    found = RecordFile(
        records=[made(make_record("w/a"), wrong)],
        errors=[ExperimentError(experiment=hostile, reason=hostile)],
        not_run=[NotRun(experiment=hostile, reason=hostile)],
    )
    for line in comment(found).splitlines():
        # Everything outside of code is ours.
        outside = "".join(line.split("`")[::2])
        assert not any(each in outside for each in ("script", "evil", "@", "title", "["))
        assert line.count("`") % 2 == 0 or line.startswith("```")
    assert "\u202e" not in comment(found)


@pytest.mark.parametrize(
    ("figures", "drawn"),
    [
        (Bounded(0.4, 0.1, 0.7, 0.95, 1.0, True), "        ┣━━━━━●━━━━┫     ┃▒▒▒▒▒▒"),
        (Bounded(0.5, -0.5, 1.5, 0.95, 1.0, True), "┣━━━━━━━━━━━━━━━●━━━━━━━━╋━━━━━┫"),
        (Bounded(9.0, 8.0, 10.0, 0.95, 1.0, True), "                         ┃▒▒▒▒▒●"),
        (Bounded(-9.0, -9.0, -9.0, None, 1.0, True), "●                        ┃▒▒▒▒▒▒"),
        (Bounded(1.0, 1.0, 1.0, None, 1.0, True), "                         ●▒▒▒▒▒▒"),
    ],
)
def test_a_bar_tells_its_side_of_the_bound(figures, drawn):
    assert bar(figures) == drawn


def test_a_bar_of_figures_far_beyond_any_bound_ends_at_its_edge():
    assert bar(Bounded(1e308, -1e308, 1e308, 0.95, 1e-9, True)).rstrip()[-1] == "●"
    assert len(bar(Bounded(1e308, -1e308, 1e308, 0.95, 0.0, False))) == 32


def test_annotations_hold_no_character_that_turns_or_hides_text(make_record):
    failing = make_record("w/a").model_copy(update={"verdicts": [verdict(outcome="FAIL")]})
    text = commands([failing], [ExperimentError(experiment="w/b", reason="a\x07\u202eb")], [])
    assert all(line.isprintable() for line in text.splitlines())
    assert "::a\\x07\\u202eb\n" in text


def test_annotations_are_one_line_each_and_hold_no_other_command(make_record):
    wrong = verdict(outcome="FAIL").model_copy(update={"measured": "100 %\n::error::own"})
    undecided = verdict(outcome="INCONCLUSIVE")
    new = verdict(outcome="INCONCLUSIVE", change="NO BASELINE")
    text = commands([made(make_record("w/a"), wrong, undecided, new, verdict())], [], [])
    assert text == (
        "::error title=w/a::accuracy_drop_pp: 100 %25 ::error::own; required: at most 1.0 pp\n"
        "::warning title=w/a::accuracy_drop_pp: 0.4 pp; required: at most 1.0 pp\n"
    )


def test_junit_has_a_case_for_each_verdict(make_record):
    from xml.etree.ElementTree import fromstring

    record = made(make_record("w/a"), verdict(), verdict(**FAILING), verdict(outcome="INCONCLUSIVE"))
    wrong = made(make_record("w/b"), verdict(**FAILING).model_copy(update={"measured": f"{HOSTILE}\x00"}))
    root = fromstring(  # noqa: S314 — made here
        junit(
            RecordFile(
                records=[record, wrong],
                errors=[ExperimentError(experiment="w/c", reason="no")],
                not_run=[NotRun(experiment="w/d", reason="no data")],
            )
        )
    )
    counts = {suite.get("name"): [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] for suite in root}
    assert counts["w/a"] == ["3", "1", "0", "1"]
    assert counts["w/c"] == ["1", "0", "1", "0"]
    assert counts["w/d"] == ["1", "0", "0", "1"]
    assert root.find(".//failure").get("message") == "2.0 pp; required: at most 1.0 pp"


def test_the_command_prints_or_writes_it(quantbench, tmp_path, make_record):
    from quantbench.report.documents import write_records

    write_records(tmp_path / "r.json", [make_record("w/a")], [])
    status, out, err = quantbench("comment", tmp_path / "r.json")
    assert (status, err) == (0, "")
    assert out.startswith(MARKER)
    assert quantbench("comment", tmp_path / "r.json", "--out", tmp_path / "c.md") == (0, "", "")
    assert (tmp_path / "c.md").read_text() == out


@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://a b", "https://a) [x](y"])
def test_a_link_that_is_no_address_is_refused(quantbench, tmp_path, make_record, link):
    from quantbench.report.documents import write_records

    write_records(tmp_path / "r.json", [make_record("w/a")], [])
    status, out, err = quantbench("comment", tmp_path / "r.json", "--link", link)
    assert (status, out) == (2, "")
    assert "is no address; write https://" in err


def test_gates_that_are_gone_fail_everywhere(make_record):
    from page_structure import parsed

    from quantbench.report.html.content import Content
    from quantbench.report.html.page import page

    record, line = make_record("w/a"), "w/a: gate memory_ratio: 3.5 → gone"
    found = RecordFile(records=[record], premises=[line])
    assert "### quantbench: 1 gate is gone or looser than accepted" in comment(found)
    assert f"- `{line}`" in comment(found)
    assert f'<failure message="{line}" />' in junit(found)
    verdict_of = parsed(page(Content([record], premises=[line]))).by_id("verdict").text
    assert "FAIL 1 gate is gone or looser than accepted." in verdict_of
    assert line in verdict_of
    assert "premises" not in RecordFile(records=[]).model_dump_json()
