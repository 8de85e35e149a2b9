"""`quantbench report`: tables, plots and documents are all written, or none of them after a mistake."""

import json

import pytest

from quantbench.records.run import ExperimentError
from quantbench.report.documents import write_records

LAYERS, LAYERS_END = "<!-- sensitivity: begin -->", "<!-- sensitivity: end -->"
RESULTS, RESULTS_END = "<!-- results: begin -->", "<!-- results: end -->"
SENSITIVITY = ["sensitivity.md", "sensitivity.png", "sensitivity.svg"]
PARETO = ["pareto.md", "pareto.png", "pareto.svg"]
GOOD = f"{LAYERS}\nold\n{LAYERS_END}\n"


@pytest.fixture
def records(tmp_path, monkeypatch, two_layer_workloads):
    """A file of records in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "records.json", two_layer_workloads, [])
    return tmp_path / "records.json"


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_records_of_layers_give_a_bar_chart_and_its_tables_too(quantbench, records, tmp_path):
    status, out, err = quantbench("report", records, "--out", "report")
    assert (status, err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == PARETO + SENSITIVITY
    assert sorted(out.splitlines()) == [f"report/{name}" for name in PARETO + SENSITIVITY]
    text = (tmp_path / "report" / "sensitivity.md").read_text()
    assert "| block1 | +6.20 [+4.87, +7.87] |" in text
    assert "Example CPU" in text
    assert (tmp_path / "report" / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("unrendered")
def test_a_report_of_records_with_errors_says_what_is_missing(quantbench, records, tmp_path, two_workloads):
    broken = ExperimentError(experiment="cifar_cnn_shapes/broken", reason="no")
    write_records(records, two_workloads, [], [broken])
    (tmp_path / "README.md").write_text("<!-- results: begin cifar_cnn_shapes/broken -->\n<!-- results: end -->\n")
    status, _, err = quantbench("report", records, "--out", "report", "--into", "README.md")
    assert (status, err) == (0, "quantbench: missing in this report: cifar_cnn_shapes/broken: error: no\n")
    for page in (tmp_path / "report" / "pareto.md", tmp_path / "README.md"):
        assert "| cifar_cnn_shapes/broken | – |" in page.read_text()


@pytest.mark.usefixtures("unrendered")
def test_records_without_layers_give_no_bar_chart(quantbench, records, tmp_path, two_workloads):
    write_records(records, two_workloads, [])
    assert quantbench("report", records, "--out", "report")[0] == 0
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == PARETO


def test_several_documents_get_their_sections_in_one_go(quantbench, records, tmp_path):
    (tmp_path / "README.md").write_text(GOOD)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text(f"# All\n{RESULTS}\n{RESULTS_END}\n")
    status, out, _ = quantbench("report", records, "--into", "README.md", "--into", "docs/results.md")
    assert status == 0
    assert {"README.md", "docs/results.md", "out/sensitivity.md"} <= set(out.splitlines())
    assert "old" not in (tmp_path / "README.md").read_text()
    assert "| block1 |" in (tmp_path / "README.md").read_text()
    assert "| m5_spoken_words/ptq_block1 |" in (tmp_path / "docs" / "results.md").read_text()
    before = files(tmp_path)
    assert quantbench("report", records, "--into", "README.md", "--into", "docs/results.md")[0] == 0
    assert files(tmp_path) == before, "the same records give the same bytes"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("no marker", "second.md: put the lines '<!-- results: begin -->' and"),
        (LAYERS, f"second.md: the marker '{LAYERS}' has no '{LAYERS_END}' after it"),
        (f"{LAYERS}\n{GOOD}{LAYERS_END}", f"second.md: the marker '{LAYERS}' stands inside the section of"),
        ("<!-- results: begin x/* -->\n<!-- results: end -->", "second.md: <!-- results: begin x/* -->: no record"),
        (None, "second.md: cannot be read (No such file or directory); name a Markdown file"),
    ],
)
def test_a_mistake_in_the_second_document_is_one_line_and_nothing_is_written(
    quantbench, records, tmp_path, second, message
):
    (tmp_path / "README.md").write_text(GOOD)
    if second is not None:
        (tmp_path / "second.md").write_text(second)
    before = files(tmp_path)
    status, out, err = quantbench("report", records, "--into", "README.md", "--into", "second.md")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("quantbench: ")
    assert message in err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("latency", "speedup", 0.0, "m5_spoken_words/ptq_static: its record has a speed-up of 0.0 ["),
        ("accuracy", "drop_pp", 101.0, "m5_spoken_words/ptq_static: its record has an accuracy drop of 101.0 pp ["),
        ("size", "ratio", 4.0, "m5_spoken_words/ptq_static: its record has sizes of "),
    ],
)
def test_a_record_with_a_figure_out_of_this_world_is_one_line_and_nothing_is_written(
    quantbench, records, tmp_path, part, key, value, message
):
    content = json.loads(records.read_text())
    content["records"][0][part][key] = value
    records.write_text(json.dumps(content))
    before = files(tmp_path)
    status, out, err = quantbench("report", records)
    assert (status, out) == (2, "")
    assert err.startswith(f"quantbench: {records}: {message}")
    assert err.endswith("; measure it again\n")
    assert len(err.splitlines()) == 1
    assert files(tmp_path) == before


def test_records_of_different_test_samples_are_refused_before_anything_is_drawn(quantbench, records, tmp_path):
    content = json.loads(records.read_text())
    content["records"][1]["test_sha256"] = "f" * 64
    records.write_text(json.dumps(content))
    status, _, err = quantbench("report", records)
    assert status == 2
    assert "m5_spoken_words/ptq_static and m5_spoken_words/ptq_block1 were measured on different test samples" in err
    assert not (tmp_path / "out").exists()
