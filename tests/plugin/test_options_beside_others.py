"""Options of the suite beside those of others: a conftest.py or plugin may have any of their short names."""

import re

import pytest

from quantbench.plugin.options import OPTIONS, long_name

ADDOPTS = "--import-mode=importlib -p no:cacheprovider -p no:hypothesispytest -p no:randomly -p no:pytest_cov"
VALUES = {name: "" if "action" in each and each["action"] == "store_true" else "x" for name, each in OPTIONS.items()}
CONFTEST = """\
def pytest_addoption(parser):
    parser.addoption({name!r}, {attributes}, help="of the project")


def pytest_report_header(config):
    return "theirs: " + str(config.getoption({name!r}))
"""


def conftest_with(name):
    attributes = "default='mine'" if VALUES[name] else "action='store_true'"
    return CONFTEST.format(name=name, attributes=attributes)


@pytest.fixture
def beside(bench, project):
    """Runs the claims of a project whose own conftest.py has an option."""

    def run(name, *args):
        (project.root / "conftest.py").write_text(conftest_with(name))
        return bench(*args)

    return run


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_a_conftest_stays_the_projects_and_ours_has_its_long_name(beside, name):
    given = [name, *filter(None, [VALUES[name]])]
    result = beside(name, "--collect-only", *given)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"theirs: {VALUES[name] or True}"])
    assert sum("[tiny/" in line for line in result.outlines) == 49, "ours has not been given"


def test_the_long_name_works_where_the_short_one_is_taken(beside, project):
    result = beside("--experiment", "--collect-only", "-q", "--experiment", "x", "--quantbench-experiment", "tiny/qat*")
    assert result.ret == 0
    selected = [line for line in result.outlines if "[tiny/" in line]
    assert selected
    assert all("[tiny/qat_int8" in line for line in selected)


def test_messages_name_an_option_as_it_can_be_given(beside):
    result = beside("--experiment", "--quantbench-experiment", "nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --quantbench-experiment: unknown experiment 'nowhere'" in result.stderr.str()
    result = beside("--reason", "--update-golden", "--experiment", "*")
    assert '--update-golden: say why, for the history of the golden: --quantbench-reason "…"' in result.stderr.str()


def test_a_taken_name_is_told_where_the_run_is_about_experiments(beside):
    result = beside("--json", "-k", "nothing_at_all", "--json", "r.json")
    result.stdout.fnmatch_lines(["*--json is an option of something else here; the suite's is --quantbench-json*"])


def test_both_names_and_a_value_after_an_equals_sign_are_read(bench):
    for given in (
        ["--experiment=tiny/qat_int8"],
        ["--quantbench-experiment=tiny/qat_int8"],
        ["--experiment", "tiny/qat_int8"],
    ):
        selected = [line for line in bench("--collect-only", "-q", *given).outlines if "[tiny/" in line]
        assert selected
        assert all("[tiny/qat_int8" in line for line in selected)


def test_short_names_are_read_in_settings_too(bench, project, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--experiment tiny/qat_int8")
    result = bench("-q")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "addopts: --experiment tiny/qat_int8" in result.stderr.str()
    monkeypatch.setenv("PYTEST_ADDOPTS", "--quantbench-experiment tiny/qat_int8")
    assert "addopts: --quantbench-experiment tiny/qat_int8" in bench("-q").stderr.str()


def test_the_value_of_a_short_name_is_no_place_to_look_for_tests_in(bench, project):
    (project.root / "other").mkdir()
    (project.root / "other" / "conftest.py").write_text("raise RuntimeError('loaded')\n")
    assert bench("--collect-only", "-q", "--plots", "other").ret == 0


def test_the_help_says_that_there_are_short_names(bench):
    out = bench("--help").stdout.str()
    assert "--quantbench-json is --json too, where that is free" in re.sub(r"\s+", " ", out)
    assert all(long_name(name) in out for name in OPTIONS)


@pytest.mark.parametrize("name", ["--json", "--plots"])
def test_the_project_is_the_current_folder_although_a_path_of_an_option_lies_elsewhere(
    bench, project, tmp_path_factory, name
):
    # Without a settings file pytest's root folder is what all paths have in common, once they are there.
    (project.root / "pytest.ini").unlink()
    there = tmp_path_factory.mktemp("elsewhere")
    (there / "records.json").touch()
    place = there / "records.json" if name == "--json" else there
    result = bench("--collect-only", "-q", *ADDOPTS.split(), name, str(place))
    assert result.ret == 0
    assert sum("[tiny/" in line for line in result.outlines) == 49
