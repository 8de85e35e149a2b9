"""VGG16 for 32×32 images: thirteen convolutions of the published widths, in int8 and in few bits."""

import pytest
import torch
from torch import nn

from quantbench.backends.checkpoint import serialize
from quantbench.backends.engines import default_engine
from quantbench.backends.low_bit import LowBitBackend
from quantbench.errors import ConfigError
from quantbench.quant.low_bit_layers import QuantConv2d
from quantbench.quant.switchable import switchable_layers
from quantbench.registry import MODELS, RECIPES

PUBLISHED = [
    (3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512),
    *[(512, 512)] * 5,
]  # fmt: skip


def vgg16(**params):
    torch.manual_seed(0)
    return MODELS.create("vgg16", "here", params).eval()


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def test_its_thirteen_convolutions_are_the_published_ones():
    model = vgg16()
    assert [(each.in_channels, each.out_channels) for each in convolutions(model)] == PUBLISHED
    assert all((each.kernel_size, each.padding, each.bias) == ((3, 3), (1, 1), None) for each in convolutions(model))
    assert (model.fc.in_features, model.fc.out_features) == (512, 10)


def test_its_weights_are_as_many_as_the_formula_says():
    in_convolutions = sum(9 * inputs * outputs for inputs, outputs in PUBLISHED)
    in_norms = 2 * sum(outputs for _, outputs in PUBLISHED)
    assert sum(each.numel() for each in vgg16().parameters()) == in_convolutions + in_norms + 512 * 10 + 10


@pytest.mark.parametrize(("width", "expected"), [(0.25, [16, 16, 32, 32, 64]), (0.125, [8, 8, 16, 16, 32])])
def test_a_width_factor_scales_every_layer(width, expected):
    found = [each.out_channels for each in convolutions(vgg16(width=width))]
    assert found[:5] == expected
    assert found == [round(width * outputs) for _, outputs in PUBLISHED]


def test_no_layer_is_left_without_a_channel():
    assert {each.out_channels for each in convolutions(vgg16(width=0.001))} == {1}


@pytest.mark.parametrize("width", [0, -1, 5])
def test_a_width_out_of_range_is_refused(width):
    with pytest.raises(ConfigError, match=rf"here\W+width: Input should be .*\(given: {width}\)"):
        vgg16(width=width)


def test_images_are_halved_after_each_of_the_five_stages():
    model, sides = vgg16(width=0.125), []
    for each in convolutions(model):
        each.register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[2]))
    model(torch.randn(1, 3, 32, 32))
    assert sides == [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]


def test_fusing_leaves_thirteen_convolutions_and_no_norm():
    model = vgg16(width=0.125)
    model.fuse_model()
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds.count("ConvReLU2d") == 13
    assert "BatchNorm2d" not in kinds


def test_the_published_low_bit_network_has_thirteen_switchable_layers_in_the_published_order():
    backend, recipe = LowBitBackend(default_engine()), RECIPES.create("low_bit", "here", {"last_bits": 32})
    prepared = backend.prepare_module(vgg16(width=0.125), recipe)
    assert sum(isinstance(each, QuantConv2d) for each in prepared.modules()) == 13
    layers = switchable_layers(backend.convert_module(prepared).model)
    assert list(layers) == [f"conv{i}" for i in range(13)]
    assert [layer.bits for layer in layers.values()] == [4] * 13


@pytest.mark.parametrize(
    ("width", "bits", "fp32_bytes", "low_bit_bytes"),
    [
        (0.125, 4, 955_443, 161_041), (0.125, 2, 955_443, 103_505),
        (0.25, 4, 3_725_107, 516_945), (0.25, 2, 3_725_107, 286_993),
        (1, 4, 58_954_163, 7_478_417), (1, 2, 58_954_163, 3_800_785),
    ],
)  # fmt: skip
def test_its_files_take_the_bytes_that_the_documentation_says(width, bits, fp32_bytes, low_bit_bytes):
    model = vgg16(width=width)
    recipe = RECIPES.create("low_bit", "here", {"last_bits": 32, "weight_bits": bits})
    low_bit = LowBitBackend(default_engine()).skeleton(model, recipe)
    found = [len(serialize(each.state_dict())) for each in (model, low_bit)]
    # A version of torch may write a few bytes more around each key.
    assert found == pytest.approx([fp32_bytes, low_bit_bytes], rel=0.02)


def test_a_whole_low_bit_network_gives_a_sample_the_same_bits_in_any_batch():
    backend, recipe = LowBitBackend(default_engine()), RECIPES.create("low_bit", "here", {})
    images = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    prepared = backend.prepare_module(vgg16(width=0.125), recipe)
    for module in prepared.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    prepared(images)
    converted = backend.convert_module(prepared).model
    order = torch.randperm(40)
    with torch.inference_mode():
        whole = converted(images)
        assert whole.std(0).min() > 0, "the same logits for all samples would show nothing"
        for size in (1, 7, 16):
            assert torch.equal(torch.cat([converted(part) for part in images.split(size)]), whole)
        assert torch.equal(converted(images[order]), whole[order])
