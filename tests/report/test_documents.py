"""Records files in, Markdown out; what is no records file is named, and no document is harmed."""

import json

import pytest

from quantbench.errors import ConfigError
from quantbench.records import NotRun
from quantbench.report.documents import (
    BEGIN,
    END,
    check_place,
    pareto_document,
    read_records,
    with_tables,
    write_records,
)


@pytest.fixture
def file(tmp_path, two_workloads):
    path = tmp_path / "records.json"
    write_records(path, two_workloads, [NotRun(experiment="far/away", reason="no data")])
    return path


def test_records_that_were_written_are_read_again(file, two_workloads):
    assert read_records([file]) == two_workloads


def test_a_later_file_replaces_the_records_of_the_same_experiments(file, tmp_path, make_record):
    newer = make_record("cifar_cnn_shapes/qat_int8", correct=999)
    write_records(tmp_path / "newer.json", [newer], [])
    found = read_records([file, tmp_path / "newer.json"])
    assert len(found) == 12
    assert [record for record in found if record.experiment == newer.experiment] == [newer]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "records.json: not valid JSON .*; write it with: pytest bench --json FILE"),
        ('{"schema_version": 1, "records": [', "records.json: not valid JSON .*"),
        ("[]", "records.json: .*mapping.*"),
        ('{"benchmarks": [], "datetime": "now"}', "records.json: schema_version: Field required"),
        ('{"schema_version": 2, "records": [], "new": 1}', "schema_version 2 is not 1; measure again: pytest bench"),
        ('{"schema_version": 1, "records": [{}]}', r"records.json: records\.0\.experiment: Field required"),
        ('{"schema_version": 1, "records": []}', "records.json: no record; write some with: pytest bench --json FILE"),
    ],
)
def test_a_damaged_foreign_or_empty_file_is_named_with_what_to_do(tmp_path, content, message):
    path = tmp_path / "records.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_records([path])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.json: cannot be read \(No such file or directory\); write it with"):
        read_records([tmp_path / "none.json"])


def test_a_file_cut_short_inside_a_record_is_refused_whole(file):
    content = json.loads(file.read_text())
    del content["records"][3]["environment"]["cores"]
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"records\.3\.environment\.cores: Field required"):
        read_records([file])


def test_the_document_holds_both_fronts_all_results_and_where_they_come_from(two_workloads):
    text = pareto_document(two_workloads)
    assert text.count("| ● |") == 8
    assert "**cifar_cnn_shapes** (n = 1,000)" in text
    assert "| cifar_cnn_cifar10/qat_int8 | 93.30 | -2.30 [-3.20, -1.40] | 3.67 | 2.31 [2.19, 2.40] |" in text
    assert "Example CPU (avx2, avx512_vnni), 8 cores, engine x86, torch 2.14.1, Python 3.12.1" in text
    assert "`pytest bench --json records.json`" in text


def test_only_what_stands_between_the_markers_is_replaced(tmp_path, make_record):
    path = tmp_path / "README.md"
    path.write_text(f"before\n\n{BEGIN}\nold table\n{END}\n\nafter\n")
    path.write_text(with_tables(path, [make_record("w/new")]))
    text = path.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n| experiment |")
    assert text.endswith(f"\n{END}\n\nafter\n")
    assert "w/new" in text
    assert "old table" not in text
    assert with_tables(path, [make_record("w/new")]) == text


@pytest.mark.parametrize("text", ["no markers\n", f"{BEGIN}\nno end\n", f"{END}\nbefore its begin\n{BEGIN}\n"])
def test_a_document_without_both_markers_is_refused_with_what_to_put_there(tmp_path, make_record, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"README\.md: put the lines '{BEGIN}' and '{END}' where the results belong"):
        with_tables(path, [make_record("w/a")])


def test_a_document_that_cannot_be_read_is_named(tmp_path, make_record):
    path = tmp_path / "README.md"
    with pytest.raises(ConfigError, match=r"README\.md: cannot be read"):
        with_tables(path, [make_record("w/a")])
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"README\.md: cannot be read"):
        with_tables(path, [make_record("w/a")])


def test_a_place_for_records_is_made_or_refused_before_anything_is_measured(tmp_path):
    check_place(tmp_path / "new" / "records.json")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(ConfigError, match=r"new: is a folder; name a file in it"):
        check_place(tmp_path / "new")
    (tmp_path / "taken").write_text("")
    with pytest.raises(
        ConfigError, match=r"--json .*taken/a\.json: its folder cannot be made \(.*\); name another file"
    ):
        check_place(tmp_path / "taken" / "a.json")
