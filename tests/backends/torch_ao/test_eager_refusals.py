"""What the eager backend refuses, and the line that says what to change."""

import pytest
import torch
from tiny_model import TinyCNN, tiny_cnn
from torch import nn

from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import ConfigError, QuantizationError
from quantbench.models.quantizable import QuantStub
from quantbench.registry import RECIPES

HERE = default_engine()


@pytest.fixture
def model():
    return tiny_cnn().eval()


def recipe(name):
    return RECIPES.create(name, "here", {})


def quantize(backend, model, name):
    if name == "qat_int8":
        return backend.prepare_module(model, recipe(name))
    return backend.quantize_module(model, recipe(name), lambda: [torch.zeros(2, 4)])


def test_an_unknown_engine_is_refused_with_the_nearest_and_all_known():
    message = r"^unknown quantized engine 'qnnpak'\. Did you mean 'qnnpack'\? Known: .*onednn"
    with pytest.raises(ConfigError, match=message):
        EagerBackend("qnnpak")


@pytest.mark.parametrize("batches", [[], [torch.zeros(0, 3, 8, 8)]], ids=["no batch", "an empty batch"])
def test_a_calibration_that_saw_nothing_is_refused(model, batches):
    with pytest.raises(QuantizationError, match="calibration saw no sample"):
        EagerBackend(HERE).quantize_module(model, recipe("static_int8_per_tensor"), lambda: batches)


class Unstubbed(nn.Module):
    """A model of which no activation would be quantized."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(x)

    def fuse_model(self, is_qat=False): ...


@pytest.mark.parametrize("name", ["static_int8_per_tensor", "qat_int8"])
def test_a_model_without_stubs_is_refused_with_what_to_put_where(name):
    with pytest.raises(
        QuantizationError, match=r"Unstubbed has no QuantStub: .* put one at its input and a DeQuantStub"
    ):
        quantize(EagerBackend(HERE), Unstubbed().eval(), name)


@pytest.mark.parametrize("name", ["static_int8_per_tensor", "qat_int8"])
def test_a_model_without_fuse_model_is_refused_with_what_it_needs(name):
    model = nn.Sequential(QuantStub(), nn.Linear(4, 2)).eval()
    with pytest.raises(QuantizationError, match=r"Sequential has no fuse_model\(is_qat\): .* Conv-BN-ReLU"):
        quantize(EagerBackend(HERE), model, name)


def test_a_qconfig_taken_from_one_layer_of_a_fused_group_is_refused_with_where_to_take_it(model):
    model.conv.qconfig = None
    with pytest.raises(QuantizationError, match=r"conv: one layer of this fused group has qconfig None; .*fuse_model"):
        EagerBackend(HERE).quantize_module(model, recipe("static_int8_per_tensor"), lambda: [torch.zeros(2, 3, 8, 8)])


def test_dynamic_quantization_of_a_model_without_linear_layers_is_refused():
    words = r"^no layer of the kind nn\.Linear was quantized; the layers with weights of Sequential: 1 Conv2d$"
    with pytest.raises(QuantizationError, match=words):
        quantize(EagerBackend(HERE), nn.Sequential(nn.Conv2d(3, 4, 1)).eval(), "dynamic_int8")


class HeadInAttention(nn.Module):
    """Its only linear layer is one that quantization leaves alone."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


def test_dynamic_quantization_that_reaches_no_layer_is_refused():
    with pytest.raises(QuantizationError, match=r"1 MultiheadAttention, 1 NonDynamicallyQuantizableLinear$"):
        quantize(EagerBackend(HERE), HeadInAttention().eval(), "dynamic_int8")


class Untouched(TinyCNN):
    """Its stubs enclose nothing."""

    def __init__(self):
        super().__init__(3, 8)

    def forward(self, x):
        return self.fc(self.pool(self.relu(self.bn(self.conv(self.dequant(self.quant(x)))))).flatten(1))

    def fuse_model(self, is_qat=False):
        super().fuse_model(is_qat)
        self.conv.qconfig = self.fc.qconfig = None


@pytest.mark.parametrize("name", ["static_int8_per_channel", "qat_int8"])
def test_a_model_of_which_no_layer_is_quantized_is_refused_before_anything_long(name):
    words = "no layer of the kind a convolution or a linear layer, with a qconfig was quantized; .* 1 Conv2d"
    with pytest.raises(QuantizationError, match=words):
        EagerBackend(HERE).rehearse_module(Untouched().eval(), recipe(name), torch.zeros(2, 3, 8, 8))


def test_a_recipe_that_trains_is_not_quantized_after_training(model):
    with pytest.raises(QuantizationError, match="prepare_training, fine-tune, convert_trained"):
        EagerBackend(HERE).quantize_module(model, recipe("qat_int8"), list)
