"""A run of layer experiments ends with their tables and a bar chart; any other run with neither."""

import pytest
from tiny_layers import add_layer_experiments, check_tables

CHARTS = ["sensitivity.png", "sensitivity.svg"]
TITLE = "tiny, layer by layer (n = 150)"


@pytest.fixture
def layers(bench, project):
    """`bench` in a project whose model has layers, on the claims about accuracy."""
    add_layer_experiments(project)
    return bench


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_of_layers_ends_with_their_table_and_a_chart_where_it_is_told(layers, project):
    result = layers("-q", "-k", "accuracy or block_costs", "--plots", "charts/mine")
    check_tables(result.outlines, TITLE)
    assert "bar chart: charts/mine/sensitivity.png, charts/mine/sensitivity.svg" in result.outlines
    assert names(project.root / "charts" / "mine") == CHARTS
    assert (project.root / "charts" / "mine" / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (project.root / "charts" / "mine" / "sensitivity.svg").read_bytes()
    assert not (project.root / "out").exists()


@pytest.mark.usefixtures("unrendered")
def test_the_chart_lies_in_out_in_the_root_folder_wherever_the_run_is_started(layers, project, pytester, monkeypatch):
    monkeypatch.chdir(project.root / "data")
    result = pytester.runpytest_inprocess("../bench", "-q", "-k", "block_costs")
    assert result.ret == pytest.ExitCode.OK
    assert names(project.root / "out") == CHARTS
    result.stdout.fnmatch_lines([f"bar chart: {project.root}/out/sensitivity.png, *"])


def test_a_run_without_layer_experiments_draws_nothing(bench, project):
    result = bench("-q", "--experiment", "tiny/ptq_dynamic_int8", "-k", "accuracy")
    result.stdout.no_fnmatch_line("*layer by layer*")
    result.stdout.no_fnmatch_line("*bar chart*")
    assert not (project.root / "out").exists()


def test_a_file_in_the_place_of_the_folder_of_charts_ends_the_run_before_it_begins(layers, project):
    result = layers("-q", "-k", "block_costs", "--plots", "configs/tiny.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --plots configs/tiny.yaml: is no folder; name one, which is made where there is none"]
    )


@pytest.mark.usefixtures("unrendered")
def test_a_chart_that_cannot_be_written_costs_neither_the_tables_nor_the_verdicts(layers, project):
    (project.root / "out").write_text("mine")
    result = layers("-q", "-k", "block_costs")
    assert result.ret == pytest.ExitCode.OK
    assert TITLE in result.outlines
    result.stdout.fnmatch_lines(["no bar chart: *out: File exists; name another folder with --plots"])
    assert (project.root / "out").read_text() == "mine"
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.usefixtures("unrendered")
def test_a_layer_that_costs_more_than_its_bound_fails_and_is_ranked_all_the_same(layers, project):
    project.edit("[classifier], calibration_n: 32}\n    gates: {layer_drop_pp: 20.0}",
                 "[classifier], calibration_n: 32}\n    gates: {layer_drop_pp: -50.0}")  # fmt: skip
    result = layers("-q", "-k", "block_costs")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*tiny/ptq_classifier: layer_drop_pp: FAIL", "*required:*-50*"])
    assert TITLE in result.outlines
