"""Every registered recipe: a plain description, with parameters that are checked."""

import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from quantbench.errors import ConfigError
from quantbench.recipes.spec import DEFAULT_CALIBRATION_N, DynamicInt8, Fp32, QatInt8, describe
from quantbench.registry import RECIPES

STATIC = (
    "static_int8", "static_int8_per_tensor", "static_int8_per_channel", "static_int8_histogram",
    "static_int8_full_range", "static_int8_pow2",
)  # fmt: skip
POW2 = ("static_int8_pow2", "qat_int8_pow2")
EVERY_RECIPE = pytest.mark.parametrize("name", RECIPES.names())


# Parameters that a recipe cannot do without.
NEEDED = {"function": {"function": "own:int8"}, "ready_made": {"path": "net.onnx"}}


def create(name, **params):
    params = {**NEEDED.get(name, {}), **params}
    if name.endswith("_layers"):
        params = {"layers": ["block1"], **params}
    return RECIPES.create(name, "a.yaml: experiments.e.recipe", params)


def test_the_recipes_of_the_quantization_explorer_keep_their_names():
    assert set(RECIPES.names()) >= {"fp32_baseline", "dynamic_int8", "qat_int8", *STATIC}
    assert isinstance(create("fp32_baseline"), Fp32)
    assert create("dynamic_int8") == DynamicInt8(("Linear",))
    assert isinstance(create("qat_int8"), QatInt8)


@EVERY_RECIPE
def test_a_recipe_is_described_as_json_that_names_its_kind(name):
    recipe = create(name)
    described = describe(recipe)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert described.pop("kind") == recipe.kind
    # A default goes without saying, such as the whole model.
    defaults = {field.name: field.default for field in fields(recipe)}
    assert set(described) == {name for name, value in vars(recipe).items() if value != defaults[name]}


@EVERY_RECIPE
def test_a_recipe_equals_itself_made_again_and_no_other_but_by_another_name(name):
    assert create(name) == create(name)
    factory = RECIPES.factory(name, "here")
    same = [other for other in RECIPES.names() if RECIPES.factory(other, "here") is factory]
    assert [other for other in RECIPES.names() if create(other) == create(name)] == same


def test_the_field_s_short_name_is_the_processor_s_default():
    assert create("static_int8", calibration_n=64) == create("static_int8_histogram", calibration_n=64)


@pytest.mark.parametrize("name", POW2)
def test_power_of_two_recipes_differ_from_the_usual_in_their_scales_alone(name):
    spec, described = create(name), describe(create(name))
    assert spec.activation.max_shift == spec.weight.max_shift == 8
    assert described["activation"].pop("max_shift") == described["weight"].pop("max_shift") == 8
    if name == "qat_int8_pow2":
        assert described == describe(create("qat_int8"))
    else:
        assert described["weight"] == describe(create("static_int8_per_channel"))["weight"]
        assert described["activation"]["range"] == "histogram"


@pytest.mark.parametrize("name", POW2)
@pytest.mark.parametrize("max_shift", [-1, 31, 2.5])
def test_a_max_shift_out_of_range_is_refused_by_its_place(name, max_shift):
    with pytest.raises(ConfigError, match=rf"recipe\W+max_shift: Input should be .*\(given: {max_shift}\)"):
        create(name, max_shift=max_shift)
    assert create(name, max_shift=30).weight.max_shift == 30


def test_the_usual_recipes_are_described_in_words_of_no_library():
    activation = {"range": "minmax", "dtype": "uint8", "granularity": "per_tensor", "scheme": "affine"}
    weight = {"range": "minmax", "dtype": "int8", "granularity": "per_channel", "scheme": "symmetric"}
    described = describe(create("static_int8_per_channel"))
    assert described == {"kind": "static_int8", "activation": activation, "weight": weight, "calibration_n": 256}
    full = describe(create("static_int8_full_range"))
    assert full["activation"] == {**activation, "range": "histogram", "reduce_range": False}
    assert full["weight"] == weight


@EVERY_RECIPE
def test_a_recipe_s_factory_says_in_a_line_what_it_does(name):
    assert RECIPES.factory(name, "here").__doc__.strip()


def test_recipes_import_no_torch():
    code = "import sys; from quantbench.registry import RECIPES; [RECIPES.factory(n, '') for n in RECIPES.names()]"
    done = subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", STATIC)
def test_static_recipes_calibrate_with_256_samples_unless_told(name):
    assert create(name).calibration_n == DEFAULT_CALIBRATION_N == 256
    assert create(name, calibration_n=32) == replace(create(name), calibration_n=32)


def test_weights_are_per_tensor_or_per_output_channel_and_activations_always_per_tensor():
    per_tensor, per_channel = create("static_int8_per_tensor"), create("static_int8_per_channel")
    assert (per_tensor.weight.dtype, per_tensor.weight.granularity) == ("int8", "per_tensor")
    assert (per_channel.weight.dtype, per_channel.weight.granularity) == ("int8", "per_channel")
    assert per_tensor.weight.scheme == per_channel.weight.scheme == "symmetric"
    assert per_tensor.activation == per_channel.activation
    assert (per_tensor.activation.granularity, per_tensor.activation.scheme) == ("per_tensor", "affine")
    histogram = create("static_int8_histogram")
    assert (histogram.activation, histogram.weight) == (None, None), "the processor's default"


@pytest.mark.parametrize("name", STATIC)
@pytest.mark.parametrize("n", [0, -1, 2.5, "many"])
def test_a_calibration_n_that_is_no_positive_number_is_refused(name, n):
    with pytest.raises(ConfigError, match=rf"^a\.yaml: experiments\.e\.recipe\W+calibration_n: .*\(given: '?{n}'?\)$"):
        create(name, calibration_n=n)


@pytest.mark.parametrize("frozen", [3, 4])
def test_as_many_frozen_epochs_as_epochs_are_refused(frozen):
    advice = rf"train for {frozen + 1} or more, or freeze 2 at most"
    message = rf"frozen_epochs \({frozen}\) must be fewer than epochs \(3\): the last {frozen} are frozen; {advice}"
    with pytest.raises(ConfigError, match=message):
        create("qat_int8", epochs=3, frozen_epochs=frozen)
    assert create("qat_int8", epochs=3, frozen_epochs=2).frozen_epochs == 2


@pytest.mark.parametrize(
    ("key", "value"), [("epochs", 0), ("lr", 0), ("lr", -0.1), ("lr", float("nan")), ("frozen_epochs", -1)]
)
def test_a_parameter_of_fine_tuning_out_of_range_is_named(key, value):
    with pytest.raises(ConfigError, match=rf"recipe\W+{key}: Input should be .*\(given: {value}\)"):
        create("qat_int8", **{key: value})


def test_a_function_is_described_with_its_parameters_as_lists():
    described = describe(create("function", bits=4, layers=["a"], structure="own:structure"))
    assert described == {
        "kind": "function", "function": "own:int8", "params": [["bits", 4], ["layers", ["a"]]],
        "structure": "own:structure",
    }  # fmt: skip


def test_an_unknown_parameter_is_refused_with_the_nearest_that_exists():
    with pytest.raises(ConfigError, match=r"'calibration'\. Did you mean 'calibration_n'\?"):
        create("static_int8_per_tensor", calibration=256)
