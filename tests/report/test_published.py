"""Published figures beside ours: only rows that exist, every figure from a record, each mistake in the file named."""

from pathlib import Path

import published_figures
import pytest
from published_figures import published_markdown, read_published, with_published

from quantbench.errors import ConfigError
from quantbench.report.documents import read_records, write_records

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = """\
what: M5 on real speech, batch 256
workloads: [real, embedded]
rows:
  fp32_baseline: {accuracy: 83.0713, size_kb: 116.98, forward_ms: 15.744}
  ptq_static: {accuracy: 75.8473, drop_pp: 7.224, size_kb: 40.51, size_ratio: 2.89, forward_ms: 3.382, speedup: 4.7}
  ptq_block1: {accuracy: 76.8287, drop_pp: 6.2426}
  qat_block1: {}
  never_ours: {drop_pp: 1.0}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "published.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def records(make_record, make_layer):
    baseline = make_record("real/fp32_baseline", 910, 120, 1.0)
    return [
        baseline.model_copy(update={"recipe": {"kind": "fp32"}}),
        make_layer("real/ptq_static", 838, None, kib=40, speedup=4.0),
        make_layer("real/ptq_block1", 848, ("block1",)),
        make_layer("real/qat_block1", 905, ("block1",)),
        make_layer("embedded/ptq_static", 900, None, kib=40, speedup=None),
        make_layer("elsewhere/ptq_static", 700).model_copy(update={"command": "pytest elsewhere"}),
    ]


@pytest.fixture
def tables(write, records):
    """Title → rows, each its cells."""
    found, title = {}, ""
    for line in published_markdown(read_published(write(PUBLISHED)), records).splitlines():
        if line.startswith("**"):
            title = line.strip("*")
        elif line.startswith("| ") and "---" not in line:
            found.setdefault(title, []).append(line.strip("| ").split(" | "))
    return found


def rows(tables, start):
    (table,) = (rows for title, rows in tables.items() if title.startswith(start))
    return {row[0]: row[1:] for row in table}


def test_a_file_of_published_figures_is_read(write):
    published = read_published(write(PUBLISHED))
    assert published.rows["ptq_static"].speedup == 4.7
    assert published.rows["ptq_block1"].size_kb is None


def test_every_table_says_whose_figures_its_columns_hold(tables):
    assert len(tables) == 6
    assert all(rows[0] == ["experiment", "published", "real", "embedded"] for rows in tables.values())


def test_accuracies_stand_side_by_side_with_our_intervals_and_a_dash_for_what_we_lack(tables):
    found = rows(tables, "Accuracy")
    assert found["fp32_baseline"] == ["83.07", "91.00 [89.07, 92.62]", "–"]
    assert found["ptq_static"][0] == "75.85"
    assert found["ptq_static"][2].startswith("90.00 [")
    assert list(found) == ["experiment", "fp32_baseline", "ptq_static", "ptq_block1"]


def test_drops_hold_our_figures_where_the_source_left_its_own_empty(tables):
    assert rows(tables, "Drop") == {
        "experiment": ["published", "real", "embedded"],
        "ptq_static": ["+7.22", "+7.20 [+5.76, +8.97]", "+1.00 [+0.54, +1.83]"],
        "ptq_block1": ["+6.24", "+6.20 [+4.87, +7.87]", "–"],
        "qat_block1": ["–", "+0.50 [+0.12, +1.17]", "–"],
        "never_ours": ["+1.00", "–", "–"],
    }


def test_sizes_are_in_thousands_of_bytes_and_the_baseline_has_no_ratio_to_itself(tables):
    assert rows(tables, "Size, KB (1,000 bytes)")["fp32_baseline"] == ["116.98", f"{120 * 1.024:.2f}", "–"]
    assert rows(tables, "Size, KB (1,000 bytes)")["ptq_static"] == ["40.51", "40.96", "40.96"]
    assert rows(tables, "fp32 size / size") == {
        "experiment": ["published", "real", "embedded"],
        "ptq_static": ["2.89", "27.50", "27.50"],
    }


def test_forward_times_say_batch_and_threads(tables):
    assert rows(tables, "Forward")["ptq_static"] == ["3.38", "10.00 (batch 32, 1 thread(s))", "–"]


def test_a_speedup_is_given_over_eager_and_over_the_fastest_fp32(tables):
    cells = rows(tables, "Speed-up")["ptq_static"]
    assert cells == ["4.7", "4.00 [3.80, 4.16] / 3.20 [3.00, 3.40]", "–"]


def test_the_tables_begin_with_the_source_and_end_with_where_ours_come_from(write, records):
    text = published_markdown(read_published(write(PUBLISHED)), records)
    assert text.startswith("Published: M5 on real speech, batch 256.\n\n**Accuracy")
    assert "- `real`: n = 1,000 test samples" in text
    assert "Example CPU" in text
    assert "`pytest bench --json records.json`" in text
    assert "elsewhere" not in text


def test_a_table_that_the_source_has_no_figure_for_is_left_out(write, records):
    text = published_markdown(
        read_published(write("what: x\nworkloads: [real]\nrows: {fp32_baseline: {accuracy: 1}}")), records
    )
    assert text.count("**") == 2


def test_a_workload_without_any_record_is_named_with_the_command_that_measures_it(write, records):
    published = read_published(write(PUBLISHED))
    with pytest.raises(ConfigError) as refused:
        published_markdown(published, [r for r in records if not r.experiment.startswith("embedded/")])
    assert str(refused.value) == (
        "no record of the workload embedded, to set beside published figures; measure it with: "
        "pytest bench --experiment 'embedded/*' --json FILE"
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory"):
        read_published(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: is a folder, not a file"):
        read_published(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("83.0713", "{", r"published\.yaml: line \d+: not valid YAML: "),
        ("workloads:", "workloads: [a]\nworkloads:", r"line 3: not valid YAML: the key 'workloads' is given twice"),
        ("ptq_block1", "ptq_static", r"line 6: not valid YAML: the key 'ptq_static' is given twice"),
        ("what:", "wat:", r"published\.yaml: what: Field required"),
        ("what:", "wat:", r"wat: unknown key 'wat'\. Did you mean 'what'\? Known: rows, what, workloads"),
        (
            "drop_pp: 6",
            "drop: 6",
            r"published\.yaml: rows\.ptq_block1\.drop: unknown key 'drop'\. Did you mean 'drop_pp'",
        ),
        ("drop_pp: 6", "drop: 6", r"Known: accuracy, drop_pp, forward_ms, size_kb, size_ratio, speedup$"),
        ("83.0713", "high", r"rows\.fp32_baseline\.accuracy: Input should be a valid number.* \(given: 'high'\)"),
        ("83.0713", ".nan", r"rows\.fp32_baseline\.accuracy: Input should be a finite number"),
        ("{accuracy: 76.8287, drop_pp: 6.2426}", "76.8", r"rows\.ptq_block1: Input should be a mapping of keys to"),
        ("[real, embedded]", "[]", r"workloads: Tuple should have at least 1 item"),
        ("[real, embedded]", "real", r"workloads: Input should be a valid tuple \(given: 'real'\)"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place_and_what_is_allowed(write, old, new, message):
    assert old in PUBLISHED
    with pytest.raises(ConfigError, match=message):
        read_published(write(PUBLISHED.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"published\.yaml: Input should be a mapping of keys to values \(given: None\)"),
        (b"- a\n", r"published\.yaml: Input should be a mapping"),
        (b"what: \xff\n", r"published\.yaml: not UTF-8 text"),
        (b"what: 2020-13-45\n", r"published\.yaml: not valid YAML: a value cannot be read"),
        (b"[" * 100_000, r"nested too deeply; a file of published figures has"),
        (b"#" * ((1 << 20) + 1), r"larger than 1048576 bytes; a file of published figures is a page of text"),
    ],
)
def test_a_file_of_something_else_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "published.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_published(path)


@pytest.fixture
def beside(write, records, tmp_path, monkeypatch):
    """Runs the script on documents; gives its message, or None."""
    write(PUBLISHED)
    write_records(tmp_path / "records.json", records, [])

    def beside(*documents):
        monkeypatch.setattr("sys.argv", ["published_figures.py", str(tmp_path / "records.json"), *map(str, documents)])
        try:
            published_figures.main()
        except SystemExit as ended:
            return ended.code
        return None

    return beside


SECTION = "before\n<!-- published: begin published.yaml -->\nold\n<!-- published: end -->\nafter\n"


def test_the_script_replaces_the_section_and_nothing_else(beside, tmp_path):
    path = tmp_path / "doc.md"
    path.write_text(SECTION)
    assert beside(path) is None
    text = path.read_text()
    assert text.startswith("before\n<!-- published: begin published.yaml -->\nPublished: M5 on real speech")
    assert text.endswith("<!-- published: end -->\nafter\n")
    assert "| ptq_block1 | +6.24 | +6.20 [+4.87, +7.87] | – |" in text
    assert beside(path) is None
    assert path.read_text() == text, "the same records give the same bytes"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (SECTION.replace("published.yaml", "none.yaml"), "none.yaml: cannot be read: No such file or directory"),
        ("no marker", "second.md: put the lines '<!-- published: begin -->' and '<!-- published: end -->' where"),
        (SECTION.replace("<!-- published: end -->", ""), "has no '<!-- published: end -->' after it"),
    ],
)
def test_after_a_mistake_in_one_document_none_is_written(beside, tmp_path, second, message):
    first = tmp_path / "first.md"
    first.write_text(SECTION)
    (tmp_path / "second.md").write_text(second)
    assert message in beside(first, tmp_path / "second.md")
    assert first.read_text() == SECTION


def test_the_documents_of_this_repository_hold_what_the_script_writes():
    records = read_records([DOCS / "results" / "records.json"])
    for name in ("keyword-spotting.md", "residual-networks.md"):
        assert with_published(DOCS / name, records) == (DOCS / name).read_text(encoding="utf-8")
