"""A backend and a task are named alone or with parameters; old words of recipes are read, with a hint."""

import warnings
from pathlib import Path

import pytest
import torch

from quantbench.cli.app import _show_warning
from quantbench.config.component import Component
from quantbench.config.reading import load_experiments, load_workload
from quantbench.config.selection import find_workload, with_recipe
from quantbench.errors import ConfigError, OldWordWarning
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs

RENAMED = ("static_int8_blocks", "static_int8_layers")
FILE = """\
workload:
  model: {{name: vgg16}}
  data: {{name: shapes}}
  baseline: w
{workload}experiments:
  e:
    recipe: {recipe}
{experiment}"""
QNNPACK = pytest.mark.skipif(
    "qnnpack" not in torch.backends.quantized.supported_engines, reason="torch has no qnnpack here"
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(recipe="{name: static_int8}", workload="", experiment=""):
        Path("w.yaml").write_text(FILE.format(recipe=recipe, workload=workload, experiment=experiment))
        return load_workload(Path("w.yaml"))[0]

    return load


@pytest.mark.parametrize(
    ("line", "name", "params"),
    [
        ("", "eager", {}),
        ("    backend: eager\n", "eager", {}),
        ("    backend: {name: eager}\n", "eager", {}),
        ("    backend: {name: eager, engine: qnnpack}\n", "eager", {"engine": "qnnpack"}),
    ],
)
def test_a_backend_is_named_alone_or_with_its_parameters(load, line, name, params):
    backend = load(experiment=line).backend
    assert (backend.name, backend.params) == (name, params)
    assert backend.described == ({"name": name, **params} if params else name)


def test_a_function_s_modules_are_torch_s_and_its_files_those_of_the_reference(load):
    own = '{name: function, function: "own:int8"}'
    assert load(recipe=own).backend.name == "torch"
    assert load(recipe=own, experiment="    backend: onnxruntime\n").backend.name == "onnxruntime"
    with pytest.raises(ConfigError, match=r"'eager' does not run recipes of kind function; set backend: torch$"):
        load(recipe=own, experiment="    backend: eager\n")


@pytest.mark.parametrize("key", ["function", "structure"])
@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("int8", r"'int8' is no import path; write 'your\.module:factory'$"),
        ("os:system", r"'os:system' is in .*, outside of the project; .* allow it with --allow-import os"),
    ],
)
def test_functions_of_a_recipe_are_located_and_not_imported_when_it_is_read(load, key, path, line):
    paths = {"function": "nowhere.own:int8", key: path}
    given = ", ".join(f'{name}: "{each}"' for name, each in paths.items())
    with pytest.raises(ConfigError, match=rf"^w\.yaml: experiments\.e\.recipe\.{key}: {line}"):
        load(recipe=f"{{name: function, {given}}}")


def test_a_function_s_module_is_not_imported_when_its_file_is_read(load):
    Path("raising_at_import.py").write_text("raise RuntimeError('imported')")
    recipe = load(recipe='{name: function, function: "raising_at_import:int8", bits: 4, names: [a, b]}').recipe
    assert recipe.params == (("bits", 4), ("names", ["a", "b"]))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("name: function", r"recipe\.function: Missing required argument"),
        ("name: function, function: 3", r"recipe\.function: Input should be a valid string \(given: 3\)"),
        (
            'name: function, function: "own:int8", day: 2026-01-01',
            r"recipe: recipe 'function' refuses these parameters: 'day' is a date; write text, numbers, true or false",
        ),
        ('name: function, function: "own:int8", x: .nan', r"refuses these parameters: 'x' is a float"),
    ],
)
def test_a_wrong_parameter_of_a_function_is_named(load, given, line):
    with pytest.raises(ConfigError, match=line):
        load(recipe=f"{{{given}}}")


def test_a_backend_with_parameters_is_checked_as_one_without(load):
    with pytest.raises(ConfigError, match=r"^w\.yaml: experiments\.e\.backend: unknown backend 'eagre'\. Did you mean"):
        load(experiment="    backend: {name: eagre, engine: x86}\n")
    with pytest.raises(ConfigError, match=r"^w\.yaml: experiments\.e\.backend: backend 'low_bit' does not run recipes"):
        load(experiment="    backend: {name: low_bit, engine: x86}\n")


@pytest.mark.parametrize("given", ["3", "[eager]", "null"])
@pytest.mark.parametrize("key", ["backend", "task"])
def test_what_is_neither_a_name_nor_a_mapping_is_refused(load, key, given):
    place, line = {
        "backend": (r"experiments\.e\.backend", {"experiment": f"    backend: {given}\n"}),
        "task": (r"workload\.task", {"workload": f"  task: {given}\n"}),
    }[key]
    with pytest.raises(ConfigError, match=rf"^w\.yaml: {place}: Input should be a name, or a mapping with a name \("):
        load(**line)


@pytest.mark.parametrize("line", ["", "  task: top1\n", "  task: {name: top1}\n"])
def test_the_task_is_top1_unless_told(load, line):
    assert load(workload=line).workload.config.task == Component(name="top1")


def test_an_unknown_task_is_shown_with_its_place_and_those_that_exist(load):
    with pytest.raises(ConfigError, match=r"^w\.yaml: workload\.task: unknown task 'top_1'\. Did you mean 'top1'\?"):
        load(workload="  task: top_1\n")


@QNNPACK
@pytest.mark.parametrize(("option", "engine"), [(None, "qnnpack"), ("x86", "x86")], ids=["its own", "the option's"])
@pytest.mark.skipif("x86" not in torch.backends.quantized.supported_engines, reason="torch has no x86 here")
def test_the_engine_of_a_workload_file_is_used_unless_the_command_line_names_another(project, option, engine):
    project.edit(
        "    recipe: {name: dynamic_int8}\n",
        "    recipe: {name: dynamic_int8}\n    backend: {name: eager, engine: qnnpack}\n",
    )
    (experiment,) = [each for each in load_experiments(project.configs) if each.name == "ptq_dynamic_int8"]
    before = torch.backends.quantized.engine
    try:
        assert Runs(Settings(project.golden, option)).run(experiment).engine == engine
    finally:
        torch.backends.quantized.engine = before


@pytest.mark.parametrize(
    ("option", "place"), [(None, ""), ("x87", "--engine x87 for ")], ids=["the file's", "the option's"]
)
def test_an_engine_that_is_not_there_is_refused_where_it_was_named(project, option, place):
    project.edit(
        "    recipe: {name: dynamic_int8}\n",
        "    recipe: {name: dynamic_int8}\n    backend: {name: eager, engine: x87}\n",
    )
    (experiment,) = [each for each in load_experiments(project.configs) if each.name == "ptq_dynamic_int8"]
    message = (
        rf"^{place}\S*configs/tiny\.yaml: experiments\.ptq_dynamic_int8\.backend\.engine: unknown quantized engine"
    )
    with pytest.raises(ConfigError, match=message):
        Runs(Settings(project.golden, option)).run(experiment).engine  # noqa: B018 — makes the backend


def test_a_parameter_that_the_task_does_not_take_is_named_when_the_file_is_read(load):
    with pytest.raises(ConfigError, match=r"^w\.yaml: workload\.task: unknown parameter of task 'top1': 'k'\. Known: "):
        load(workload="  task: {name: top1, k: 5}\n")


def test_a_parameter_that_the_backend_does_not_take_is_named_when_it_is_made(project):
    project.edit(
        "    recipe: {name: dynamic_int8}\n",
        "    recipe: {name: dynamic_int8}\n    backend: {name: eager, enigne: qnnpack}\n",
    )
    (experiment,) = [each for each in load_experiments(project.configs) if each.name == "ptq_dynamic_int8"]
    message = r"ptq_dynamic_int8\.backend: unknown parameter of backend 'eager': 'enigne'\. Did you mean 'engine'\?"
    with pytest.raises(ConfigError, match=message):
        Runs(Settings(project.golden)).run(experiment).engine  # noqa: B018 — makes the backend


def test_an_experiment_changed_at_the_shell_keeps_its_backend(load, tmp_path):
    load(experiment="    backend: {name: eager, engine: qnnpack}\n")
    changed = with_recipe(find_workload("w", tmp_path), "e", {"calibration_n": 7})
    assert (changed.recipe.calibration_n, changed.config.backend.params) == (7, {"engine": "qnnpack"})


def test_a_recipe_is_made_once(load):
    experiment = load()
    assert experiment.recipe is experiment.recipe


def test_an_old_word_is_read_with_a_hint_at_its_place(load):
    old = "{name: low_bit, quantizer: clipping}"
    hint = r"^w\.yaml: experiments\.e\.recipe\.quantizer: 'clipping' is 'pact' now; the old word is still read$"
    with pytest.warns(OldWordWarning, match=hint):
        assert load(old, experiment="    backend: low_bit\n").recipe.quantizer == "pact"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("{name: low_bit, quantizer: pact}", experiment="    backend: low_bit\n")
        load("{name: low_bit, quantizer: lsq}", experiment="    backend: low_bit\n")


@pytest.mark.parametrize(
    ("recipe", "hints"),
    [
        ("{name: static_int8_blocks, blocks: [a]}", [(".name", *RENAMED), ("", "blocks", "layers")]),
        ("{name: static_int8_blocks, layers: [a]}", [(".name", *RENAMED)]),
        ("{name: static_int8_layers, blocks: [a]}", [("", "blocks", "layers")]),
        ("{name: static_int8_layers, layers: [a]}", []),
        (
            "{name: qat_int8_blocks, blocks: []}",
            [(".name", "qat_int8_blocks", "qat_int8_layers"), ("", "blocks", "layers")],
        ),
    ],
)
def test_recipes_of_layers_are_read_by_their_old_names_and_keys(load, recipe, hints):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        experiment = load(recipe)
    place = "w.yaml: experiments.e.recipe"
    assert [str(each.message) for each in shown] == [
        f"{place}{key}: '{old}' is '{new}' now; the old word is still read" for key, old, new in hints
    ]
    assert {each.category for each in shown} <= {OldWordWarning}
    assert experiment.config.recipe.name.endswith("_layers")
    assert experiment.recipe.layers == (("a",) if "[a]" in recipe else ())


def test_the_gate_on_layers_is_read_by_its_old_name(load):
    hint = r"^w\.yaml: experiments\.e\.gates: 'block_drop_pp' is 'layer_drop_pp' now; the old word is still read$"
    with pytest.warns(OldWordWarning, match=hint):
        experiment = load(experiment="    gates: {block_drop_pp: 2, size_ratio: 3}\n")
    assert experiment.config.gates.bounds == {"layer_drop_pp": 2.0, "size_ratio": 3.0}


@pytest.mark.filterwarnings("ignore::quantbench.errors.OldWordWarning")
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"recipe": "{name: static_int8_blocks, blocks: [a], layers: [b]}"}, r"recipe: unknown parameter .*'blocks'"),
        ({"experiment": "    gates: {block_drop_pp: 2, layer_drop_pp: 3}\n"}, r"gates: unknown key 'block_drop_pp'"),
        (
            {"recipe": "{name: static_int8_blocks, bloks: [a]}"},
            r"recipe: .* recipe 'static_int8_layers': 'bloks'\. Known",
        ),
        ({"recipe": "{name: [static_int8_blocks]}"}, r"recipe\.name: Input should be a valid string"),
        ({"recipe": "static_int8_blocks"}, r"recipe: "),
        ({"experiment": "    gates: [block_drop_pp]\n"}, r"gates: "),
    ],
)
def test_a_mistake_beside_an_old_word_is_still_one(load, file, message):
    with pytest.raises(ConfigError, match=rf"^w\.yaml: experiments\.e\.{message}"):
        load(**file)


def test_a_recipe_at_the_shell_is_found_by_its_old_name(load, tmp_path):
    load("{name: static_int8_layers, layers: [a]}")
    hint = r"^--config: 'static_int8_blocks' is 'static_int8_layers' now"
    with pytest.warns(OldWordWarning, match=hint):
        assert with_recipe(find_workload("w", tmp_path), "static_int8_blocks", {}).id == "w/e"


def test_parameters_of_recipes_that_are_not_ours_are_left_alone(load, tmp_path):
    (tmp_path / "own_recipe_of_blocks.py").write_text(
        "from quantbench.recipes.fp32 import fp32_baseline\n"
        "def own(blocks, quantizer):\n"
        "    assert (blocks, quantizer) == (['a'], 'clipping')\n"
        "    return fp32_baseline()\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("{name: 'own_recipe_of_blocks:own', blocks: [a], quantizer: clipping}")


def test_the_command_line_shows_the_hint_in_one_line_and_other_warnings_as_usual(load, quantbench):
    load()
    Path("configs").mkdir()
    Path("w.yaml").rename("configs/w.yaml")
    text = Path("configs/w.yaml").read_text().replace("{name: static_int8}", "{name: low_bit, quantizer: clipping}")
    Path("configs/w.yaml").write_text(f"{text}    backend: low_bit\n")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, out, err = quantbench("list", "experiments")
    assert (status, out) == (0, "w/e\n")
    place = "configs/w.yaml: experiments.e.recipe.quantizer"
    assert err == f"quantbench: {place}: 'clipping' is 'pact' now; the old word is still read\n"
    usual = []
    _show_warning(lambda *shown: usual.append(shown), UserWarning("other"), UserWarning, "a.py", 3)
    assert len(usual) == 1
