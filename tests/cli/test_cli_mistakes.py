"""Mistakes on the command line end with exit status 2 and a line that names them; reports are whole or not there."""

import shutil

import pytest
from accepting import accept, accept_checkpoint

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.records.run import RecordFile

STATIC = "tiny/ptq_static_int8_per_channel"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


@pytest.fixture
def records(project):
    """A file of one real record."""
    run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])
    assert run.accuracy.n
    assert run.size.ratio
    path = project.root / "records.json"
    path.write_text(RecordFile(records=[run.record("quantbench run")]).model_dump_json())
    return path


def refused(outcome):
    """The one line of a refusal."""
    status, out, err = outcome
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("run", "tiny/ptq_dynamic_int9"),
            "unknown experiment 'tiny/ptq_dynamic_int9'. Did you mean 'tiny/ptq_dynamic_",
        ),
        (("run", "huge/*"), "unknown experiment 'huge/*'. Known: tiny/fp32_baseline, "),
        (("train", "tinny"), "configs: unknown workload 'tinny'. Did you mean 'tiny'?"),
        (("train", "configs/other.yaml"), "configs/other.yaml: cannot be read: "),
        (("list", "experiments", "--configs", "none"), "none: no workload file (*.yaml) here; name the folder with"),
        (("run", STATIC, "--json", "configs"), "--json configs: is a folder; name a file in it"),
        (("run", STATIC, "--json", "configs/tiny.yaml/a.json"), "its folder cannot be made"),
        (("report", "none.json"), "none.json: cannot be read (No such file or directory); write it with: pytest bench"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(quantbench, project, args, message):
    line = refused(quantbench(*args))
    assert line.startswith("quantbench: ")
    assert message in line


def test_a_mistake_in_a_workload_file_names_file_and_key(quantbench, project):
    project.edit("calibration_n: 32", "calibration_n: -1")
    line = refused(quantbench("run", STATIC))
    assert "configs/tiny.yaml: experiments.ptq_static_int8_per_channel.recipe" in line
    assert "calibration_n" in line
    assert "(given: -1)" in line


def test_absent_data_of_every_experiment_is_told_and_is_no_success(quantbench, project):
    shutil.rmtree(project.images)
    project.edit("root: images", 'root: images, obtain: "git clone images"')
    project.edit("baseline: tiny", "baseline: tiny\n  optional: true")
    status, out, err = quantbench("run", STATIC, "--json", "out.json")
    assert status == 2
    assert out == f"{STATIC}: not run: {project.images}/train: no such folder. To get it: git clone images\n"
    assert err == "quantbench: nothing was measured: the data, or a library, is not on this machine\n"
    assert len(RecordFile.model_validate_json((project.root / "out.json").read_text()).not_run) == 1


def test_an_undecided_gate_fails_a_run_only_under_strict_verdicts(quantbench, project):
    experiment = select(load_experiments(project.configs), "tiny/ptq_dynamic_int8")[0]
    low, high = Runs(Settings(project.golden)).run(experiment).accuracy.drop_interval_pp
    project.edit(
        "recipe: {name: dynamic_int8}\n    gates: {accuracy_drop_pp: 10.0}",
        f"recipe: {{name: dynamic_int8}}\n    gates: {{accuracy_drop_pp: {(low + high) / 2:.3f}}}",
    )
    run = Runs(Settings(project.golden)).run(experiment)
    accept_checkpoint(run)
    accept(run, "as it was trained", predictions=True, speed=False)
    status, out, err = quantbench("run", experiment.id)
    assert status == 0
    assert "accuracy_drop_pp: INCONCLUSIVE" in err
    assert out.splitlines()[1].endswith("INCONCLUSIVE, no baseline")
    assert quantbench("run", experiment.id, "--strict-verdicts")[0] == 1


def test_report_writes_table_picture_and_vector_graphic(quantbench, project, records):
    status, out, _ = quantbench("report", records, "--out", "report")
    assert status == 0
    assert set(out.split()) == {f"report/pareto.{kind}" for kind in ("md", "png", "svg")}
    assert sorted(path.name for path in (project.root / "report").iterdir()) == [
        "pareto.md",
        "pareto.png",
        "pareto.svg",
    ]
    assert "| ● | ptq_static_int8_per_channel |" in (project.root / "report" / "pareto.md").read_text()


def test_report_into_a_document_replaces_its_tables(quantbench, project, records):
    readme = project.root / "README.md"
    readme.write_text(f"# Mine\n{BEGIN}\n{END}\nend\n")
    assert quantbench("report", records, "--into", readme)[0] == 0
    assert readme.read_text().startswith(f"# Mine\n{BEGIN}\n| experiment |")
    assert readme.read_text().endswith(f"{END}\nend\n")


def test_report_into_a_document_without_markers_is_refused_before_anything_is_written(quantbench, project, records):
    readme = project.root / "README.md"
    readme.write_text("# Mine\n")
    line = refused(quantbench("report", records, "--out", "report", "--into", readme))
    assert line.endswith(f"README.md: put the lines '{BEGIN}' and '{END}' where the results belong")
    assert readme.read_text() == "# Mine\n"
    assert not (project.root / "report").exists()


def test_report_to_a_place_that_cannot_be_written_is_one_line(quantbench, project, records):
    assert "records.json" in refused(quantbench("report", records, "--out", records))


def test_report_refuses_a_file_cut_short_with_the_command_that_writes_it(quantbench, project, records):
    records.write_text(records.read_text()[:-200])
    line = refused(quantbench("report", records))
    assert "records.json: not valid JSON" in line
    assert line.endswith("write it with: pytest bench --json FILE")
    assert not (project.root / "out").exists()
