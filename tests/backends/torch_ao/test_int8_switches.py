"""Layers in int8 or left in fp32: the real kernels, switched one by one."""

import copy

import pytest
import torch
from tiny_residual import Residual
from torch import nn
from torch.ao.nn import quantized as nnq

from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.backends.torch_ao.int8_switches import Int8Switch, int8_switches
from quantbench.backends.torch_ao.layer_groups import fused_with_qconfig
from quantbench.backends.torch_ao.qconfigs import static_qconfig
from quantbench.errors import QuantizationError
from quantbench.models.cifar_cnn import CifarCNN
from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse
from quantbench.models.vgg import VGG16
from quantbench.quant.switchable import switchable_layers
from quantbench.recipes.spec import DynamicInt8, QatInt8
from quantbench.registry import RECIPES

LOOK = torch.Generator().manual_seed(7)
IMAGES = torch.randn(32, 3, 32, 32, generator=LOOK)


def recipe(name="static_int8_per_channel", **params):
    return RECIPES.create(name, "here", params)


class Quantized:
    """A model in its four forms: fp32, fused, in int8, and with switches."""

    def __init__(self, model, images, how=None):
        self.backend, self.recipe = EagerBackend(default_engine()), how or recipe()
        self.model = model
        model.train()
        with torch.no_grad():
            model(images)  # Batch norms that do something.
        model.eval()
        self.images = images
        self.int8 = self.backend.quantize_module(model, self.recipe, lambda: [images]).model
        self.fused = fused_with_qconfig(
            copy.deepcopy(model), static_qconfig(self.recipe, self.backend.engine), self.recipe.layers, is_qat=False
        )
        self.switched = self.backend.switchable_module(model, self.recipe, self.int8, images[:1])

    def at(self, bits):
        """Logits with all layers at that width."""
        for layer in switchable_layers(self.switched).values():
            layer.bits = bits
        return logits(self.switched, self.images)


@torch.inference_mode()
def logits(model, images):
    return model(images)


def small(model):
    torch.manual_seed(3)
    return model()


@pytest.fixture(scope="module")
def vgg():
    """A chain: thirteen convolutions, max pooling and a linear layer, nothing else in between."""
    return Quantized(small(lambda: VGG16(width=0.125)), IMAGES)


@pytest.fixture(scope="module")
def cifar():
    """The same with a mean over all pixels before the linear layer."""
    return Quantized(small(CifarCNN), IMAGES)


def test_every_converted_layer_is_a_switch_in_the_order_of_the_model(vgg):
    layers = switchable_layers(vgg.switched)
    assert list(layers) == [*(f"conv{i}" for i in range(13)), "fc"]
    assert {layer.bit_choices for layer in layers.values()} == {(8, 32)}


def test_with_all_layers_in_int8_a_chain_gives_the_int8_model_bit_for_bit(vgg):
    assert torch.equal(vgg.at(8), logits(vgg.int8, vgg.images))


def test_with_all_layers_in_fp32_it_is_the_fused_model_bit_for_bit(vgg, cifar):
    for each in (vgg, cifar):
        assert torch.equal(each.at(32), logits(each.fused, each.images))
        assert not torch.equal(each.at(8), each.at(32))


def test_the_int8_kernel_is_the_one_that_runs_and_on_the_calibrated_codes(vgg):
    given = []
    switch = switchable_layers(vgg.switched)["conv5"]
    handle = switch.converted.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    vgg.at(8)
    vgg.at(32)
    handle.remove()
    (codes,) = given
    before = vgg.int8.get_submodule("conv4")
    assert isinstance(switch.converted, nnq.Conv2d)
    assert codes.dtype == torch.quint8
    assert (codes.q_scale(), codes.q_zero_point()) == (before.scale, before.zero_point)


def inputs_of_head(model, images, name):
    """Codes that the linear layer is given."""
    found = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].int_repr()))
    logits(model, images)
    handle.remove()
    return found[0].int()


def test_a_mean_over_pixels_is_rounded_alike_but_for_means_that_lie_between_two_codes(cifar):
    cifar.at(8)
    own, theirs = inputs_of_head(cifar.switched, cifar.images, "fc.converted"), inputs_of_head(
        cifar.int8, cifar.images, "fc"
    )  # fmt: skip
    pixels = []
    handle = cifar.int8.get_submodule("global_pool").register_forward_pre_hook(
        lambda _, inputs: pixels.append(inputs[0].int_repr())
    )
    logits(cifar.int8, cifar.images)
    handle.remove()
    sums, count = pixels[0].int().sum(dim=(2, 3)), pixels[0][0, 0].numel()
    apart = own != theirs
    is_halfway = (2 * sums) % count == 0
    assert not bool((apart & ~is_halfway).any()), "everywhere else the codes are the same"
    assert int((own - theirs).abs().max()) <= 1


def test_one_layer_in_int8_differs_from_fp32_by_no_more_than_all_of_them_do(cifar):
    full = cifar.at(32)
    errors = {}
    for name, layer in switchable_layers(cifar.switched).items():
        layer.bits = 8
        errors[name] = float((logits(cifar.switched, cifar.images) - full).norm())
        layer.bits = 32
    assert all(error > 0 for error in errors.values())
    assert max(errors.values()) <= 2 * float((cifar.at(8) - full).norm())


def test_a_residual_network_differs_only_by_the_rounding_of_its_sum():
    images = torch.randn(32, 3, 8, 8, generator=LOOK)
    residual = Quantized(small(Residual), images)
    assert list(switchable_layers(residual.switched)) == ["conv", "layers.0.conv1", "layers.0.conv2", "fc"]
    own, theirs, full = residual.at(8), logits(residual.int8, images), residual.at(32)
    assert float((own - theirs).norm()) < float((theirs - full).norm())


def test_the_model_that_is_given_stays_as_it_was():
    model = small(CifarCNN)
    images = IMAGES[:8]
    made = Quantized(model, images)
    before, int8_before = logits(model, images), logits(made.int8, images)
    made.at(8)
    assert not any(isinstance(each, Int8Switch) for each in [*model.modules(), *made.int8.modules()])
    assert torch.equal(logits(model, images), before)
    assert torch.equal(logits(made.int8, images), int8_before)


def test_a_width_that_no_such_layer_has_is_refused(vgg):
    layer = switchable_layers(vgg.switched)["conv0"]
    with pytest.raises(QuantizationError, match="has 8 bits, or 32 when left in fp32, not 4"):
        layer.bits = 4


def test_what_a_layer_costs_is_told(vgg):
    layer = switchable_layers(vgg.switched)["conv1"]
    assert (layer.weight_count, layer.weight_bits) == (8 * 8 * 9, 8)


@pytest.mark.parametrize("other", [DynamicInt8(("Linear",)), recipe("qat_int8")], ids=["dynamic", "qat"])
def test_a_recipe_without_such_layers_is_refused_with_those_that_have_some(vgg, other):
    assert isinstance(other, DynamicInt8 | QatInt8)
    with pytest.raises(QuantizationError) as error:
        vgg.backend.switchable_module(vgg.model, other, vgg.int8, vgg.images[:1])
    assert f"the recipe ({other.kind})" in str(error.value)
    assert "name an experiment of a static int8 recipe, whose layers can be left in fp32, or of a low-bit" in str(
        error.value
    )


def test_a_model_without_any_int8_layer_is_refused(vgg):
    with pytest.raises(QuantizationError, match="VGG16 has no layer in int8 that could be left in fp32"):
        int8_switches(vgg.fused, vgg.model, vgg.images[:1], default_engine())


class Twice(nn.Module):
    """One layer run on two different inputs."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant, self.conv, self.relu = QuantStub(), DeQuantStub(), nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x):
        return self.dequant(self.relu(self.conv(self.relu(self.conv(self.quant(x)))))).mean((2, 3))

    def fuse_model(self, is_qat=False):
        fuse(self, [["conv", "relu"]], is_qat)


def test_a_layer_that_runs_on_inputs_of_two_scales_cannot_be_switched():
    with pytest.raises(QuantizationError, match="'conv' of Twice runs more than once, on inputs of different scales"):
        Quantized(small(Twice), torch.randn(4, 3, 8, 8, generator=LOOK))
