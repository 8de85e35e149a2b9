"""Recipe `low_bit`: its parameters, what it says of itself, and through which backend it may run."""

from dataclasses import dataclass

import pytest

from quantbench.config.reading import load_workload
from quantbench.config.selection import find_workload, with_recipe
from quantbench.errors import ConfigError
from quantbench.recipes.lowering import KINDS as LOWERED
from quantbench.recipes.lowering import default_backend, unsupported
from quantbench.recipes.spec import LowBit, Recipe, Trained, describe
from quantbench.registry import BACKENDS, RECIPES


def create(**params):
    return RECIPES.create("low_bit", "a.yaml: experiments.e.recipe", params)


def workload(folder, recipe, backend):
    path = folder / "w.yaml"
    line = f"    backend: {backend}\n" if backend else ""
    path.write_text(
        "workload:\n  model: {name: vgg16}\n  data: {name: shapes}\n  baseline: w\n"
        f"experiments:\n  e:\n    recipe: {{name: {recipe}}}\n{line}"
    )
    return path


def test_it_says_all_that_decides_its_result():
    assert describe(create(weight_bits=2, first_bits=8, last_bits=32)) == {
        "kind": "low_bit", "weight_bits": 2, "activation_bits": 4, "quantizer": "pact", "epochs": 4, "lr": 0.02,
        "frozen_epochs": 1, "first_bits": 8, "last_bits": 32,
    }  # fmt: skip


def test_it_is_trained():
    assert isinstance(create(), LowBit)
    assert isinstance(create(), Trained)
    assert not isinstance(RECIPES.create("static_int8", "here", {}), Trained)


@pytest.mark.parametrize("name", ["weight_bits", "activation_bits"])
@pytest.mark.parametrize(
    ("bits", "said"), [(1, "greater than or equal to 2"), (9, "less than or equal to 8"), (2.5, "a valid integer")]
)
def test_widths_out_of_range_are_one_line_by_their_place(name, bits, said):
    with pytest.raises(ConfigError, match=rf"^a\.yaml: experiments\.e\.recipe\.{name}: Input should be {said}.*{bits}"):
        create(**{name: bits})


@pytest.mark.parametrize("name", ["first_bits", "last_bits"])
@pytest.mark.parametrize("bits", [0, 1, 9, 16])
def test_widths_of_the_ends_are_2_to_8_or_32(name, bits):
    message = rf"^a\.yaml: experiments\.e\.recipe\.{name}: Input should be 2 to 8, or 32 for fp32 \(given: {bits}\)$"
    with pytest.raises(ConfigError, match=message):
        create(**{name: bits})
    assert getattr(create(**{name: 32}), name) == 32
    assert getattr(create(**{name: None}), name) is None


def test_a_quantizer_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ConfigError, match=r"quantizer: Input should be 'pact' or 'lsq' \(given: 'pcat'\)"):
        create(quantizer="pcat")


def test_some_epoch_must_be_left_in_which_batch_norm_moves():
    with pytest.raises(ConfigError, match=r"frozen_epochs \(3\) must be fewer than epochs \(3\)"):
        create(epochs=3, frozen_epochs=3)


@pytest.mark.parametrize(
    ("recipe", "backend", "needed"),
    [("low_bit", "", "low_bit"), ("qat_int8", "low_bit", "eager"), ("dynamic_int8", "low_bit", "eager")],
)
def test_a_workload_file_that_pairs_a_recipe_with_a_wrong_backend_is_refused(tmp_path, recipe, backend, needed):
    path = workload(tmp_path, recipe, backend)
    message = rf"w\.yaml: experiments\.e\.backend: backend '{backend or 'eager'}' does not run recipes of kind "
    with pytest.raises(ConfigError, match=rf"{message}{recipe}; set backend: {needed}$"):
        load_workload(path)


@pytest.mark.parametrize(
    ("recipe", "backend"), [("low_bit", "low_bit"), ("fp32_baseline", "low_bit"), ("low_bit", "your.module:backend")]
)
def test_a_fitting_pair_and_a_backend_of_the_user_s_own_are_accepted(tmp_path, recipe, backend):
    (experiment,) = load_workload(workload(tmp_path, recipe, f'"{backend}"'))
    assert experiment.backend.name == backend


@pytest.mark.parametrize(("recipe", "backend"), [("low_bit", "low_bit"), ("static_int8", "eager")])
def test_an_experiment_made_up_for_one_recipe_runs_through_its_backend(tmp_path, recipe, backend):
    path = workload(tmp_path, "fp32_baseline", "")
    assert with_recipe(find_workload(str(path), tmp_path), recipe, {}).config.backend.name == backend


def test_every_kind_of_recipe_has_a_backend_of_ours_and_the_baseline_any():
    needed = {"function": {"function": "own:int8"}, "ready_made": {"path": "net.onnx"}}
    made = [
        RECIPES.create(name, "here", {"layers": ["a"]} if "layers" in name else needed.get(name, {}))
        for name in RECIPES.table
    ]
    assert {recipe.kind: default_backend(recipe) for recipe in made} == {
        "fp32": "eager", "dynamic_int8": "eager", "static_int8": "eager", "qat_int8": "eager", "low_bit": "low_bit",
        "weight_only": "onnxruntime",
        "function": "torch", "ready_made": "onnxruntime",
    }  # fmt: skip
    assert set(LOWERED) <= set(BACKENDS.table)
    assert all("fp32" in kinds for kinds in LOWERED.values())


def test_a_kind_that_no_backend_of_ours_runs_has_no_default_and_says_so():
    @dataclass(frozen=True)
    class Own(Recipe):
        kind = "own"

    assert default_backend(Own()) is None
    assert unsupported("eager", Own()) == (
        "backend 'eager' does not run recipes of kind own; set backend: one that does"
    )
    assert unsupported("somebody_elses", Own()) is None, "which is asked when it runs"
