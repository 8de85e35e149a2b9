"""What backend `low_bit` refuses: models it cannot quantize, recipes of other kinds, and the reverse."""

import pytest
from tiny_low_bit import BACKEND, INPUTS, model, recipe
from torch import nn

from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import ConfigError, QuantizationError
from quantbench.registry import BACKENDS


def test_a_model_without_such_layers_is_refused():
    with pytest.raises(
        QuantizationError,
        match=r"^no layer of the kind nn\.Conv2d or nn\.Linear was quantized; the layers with weights of Sequential: "
        r"1 Conv1d$",
    ):
        BACKEND.prepare_module(model(nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())), recipe())


def test_a_recipe_that_leaves_its_only_layer_in_fp32_is_refused():
    only = model(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()))
    with pytest.raises(
        QuantizationError, match=r"was quantized; .*: 1 Conv2d; first_bits and last_bits leave them in fp32$"
    ):
        BACKEND.prepare_module(only, recipe(first_bits=32))


def test_the_rehearsal_finds_negative_values_before_a_layer_with_unsigned_input():
    message = (
        r"^'1' of Sequential is given negative values \(down to -\d.*\), and the codes of its input are unsigned: put "
        r"a ReLU before it; only the first layer's input is signed$"
    )
    with pytest.raises(QuantizationError, match=message):
        BACKEND.rehearse_module(model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))), recipe(), INPUTS[:2])


def test_a_low_bit_recipe_is_trained():
    with pytest.raises(QuantizationError, match=r"^a low-bit recipe is trained: prepare_training, fine-tune, convert_"):
        BACKEND.quantize_module(model(), recipe(), list)


STEPS = {
    "rehearse": lambda backend, made: backend.rehearse_module(model(), made, INPUTS[:2]),
    "quantize": lambda backend, made: backend.quantize_module(model(), made, list),
    "prepare_training": lambda backend, made: backend.prepare_module(model(), made),
    "skeleton": lambda backend, made: backend.skeleton(model(), made),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_each_backend_refuses_the_other_s_recipes_and_names_the_right_one(step):
    with pytest.raises(
        QuantizationError, match=r"^backend 'eager' does not run recipes of kind low_bit; set backend: lo"
    ):
        step(EagerBackend(default_engine()), recipe())
    message = r"^backend 'low_bit' does not run recipes of kind qat_int8; set backend: eager$"
    with pytest.raises(QuantizationError, match=message):
        step(BACKEND, recipe("qat_int8"))


def test_an_engine_that_is_not_there_is_refused_as_by_the_other_backend():
    with pytest.raises(ConfigError, match=r"^here\.engine: unknown quantized engine 'x87'\. Did you mean 'x86'\?"):
        BACKENDS.create("low_bit", "here", {"engine": "x87"})
    assert BACKENDS.create("low_bit", "here", {}).engine == default_engine()


def test_a_rehearsal_of_one_sample_does_not_ask_batch_norm_for_more():
    made = model(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4)))
    with pytest.raises(ValueError, match=r"^Expected more than 1 value per channel when training"):
        BACKEND.prepare_module(made, recipe())(INPUTS[:1])
    assert BACKEND.rehearse_module(made, recipe(), INPUTS[:1]) is None
