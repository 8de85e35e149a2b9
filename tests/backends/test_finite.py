"""NaN, infinity and nothing but zeros are refused with the layer and the sample, whichever recipe meets them."""

import pytest
import torch
from stepped import HERE, QAT_QCONFIG, QCONFIG
from tiny_model import TinyCNN, tiny_cnn
from torch import nn

from quantbench.backends.finite import first_not_finite
from quantbench.backends.low_bit import LowBitBackend
from quantbench.backends.torch_ao.eager import EagerBackend
from quantbench.backends.torch_ao.steps import calibrate, convert, fuse, prepare, prepare_qat
from quantbench.errors import QuantizationError, SampleError
from quantbench.models.quantizable import FloatFunctional, QuantStub
from quantbench.registry import RECIPES

SAMPLES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
AFTER_TRAINING = [
    "static_int8", "static_int8_per_tensor", "static_int8_per_channel", "static_int8_histogram", "static_int8_pow2",
]  # fmt: skip


def with_black_sample(position, n=8):
    samples = SAMPLES[:n].clone()
    samples[position] = 0
    return samples


class Standardized(TinyCNN):
    """Divides by each image's own deviation, which is 0 for a black one."""

    def forward(self, x):
        return super().forward((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))


class Standardization(nn.Module):
    def forward(self, x):
        return x / x.std((1, 2, 3), keepdim=True)


class InAModule(TinyCNN):
    """The same in a module of its own."""

    def __init__(self, n_classes, channels):
        super().__init__(n_classes, channels)
        self.standardize = Standardization()

    def forward(self, x):
        return super().forward(self.standardize(x))


@pytest.mark.parametrize("name", AFTER_TRAINING)
def test_every_recipe_after_training_names_the_sample_and_the_layer(name):
    batches = [SAMPLES, with_black_sample(5)]
    with pytest.raises(SampleError) as refused:
        EagerBackend(HERE).quantize_module(
            Standardized(3, 4).eval(), RECIPES.create(name, "here", {}), lambda: iter(batches)
        )
    assert str(refused.value) == (
        "sample 13 (counted from 0): 'quant' (QuantStub) of Standardized is given NaN, which no scale fits; let the "
        "model give finite values, or take the sample out"
    )
    assert refused.value.sample == 13


@pytest.mark.parametrize(("name", "backend"), [("qat_int8", EagerBackend), ("low_bit", LowBitBackend)])
def test_recipes_that_train_name_both_in_the_rehearsal(name, backend):
    recipe = RECIPES.create(name, "here", {})
    with pytest.raises(SampleError, match=r"^sample 1 .*'\w+' \(\w+\) of Standardized is given NaN"):
        backend(HERE).rehearse_module(Standardized(3, 4).eval(), recipe, with_black_sample(1, n=2))


def test_the_module_that_makes_the_value_is_named_where_it_is_one():
    prepared = prepare(fuse(InAModule(3, 4).eval()), QCONFIG)
    with pytest.raises(SampleError, match=r"^sample 2 .*'standardize' \(Standardization\) of InAModule gives NaN"):
        calibrate(prepared, [with_black_sample(2)])


def test_infinity_is_named_too_which_a_histogram_would_leave_out():
    model = tiny_cnn().eval()
    recipe = RECIPES.create("static_int8_histogram", "here", {})
    samples = SAMPLES.clone()
    samples[3, 0, 0, 0] = torch.inf
    with pytest.raises(SampleError, match=r"^sample 3 .*TinyCNN is given infinity"):
        EagerBackend(HERE).quantize_module(model, recipe, lambda: [samples])


def test_a_functional_is_said_to_give_what_its_observer_is_given():
    class Dividing(TinyCNN):
        def __init__(self):
            super().__init__(3, 4)
            self.mul = FloatFunctional()

        def forward(self, x):
            x = self.pool(self.relu(self.bn(self.conv(self.quant(x))))).flatten(1)
            return self.dequant(self.fc(self.mul.mul(x, x / 0)))

    prepared = prepare(fuse(Dividing().eval()), QCONFIG)
    with pytest.raises(SampleError, match=r"^sample 0 .*'mul' \(FloatFunctional\) of Dividing gives (NaN|infinity)"):
        calibrate(prepared, [SAMPLES])


def test_where_samples_have_no_row_each_is_tried_alone():
    class Transposed(TinyCNN):
        def forward(self, x):
            shares = (x / x.std((1, 2, 3), keepdim=True)).transpose(0, 1)
            return super().forward(self.quant(shares).transpose(0, 1))

    prepared = prepare(fuse(Transposed(3, 4).eval()), QCONFIG)
    with pytest.raises(SampleError, match=r"^sample 6 "):
        calibrate(prepared, [with_black_sample(6)])


def test_the_rows_with_such_values_are_told_and_finite_samples_have_none():
    samples = SAMPLES.clone()
    samples[[1, 4]] = torch.nan
    assert first_not_finite(tiny_cnn().eval(), samples).rows == (1, 4)
    assert first_not_finite(tiny_cnn().eval(), SAMPLES) is None


@pytest.mark.parametrize("is_qat", [False, True])
def test_a_layer_that_gives_nothing_but_zeros_is_named(is_qat):
    model = tiny_cnn().eval()
    nn.init.constant_(model.bn.bias, -1e6)
    if is_qat:
        prepared = prepare_qat(fuse(model.train(), is_qat=True), QAT_QCONFIG)
        prepared(SAMPLES)
        prepared.eval()
    else:
        prepared = prepare(fuse(model), QCONFIG)
        calibrate(prepared, [SAMPLES])
    message = r"^convert: 'conv' gave nothing but zeros for every sample that it was shown, .* leave it in fp32$"
    with pytest.raises(QuantizationError, match=message):
        convert(prepared)


@pytest.mark.parametrize("is_qat", [False, True])
def test_a_module_that_is_never_called_and_has_no_parameters_is_no_error(is_qat):
    model = tiny_cnn()
    model.unused, model.unused_stub = FloatFunctional(), QuantStub()
    if is_qat:
        prepared = prepare_qat(fuse(model.train(), is_qat=True), QAT_QCONFIG)
        prepared(SAMPLES)
        prepared.eval()
    else:
        prepared = prepare(fuse(model.eval()), QCONFIG)
        calibrate(prepared, [SAMPLES])
    assert convert(prepared)(SAMPLES).shape == (8, 3)


def test_observers_are_as_they_would_be_without_the_watch():
    watched, alone = (prepare(fuse(tiny_cnn().eval()), QCONFIG) for _ in range(2))
    alone.load_state_dict(watched.state_dict())
    calibrate(watched, [SAMPLES])
    with torch.inference_mode():
        alone(SAMPLES)
    assert all(torch.equal(alone.state_dict()[key], value) for key, value in watched.state_dict().items())
    assert not any(module._forward_pre_hooks for module in watched.modules())
