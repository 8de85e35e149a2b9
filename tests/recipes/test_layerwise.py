"""Recipes for some layers of a model: what they share with those for all of it, and what they refuse."""

import pytest

from quantbench.errors import ConfigError
from quantbench.recipes.spec import QatInt8, StaticInt8, describe
from quantbench.registry import RECIPES

WHOLE = {"static_int8_layers": "static_int8_histogram", "qat_int8_layers": "qat_int8"}
EVERY_WAY = pytest.mark.parametrize("name", WHOLE)


def create(name, **params):
    return RECIPES.create(name, "a.yaml: experiments.e.recipe", params)


@EVERY_WAY
def test_they_differ_from_the_recipe_for_the_whole_model_in_the_layers_alone(name):
    some, whole = describe(create(name, layers=["block1", "block3"])), describe(create(WHOLE[name]))
    assert some.pop("layers") == ["block1", "block3"]
    assert some == whole, "and the whole model goes without saying, as in goldens accepted before"


@EVERY_WAY
def test_layers_have_to_be_named(name):
    with pytest.raises(ConfigError, match=r"^a\.yaml: experiments\.e\.recipe\W+layers: Missing required argument$"):
        create(name)


@EVERY_WAY
def test_a_single_name_instead_of_a_list_is_refused(name):
    with pytest.raises(ConfigError, match=r"recipe\W+layers: Input should be a valid tuple \(given: 'block1'\)"):
        create(name, layers="block1")


def test_no_layer_at_all_is_refused_after_training_and_a_control_of_fine_tuning():
    message = r"'static_int8_layers' refuses these parameters: layers: none is named; nothing would be quantized$"
    with pytest.raises(ConfigError, match=message):
        create("static_int8_layers", layers=[])
    control = create("qat_int8_layers", layers=[])
    assert (type(control), control.layers) == (QatInt8, ())
    assert describe(control)["layers"] == []


def test_their_other_parameters_are_those_of_the_whole_model():
    assert create("static_int8_layers", layers=["a"], calibration_n=32) == StaticInt8(None, None, 32, ("a",))
    trained = create("qat_int8_layers", layers=["a"], epochs=6, lr=0.02, frozen_epochs=2)
    assert (trained.epochs, trained.lr, trained.frozen_epochs, trained.layers) == (6, 0.02, 2, ("a",))


def test_as_many_frozen_epochs_as_epochs_are_refused_here_too():
    with pytest.raises(ConfigError, match=r"frozen_epochs \(3\) must be fewer than epochs \(3\)"):
        create("qat_int8_layers", layers=["a"], epochs=3, frozen_epochs=3)
