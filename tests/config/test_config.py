"""A workload file is read strictly: every mistake ends with its file, its key, what is allowed and the nearest name."""

from pathlib import Path

import pytest

from quantbench.config.reading import load_experiments, load_workload
from quantbench.config.schema import Gates
from quantbench.config.selection import find_workload, select, with_recipe
from quantbench.errors import ConfigError

GOOD = """\
workload:
  model: {name: cifar_cnn}
  data: {name: shapes}
  baseline: a
  training: {epochs: 2}
experiments:
  fp32_baseline:
    recipe: {name: fp32_baseline}
  ptq_static:
    recipe: {name: static_int8_per_tensor, calibration_n: 64}
    gates: {accuracy_drop_pp: 1.0}
"""
A = Path("configs/a.yaml")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_an_empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()


def refusal(text):
    A.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as error:
        load_experiments(A.parent)
    return str(error.value)


def changed(old, new):
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_good_file_gives_its_experiments_in_order():
    A.write_text(GOOD)
    first, second = load_experiments(A.parent)
    assert (first.id, second.id) == ("a/fp32_baseline", "a/ptq_static")
    assert second.recipe.calibration_n == 64
    assert second.config.gates.bounds == {"accuracy_drop_pp": 1.0}


def test_every_committed_file_is_good():
    assert {path.stem for path in (REPOSITORY / "configs").glob("*.yaml")} == {
        experiment.workload.name for experiment in load_experiments(REPOSITORY / "configs")
    }


NAMES = {
    "model": (
        "name: cifar_cnn", "name: cifar_cn",
        "workload.model.name: unknown model 'cifar_cn'. Did you mean 'cifar_cnn'? Known: cifar_cnn",
    ),
    "data set": (
        "name: shapes", "name: shape",
        "workload.data: unknown data set 'shape'. Did you mean 'shapes'? Known: audio_folder, cifar10, docstrings, "
        "function, image_folder, jsonl, npz, sentences, shape_masks, shapes, speech_commands, spoken_words, or "
        "'your.module:factory'",
    ),
    "recipe": (
        "name: static_int8_per_tensor", "name: static_int8_per_tenser",
        "experiments.ptq_static.recipe: unknown recipe 'static_int8_per_tenser'. "
        "Did you mean 'static_int8_per_tensor'? Known: dynamic_int8, fp32_baseline",
    ),
    "backend": (
        "    gates:", "    backend: eagre\n    gates:",
        "experiments.ptq_static.backend: unknown backend 'eagre'. Did you mean 'eager'? Known: eager",
    ),
    "top key": ("experiments:", "experiment:", "unknown key 'experiment'. Did you mean 'experiments'? Known: "),
    "workload key": (
        "  baseline: a", "  baseline: a\n  modle: {}", "workload: unknown key 'modle'. Did you mean 'model'? Known: ",
    ),
    "training key": (
        "epochs: 2", "epochs: 2, momntum: 0.5",
        "workload.training: unknown key 'momntum'. Did you mean 'momentum'? Known: augment, batch_size, epochs",
    ),
    "latency key": (
        "  baseline: a", "  baseline: a\n  latency: {thread: 1}",
        "workload.latency: unknown key 'thread'. Did you mean 'threads'? Known: batch_size, budget_s, looks, "
        "rounds, runtimes, threads, wait_s",
    ),
    "gate": (
        "accuracy_drop_pp:", "accuracy_drop:",
        "experiments.ptq_static.gates: unknown key 'accuracy_drop'. Did you mean 'accuracy_drop_pp'? Known: accuracy, ",
    ),
    "experiment key": (
        "    gates:", "    gate: {}\n    gates:",
        "experiments.ptq_static: unknown key 'gate'. Did you mean 'gates'? Known: backend, gates, parity_with, recipe",
    ),
    "data key": (
        "name: shapes", "name: shapes, calibration_pol: 9",
        "workload.data: unknown parameter of data set 'shapes': 'calibration_pol'. Did you mean 'calibration_pool'? "
        "Known: cache, calibration_pool, classes, name, search_pool",
    ),
    "recipe key": (
        "calibration_n", "calibration_m",
        "experiments.ptq_static.recipe: unknown parameter of recipe 'static_int8_per_tensor': 'calibration_m'. "
        "Did you mean 'calibration_n'? Known: calibration_n",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), NAMES.values(), ids=NAMES)
def test_an_unknown_name_is_shown_with_its_place_the_nearest_name_and_what_is_known(old, new, message):
    assert f"configs/a.yaml: {message}" in refusal(changed(old, new))


EPOCHS, PTQ = "workload.training.epochs", "experiments.ptq_static"
VALUES = {
    "type": ("epochs: 2", "epochs: many", EPOCHS, "should be a valid integer (given: 'many')"),
    "yes for a number": ("epochs: 2", "epochs: yes", EPOCHS, "should be a valid integer (given: True)"),
    "range": ("epochs: 2", "epochs: 0", EPOCHS, "should be greater than 0 (given: 0)"),
    "infinite": ("epochs: 2", "epochs: 2, lr: .inf", "workload.training.lr", "should be a finite number (given: inf)"),
    "choice": ("epochs: 2", "epochs: 2, optimizer: sdg", "workload.training.optimizer",
               "should be 'sgd' or 'adamw' (given: '"),
    "gate's range": ("_pp: 1.0", "_pp: 101", f"{PTQ}.gates.accuracy_drop_pp", "should be less than or equal to 100"),
    "gate is nan": ("_pp: 1.0", "_pp: .nan", f"{PTQ}.gates.accuracy_drop_pp", "should be a finite number (given: nan)"),
    "recipe's range": ("calibration_n: 64", "calibration_n: 0", f"{PTQ}.recipe.calibration_n", "greater than 0"),
    "pool": ("shapes", "shapes, calibration_pool: 0", "workload.data.calibration_pool", "greater than 0 (given: 0)"),
    "data's range": ("shapes", "image_folder, root: x, size: 4", "workload.data.size", "equal to 8 (given: 4)"),
    "std": ("shapes", "image_folder, root: x, std: [1, 1, 0]", "workload.data.std.2", "greater than 0 (given: 0)"),
    "data lacks": ("shapes", "image_folder", "workload.data.root", "Missing required argument"),
    "absent": ("  baseline: a\n", "", "workload", "'baseline' is missing; name a model with its committed weights"),
    "no mapping": ("{epochs: 2}", "5", "workload.training", "should be a mapping of keys to values (given: 5)"),
    "path as name": ("baseline: a", "baseline: ../a", "workload.baseline", "should match pattern"),
    "together": (
        "name: static_int8_per_tensor, calibration_n: 64", "name: qat_int8, epochs: 2, frozen_epochs: 2",
        f"{PTQ}.recipe", "frozen_epochs (2) must be fewer than epochs (2)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "reason"), VALUES.values(), ids=VALUES)
def test_a_wrong_value_is_shown_with_its_place_and_what_is_allowed(old, new, place, reason):
    told = refusal(changed(old, new))
    assert told.startswith(f"configs/a.yaml: {place}: ")
    assert reason in told
    assert "\n" not in told


def test_all_mistakes_of_the_schema_are_told_at_once():
    lines = refusal(changed("epochs: 2", "epochs: 0, lr: -1, momntum: 3")).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "workload.training.epochs", "workload.training.lr", "workload.training",
    ]  # fmt: skip


TEXTS = {
    "syntax": ("workload: {", "line 1: not valid YAML: "),
    "key twice": (changed("  baseline: a", "  baseline: a\n  baseline: b"), "line 5: not valid YAML: the key"),
    "experiment twice": (GOOD.replace("ptq_static", "fp32_baseline"), "line 9: not valid YAML: the key 'fp32_base"),
    "code": ("!!python/object/apply:os.system [exit]", "line 1: not valid YAML: could not determine a constructor"),
    "list as key": ("? [a]\n: b", "line 1: not valid YAML: a key is not plain text"),
    "date": ("workload: 2020-99-99", "not valid YAML: a value cannot be read: month must be in 1..12"),
    "not text": (b"\xff\xfe", "not UTF-8 text: invalid start byte at byte 0"),
    "control": ("workload: \0", "not valid YAML: unacceptable character"),
    "deep": ("[" * 100_000, "nested too deeply; a workload file has four levels"),
    "large": ("#" * ((1 << 20) + 1), "larger than 1048576 bytes; a workload file is a page of text"),
    "empty": ("", "Input should be a mapping of keys to values (given: None)"),
    "no experiment": (GOOD.partition("experiments:")[0] + "experiments: {}", "experiments: Dictionary should have at"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
def test_a_file_that_is_no_workload_is_refused_in_one_line(text, message):
    told = refusal(text)
    assert told.startswith(f"configs/a.yaml: {message}")
    assert "\n" not in told


def test_a_list_that_doubles_at_every_level_is_refused_in_a_short_line():
    # Written out it would hold 9^30 values, which no message may try to show.
    levels = [f"- &l{i} [{', '.join([f'*l{i - 1}'] * 9) if i else 'x'}]" for i in range(30)]
    assert len(refusal("\n".join(levels))) < 400


def test_anchors_and_merged_keys_are_plain_yaml():
    A.write_text(GOOD.replace("{accuracy_drop_pp: 1.0}", "&strict {accuracy_drop_pp: 1.0}") + (
        "  ptq_dynamic:\n    recipe: {name: dynamic_int8}\n    gates: {<<: *strict, size_ratio: 2}\n"
    ))  # fmt: skip
    gates = load_workload(A)[2].config.gates
    assert (gates.accuracy_drop_pp, gates.size_ratio) == (1.0, 2.0)


def test_a_file_whose_name_cannot_be_part_of_an_id_is_refused():
    Path("configs/my [net].yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"my \[net\]\.yaml: the file's name is the workload's; use letters, digits"):
        load_experiments(Path("configs"))


@pytest.mark.parametrize("folder", ["configs", "elsewhere"])
def test_a_folder_without_workload_files_is_refused_with_the_option_that_names_another(folder):
    with pytest.raises(
        ConfigError, match=rf"{folder}: no workload file \(\*\.yaml\) here; name the folder with --configs"
    ):
        load_experiments(Path(folder))


@pytest.mark.parametrize("name", ["b.yml", "b.YAML", "b.Yml"])
def test_a_file_of_another_suffix_is_refused_instead_of_left_out(name):
    A.write_text(GOOD)
    (A.parent / name).write_text(GOOD)
    with pytest.raises(ConfigError, match=rf"^configs/{name}: not read, .* end in \.yaml; rename it to b\.yaml$"):
        load_experiments(A.parent)


def test_files_below_the_folder_are_told_and_not_read(quantbench):
    A.write_text(GOOD)
    (A.parent / "full").mkdir()
    (A.parent / "full" / "big.yaml").write_text(GOOD)
    (A.parent / ".hidden.yml").write_text("")
    status, out, err = quantbench("list", "experiments")
    assert (status, out) == (0, "a/fp32_baseline\na/ptq_static\n")
    assert err == "configs/full: 1 file not read with configs; read as workload files by --configs configs/full\n"


@pytest.mark.parametrize("word", ["no", "off", "true"])
@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("gates: {accuracy_drop_pp: 1.0, int8_share: ", "experiments.ptq_static.gates.int8_share"),
        ("gates: {accuracy_drop_pp: 1.0, speedup: ", "experiments.ptq_static.gates.speedup"),
        ("search: {low: 4, epsilon_pp: ", "experiments.ptq_static.search.epsilon_pp"),
    ],
)
def test_a_truth_value_is_no_bound(word, key, place):
    message = refusal(changed("gates: {accuracy_drop_pp: 1.0", f"{key}{word}"))
    given = word == "true"
    assert f"{A}: {place}: Input should be a number, not true or false (yes, no, on, off) (given: {given})" in message


def test_a_truth_value_is_no_bound_of_one_processor_either():
    message = refusal(changed("gates: {accuracy_drop_pp: 1.0", "gates: {speedup: {default: yes}"))
    assert "gates.speedup: Input should be a number, not true or false" in message


def test_experiments_are_selected_by_id_or_glob():
    A.write_text(GOOD)
    experiments = load_experiments(A.parent)
    assert [each.id for each in select(experiments, "a/ptq_*")] == ["a/ptq_static"]
    with pytest.raises(
        ConfigError, match=r"unknown experiment 'a/ptq_statik'. Did you mean 'a/ptq_static'\? Known: a/fp32"
    ):
        select(experiments, "a/ptq_statik")


def test_a_workload_is_found_by_name_and_by_path():
    A.write_text(GOOD)
    assert find_workload("a", A.parent) == find_workload("configs/a.yaml", Path("elsewhere"))
    with pytest.raises(ConfigError, match=r"configs: unknown workload 'b'\. Known: a$"):
        find_workload("b", A.parent)
    with pytest.raises(ConfigError, match=r"^configs/b\.yaml: cannot be read: No such file or directory$"):
        find_workload("configs/b.yaml", A.parent)


def test_a_recipe_of_the_command_line_is_the_configured_experiment_where_there_is_one():
    A.write_text(GOOD)
    workload = find_workload("a", A.parent)
    assert with_recipe(workload, "static_int8_per_tensor", {"calibration_n": 64}).id == "a/ptq_static"
    made_up = with_recipe(workload, "static_int8_per_tensor", {"calibration_n": 32})
    assert (made_up.id, made_up.recipe.calibration_n) == ("a/static_int8_per_tensor", 32)
    with pytest.raises(ConfigError, match="--config: unknown recipe 'statik'"):
        with_recipe(workload, "statik", {})


def test_a_recipe_named_at_the_shell_is_the_workloads_own_experiment_of_it(project):
    workload = find_workload("tiny", project.configs)
    # Its own number of epochs, not the recipe's default: the committed weights belong to it.
    assert with_recipe(workload, "qat_int8", {}).id == "tiny/qat_int8"
    assert (
        with_recipe(workload, "static_int8_per_channel", {"calibration_n": 32}).id == "tiny/ptq_static_int8_per_channel"
    )
    assert with_recipe(workload, "static_int8_per_channel", {"calibration_n": 16}).id == "tiny/static_int8_per_channel"


def test_an_experiment_of_the_workload_may_be_named_instead_of_a_recipe(project):
    workload = find_workload("tiny", project.configs)
    assert with_recipe(workload, "ptq_dynamic_int8", {}).id == "tiny/ptq_dynamic_int8"
    changed = with_recipe(workload, "ptq_static_int8_per_channel", {"calibration_n": 20})
    assert (changed.config.recipe.name, changed.recipe.calibration_n) == ("static_int8_per_channel", 20)
    assert changed.config.gates == Gates(), "its bounds were set for the experiment as it is configured"


def test_a_recipe_that_several_experiments_use_is_not_guessed(project):
    project.edit(
        "  qat_int8:\n",
        "  again:\n    recipe: {name: static_int8_per_channel, calibration_n: 32}\n  qat_int8:\n",
    )
    workload = find_workload("tiny", project.configs)
    with pytest.raises(ConfigError) as refused:
        with_recipe(workload, "static_int8_per_channel", {})
    assert str(refused.value) == (
        f"--config static_int8_per_channel: several experiments of {project.config} use it; name one of them: "
        "ptq_static_int8_per_channel, again"
    )
    assert with_recipe(workload, "again", {}).id == "tiny/again"
