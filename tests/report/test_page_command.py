"""`quantbench report --html`: one file, in a place where nothing else is, of whatever could be read."""

import json

import pytest
from page_records import blame
from page_structure import parsed

from quantbench.records.blame import BlameFile
from quantbench.records.run import ExperimentError, NotRun, RecordFile, ShardFacts
from quantbench.report.documents import write_records


@pytest.fixture
def records(tmp_path, monkeypatch, two_workloads):
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "records.json", two_workloads, [])
    return tmp_path / "records.json"


def test_a_page_alone_is_written(quantbench, records, tmp_path):
    assert quantbench("report", records, "--html", "page.html") == (0, "page.html\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "records.json"]
    assert "All 12 gates of 12 experiments hold." in parsed((tmp_path / "page.html").read_text()).text


def test_a_shard_is_not_taken_for_the_whole(quantbench, records, tmp_path, two_workloads):
    ids = [record.experiment for record in two_workloads]
    planned = [id_ for i, own in enumerate(ids) for id_ in (own, f"other/{i}")]
    write_records(records, two_workloads, [], shard=ShardFacts(index=1, count=2, planned=planned))
    assert quantbench("report", records, "--html", "page.html")[0] == 0
    text = parsed((tmp_path / "page.html").read_text()).text
    assert "All 12 gates of 12 experiments hold; 12 experiments were not run." in text
    told = f"12 experiments not run: in another shard: {records} is 1 of 2; put all of them together with: quantbench"
    assert told in text
    status, out, _ = quantbench("comment", records)
    assert (status, "All 12 gates of 12 experiments hold; 12 experiments were not run" in out) == (0, True)
    assert "other: 12 experiments not run: in another shard: " in out
    assert quantbench("report", records, "--junit", "junit.xml")[0] == 0
    assert (tmp_path / "junit.xml").read_text().count('<skipped message="in another shard: ') == 12


@pytest.mark.usefixtures("unrendered")
def test_tables_and_plots_come_beside_it_where_their_folder_is_named(quantbench, records, tmp_path):
    assert quantbench("report", records, "--html", "page.html", "--out", "out")[0] == 0
    assert (tmp_path / "out" / "pareto.md").exists()
    assert (tmp_path / "page.html").exists()


def test_a_page_is_replaced_by_the_next_one(quantbench, records, tmp_path):
    assert quantbench("report", records, "--html", "page.html")[0] == 0
    (tmp_path / "page.html").write_text((tmp_path / "page.html").read_text() + "old")
    assert quantbench("report", records, "--html", "page.html")[0] == 0
    assert not (tmp_path / "page.html").read_text().endswith("old")


def test_a_file_that_is_no_page_stays(quantbench, records, tmp_path):
    (tmp_path / "index.html").write_text("<p>mine</p>")
    status, out, err = quantbench("report", records, "--html", "index.html")
    assert (status, out) == (2, "")
    assert err == (
        "quantbench: --html index.html: exists, and is no report of quantbench; name another file, or remove it\n"
    )
    assert (tmp_path / "index.html").read_text() == "<p>mine</p>"


def test_a_folder_is_no_place_for_a_page(quantbench, records, tmp_path):
    assert quantbench("report", records, "--html", tmp_path) == (
        2, "", f"quantbench: --html {tmp_path}: is a folder; name a file in it\n",
    )  # fmt: skip


def test_records_of_another_version_are_refused_in_one_line(quantbench, records):
    records.write_text(json.dumps({"schema_version": 99, "records": []}))
    status, _, err = quantbench("report", records, "--html", "page.html")
    assert status == 2
    assert err.startswith(f"quantbench: {records}: schema_version 99 is not 4; measure again: ")
    assert err.count("\n") == 1


def test_a_run_in_which_nothing_could_be_measured_has_a_page_too(quantbench, records, tmp_path):
    file = RecordFile(
        records=[],
        errors=[ExperimentError(experiment="w/a", reason="no such layer")],
        not_run=[NotRun(experiment="w/b", reason="no data")],
    )
    records.write_text(file.model_dump_json())
    assert quantbench("report", records, "--html", "page.html")[0] == 0
    tree = parsed((tmp_path / "page.html").read_text())
    assert "1 experiment could not be measured whole." in tree.by_id("verdict").text
    assert "w/b: not run: no data" in tree.by_id("verdict").text


def test_samples_that_are_not_on_this_machine_are_told_by_number(quantbench, records, tmp_path):
    quantbench("report", records, "--html", "page.html")
    tree = parsed((tmp_path / "page.html").read_text())
    assert (
        "cifar_cnn_shapes: its flipped samples are told by number only: configs: " in tree.by_id("circumstances").text
    )
    assert "#909 lost" in tree.by_id("details").text


def test_samples_are_left_out_on_request(quantbench, records, tmp_path):
    quantbench("report", records, "--html", "page.html", "--no-samples")
    assert "as --no-samples asks" in parsed((tmp_path / "page.html").read_text()).text


def test_a_blame_is_shown_with_its_experiment(quantbench, records, tmp_path):
    file = BlameFile(blames=[blame("cifar_cnn_shapes/qat_int8")])
    (tmp_path / "blame.json").write_text(file.model_dump_json())
    assert quantbench("report", records, "--html", "page.html", "--blame", "blame.json")[0] == 0
    shown = parsed((tmp_path / "page.html").read_text()).by_id("experiment-cifar_cnn_shapes/qat_int8")
    assert "conv is to blame." in shown.text
    status, _, err = quantbench("report", records, "--html", "page.html", "--blame", "records.json")
    assert (status, err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("command", "option"),
    [(("report", "records.json", "--junit"), "--junit"), (("comment", "records.json", "--out"), "--out")],
)
def test_records_are_not_written_over_and_a_folder_is_no_file(quantbench, records, tmp_path, command, option):
    before = records.read_bytes()
    assert quantbench(*command, "records.json") == (
        2, "", f"quantbench: {option} records.json: is read here, and would be written over; name another file\n",
    )  # fmt: skip
    assert records.read_bytes() == before
    assert quantbench(*command, ".") == (2, "", f"quantbench: {option} .: is a folder; name a file in it\n")


def test_names_of_a_file_reach_the_terminal_as_one_line(quantbench, records, two_workloads):
    errors = [ExperimentError(experiment="w\n\x1b[31m/e", reason="a\x07")]
    left = [NotRun(experiment="w/b", reason="b\x07")]
    write_records(records, two_workloads, left, errors)
    status, _, err = quantbench("report", records, "--html", "page.html")
    assert (status, err) == (0, "quantbench: missing in this report: w\\n\\x1b[31m/e: error: a\\x07\n")
    assert "w/b: not run: b\\x07" in quantbench("comment", records)[1]
