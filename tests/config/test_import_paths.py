"""Import paths in workload files: located when a file is read, imported and called only when an experiment is run."""

import sys

import pytest

from quantbench.config.import_paths import ALLOW_VARIABLE, allow_imports, check_import_path, is_import_path, project_of
from quantbench.config.reading import load_workload
from quantbench.errors import ConfigError

# Whatever is imported or called leaves a file.
TRACES = """\
from pathlib import Path

Path("imported").touch()

def make(**params):
    Path("called").touch()
    raise AssertionError("called")
"""
PARTS = {
    "model": 'model: {name: "own_code:make"}',
    "data": 'data: {name: "own_code:make", anything: 1}',
    "task": 'task: {name: "own_code:make"}',
    "recipe": 'recipe: {name: "own_code:make", bits: 3}',
    "backend": 'backend: {name: "own_code:make"}',
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The project's folder, which is the current one, with a module that leaves traces; nothing else is allowed."""
    monkeypatch.delenv(ALLOW_VARIABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_code.py").write_text(TRACES)
    (tmp_path / "configs").mkdir()
    yield tmp_path
    sys.modules.pop("own_code", None)


def workload(here, **changed):
    parts = {
        "model": "model: {name: cifar_cnn}",
        "data": "data: {name: shapes}",
        "task": "task: {name: top1}",
        "recipe": "recipe: {name: static_int8}",
        "backend": "backend: {name: eager}",
    } | changed
    file = here / "configs" / "own.yaml"
    head = ", ".join([*(parts[name] for name in ("model", "data", "task")), "baseline: own"])
    file.write_text(f"workload: {{{head}}}\nexperiments: {{ptq: {{{parts['recipe']}, {parts['backend']}}}}}\n")
    return file


FUNCTIONS_OF_DATA = ('function, function: "{}"', 'jsonl, path: a.jsonl, tokenizer: "{}"')


@pytest.mark.parametrize("data", FUNCTIONS_OF_DATA)
def test_reading_a_file_calls_no_function_of_its_data_and_refuses_one_of_others(here, data):
    (experiment,) = load_workload(workload(here, data=f"data: {{name: {data.format('own_code:make')}}}"))
    assert experiment.id == "own/ptq"
    assert not (here / "imported").exists()
    with pytest.raises(
        ConfigError, match=r"workload\.data\.(function|tokenizer): 'os:listdir' is in .*outside of the project"
    ):
        load_workload(workload(here, data=f"data: {{name: {data.format('os:listdir')}}}"))


@pytest.mark.parametrize("part", PARTS)
def test_reading_a_file_runs_nothing_that_it_names(here, part):
    (experiment,) = load_workload(workload(here, **{part: PARTS[part]}))
    assert experiment.id == "own/ptq"
    assert not (here / "imported").exists()
    assert not (here / "called").exists()


@pytest.mark.parametrize("part", ["data", "task", "recipe"])
def test_what_reading_leaves_unchecked_is_checked_before_its_experiment_runs(here, part, quantbench):
    workload(here, **{part: PARTS[part]})
    status, out, err = quantbench("list", "experiments")
    assert (status, out) == (0, "own/ptq\n")
    status, _, err = quantbench("run", "own/*")
    assert status == 2
    assert "AssertionError: called" in err
    assert (here / "called").exists()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("os:system", ", outside of the project; "),
        ("sys:exit", "'sys:exit' is in the interpreter itself, outside of the project; "),
        ("builtins:dict", "'builtins:dict' is in the interpreter itself, "),
        ("yaml:unsafe_load", "/yaml/__init__.py, outside of the project; "),
        ("os.path:exists", ", outside of the project; "),
        ("importlib.util:find_spec", "/importlib/util.py, outside of the project; "),
        ("yaml.nowhere:x", "/yaml/__init__.py, outside of the project; "),
    ],
)
def test_modules_of_the_interpreter_and_of_distributions_are_refused_by_name(here, part, name, found):
    with pytest.raises(ConfigError) as error:
        load_workload(workload(here, **{part: f'{part}: {{name: "{name}"}}'}))
    assert found in str(error.value)
    top = name.partition(":")[0].partition(".")[0]
    assert str(error.value).endswith(
        "a workload file may name modules of the project's folder and entry points of installed distributions; allow "
        f"it with --allow-import {top}, or QUANTBENCH_ALLOW_IMPORT={top}"
    )


@pytest.mark.parametrize(
    "name",
    [
        ".x:y",
        ":x",
        "x:",
        "a..b:c",
        "a b:c",
        "a:b:c",
        "1a:b",
        "a:b()",
        "../a:b",
        "/etc/passwd:x",
        "a:b;c",
        "a" * 999 + ":b",
    ],
)
def test_what_is_no_import_path_is_refused(here, name):
    with pytest.raises(ConfigError, match=r"model\.name: '.*' is no import path; write 'your\.module:factory'$"):
        load_workload(workload(here, model=f"model: {{name: '{name}'}}"))


def test_an_import_path_is_shown_as_any_terminal_shows_it(here):
    with pytest.raises(ConfigError, match=r"'a\\x1b:b' is no import path"):
        load_workload(workload(here, model='model: {name: "a\\e:b"}'))


@pytest.mark.parametrize("way", ["module", "parent", "folder", "variable"])
def test_a_module_outside_of_the_project_can_be_allowed(here, way, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far").mkdir()
    (elsewhere / "far" / "__init__.py").write_text(TRACES)
    (elsewhere / "far" / "nets.py").write_text(TRACES)
    monkeypatch.syspath_prepend(elsewhere)
    file = workload(here, model='model: {name: "far.nets:make"}')
    with pytest.raises(ConfigError, match="outside of the project"):
        load_workload(file)
    monkeypatch.setenv(ALLOW_VARIABLE, "something.else")
    if way == "variable":
        monkeypatch.setenv(ALLOW_VARIABLE, "a, far ,b")
    else:
        allow_imports([{"module": "far.nets", "parent": "far", "folder": str(elsewhere)}[way]])
    assert [experiment.id for experiment in load_workload(file)] == ["own/ptq"]
    assert not (here / "imported").exists()


def test_a_module_is_not_allowed_by_the_beginning_of_its_name(here, monkeypatch):
    monkeypatch.setenv(ALLOW_VARIABLE, "o")
    with pytest.raises(ConfigError, match="outside of the project"):
        load_workload(workload(here, model='model: {name: "os:system"}'))


def test_a_virtual_environment_in_the_project_is_not_the_project(here, monkeypatch):
    site = here / ".venv" / "lib" / "python3" / "site-packages"
    site.mkdir(parents=True)
    (site / "installed.py").write_text(TRACES)
    monkeypatch.syspath_prepend(site)
    with pytest.raises(ConfigError, match="outside of the project"):
        load_workload(workload(here, model='model: {name: "installed:make"}'))


def test_a_link_out_of_the_project_leads_out_of_it(here, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "linked.py").write_text(TRACES)
    (here / "linked.py").symlink_to(elsewhere / "linked.py")
    with pytest.raises(ConfigError, match="outside of the project"):
        load_workload(workload(here, model='model: {name: "linked:make"}'))


def test_a_module_that_is_found_nowhere_is_told_by_its_experiment_alone(here, quantbench):
    workload(here, data='data: {name: "nowhere.at_all:make"}')
    assert quantbench("list", "experiments")[:2] == (0, "own/ptq\n")
    status, _, err = quantbench("run", "own/*")
    assert status == 2
    assert "cannot import 'nowhere.at_all:make': No module named 'nowhere'" in err


def test_packages_without_an_init_file_are_the_projects_too(here):
    (here / "nets" / "deep").mkdir(parents=True)
    (here / "nets" / "deep" / "own.py").write_text(TRACES)
    assert load_workload(workload(here, model='model: {name: "nets.deep.own:make"}'))


def test_the_option_of_the_command_line_allows_for_its_run(here, quantbench, monkeypatch):
    workload(here, model='model: {name: "os:system"}')
    monkeypatch.setenv(ALLOW_VARIABLE, "")
    assert quantbench("list", "experiments")[0] == 2
    for command in (("list", "experiments", "--allow-import", "os"), ("--allow-import", "os", "list", "experiments")):
        assert quantbench(*command)[:2] == (0, "own/ptq\n")
        monkeypatch.setenv(ALLOW_VARIABLE, "")


def test_the_projects_folders_are_the_current_one_and_the_files_own(here, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "configs" / "a.yaml"
    assert project_of(other) == [here, other.parent, other.parent.parent]
    alone = tmp_path_factory.mktemp("alone") / "a.yaml"
    assert project_of(alone) == [here, alone.parent]


def test_a_name_of_a_table_is_no_import_path(here):
    assert not is_import_path("cifar_cnn")
    assert is_import_path("my_nets:small")
    check_import_path("own_code:make", "here", [here])


def test_own_data_that_is_optional_and_tells_nobody_how_to_get_it_is_refused_when_it_runs(here, quantbench):
    (here / "own_data.py").write_text(
        "from quantbench.data.image_folder import image_folder\n\n"
        "def mine():\n    return image_folder(root='nowhere')\n"
    )
    file = workload(here, data='data: {name: "own_data:mine"}')
    file.write_text(file.read_text().replace("baseline: own", "baseline: own, optional: true"))
    assert quantbench("list", "experiments")[:2] == (0, "own/ptq\n")
    status, _, err = quantbench("run", "own/*")
    sys.modules.pop("own_data", None)
    assert status == 2
    assert "workload.optional: whoever lacks the data must be told how to get it" in err
