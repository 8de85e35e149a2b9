"""ResNets: their shape, torchvision's beside ours on the same weights, and the published sizes of ResNet-50."""

import copy
import functools

import pytest
import torch
from small_models import small_model
from torch import nn

from quantbench.backends.checkpoint import serialize
from quantbench.backends.kernels import measure_coverage
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import ConfigError
from quantbench.registry import MODELS, RECIPES

OURS = ("resnet20", "resnet18", "resnet50")
TWINS = ("resnet18", "resnet50")
ON_X86 = pytest.mark.skipif(default_engine() != "x86", reason="the published checkpoints are of x86")
MIB = 1 << 20
# Of the published files; 90.03 MB for 23.5 million parameters of 4 bytes are MiB.
FP32_MIB, INT8_MIB, RATIO = 90.03, 22.57, 3.99


def make(name, **params):
    """A model whose batch norms have seen data, in eval mode; a copy of one that is made once."""
    return copy.deepcopy(made(name, **params))


@functools.cache
def made(name, **params):
    """The model that is copied."""
    torch.manual_seed(0)
    return seen(MODELS.create(name, "here", params))


def seen(model):
    """The model in eval mode, its batch norms with statistics of their own."""
    with torch.no_grad():
        for _ in range(2):
            model.train()(torch.randn(4, 3, 32, 32))
    return model.eval()


@functools.cache
def twins(name):
    """torchvision's model and ours with the same weights and at most two blocks a stage, to be read only."""
    torch.manual_seed(0)
    ours, theirs = seen(small_model(name, 7, width=64, stem="imagenet")), small_model(f"torchvision_{name}", 7).eval()
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


def images(n, side=32):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def quantized(model, batch, recipe="static_int8_per_channel"):
    backend = EagerBackend(default_engine())
    return backend.quantize_module(model, RECIPES.create(recipe, "here", {}), lambda: [batch]).model


@functools.cache
def per_channel(name):
    """The quantized model, to be read only."""
    return quantized(made(name), images(4))


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet20", 272_474), ("resnet18", 11_173_962), ("resnet50", 23_520_842)]
)
def test_it_has_the_parameters_of_the_paper_s_network_with_projection_shortcuts(name, parameters):
    assert sum(each.numel() for each in made(name).parameters()) == parameters


@pytest.mark.parametrize(("name", "weighted"), [("resnet20", 20), ("resnet18", 18), ("resnet50", 50)])
def test_its_name_counts_its_weighted_layers(name, weighted):
    layers = [
        layer
        for layer, module in made(name).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in layer
    ]
    assert len(layers) == weighted


@pytest.mark.parametrize(
    ("name", "params", "side", "maps"),
    [
        ("resnet20", {}, 32, [32, 16, 8]),
        ("resnet18", {}, 32, [32, 16, 8, 4]),
        ("resnet50", {}, 32, [32, 16, 8, 4]),
        ("resnet18", {"stem": "imagenet"}, 224, [56, 28, 14, 7]),
    ],
)
def test_each_stage_but_the_first_halves_the_maps(name, params, side, maps):
    model, sides = make(name, **params), []
    for stage in model.stages:
        getattr(model, stage).register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[2]))
    with torch.inference_mode():
        model(images(1, side))
    assert sides == maps


def test_the_stem_for_small_images_pools_nothing():
    assert not any(isinstance(module, nn.MaxPool2d) for module in made("resnet18").modules())
    assert any(isinstance(module, nn.MaxPool2d) for module in made("resnet18", stem="imagenet").modules())


def test_an_unknown_stem_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="stem: Input should be 'cifar' or 'imagenet' \\(given: 'svhn'\\)"):
        MODELS.create("resnet18", "here", {"stem": "svhn"})


@pytest.mark.parametrize("name", TWINS)
def test_torchvision_s_network_takes_our_weights_and_gives_our_logits(name):
    ours = made(name, stem="imagenet", n_classes=7)
    theirs = MODELS.create(f"torchvision_{name}", "here", {"n_classes": 7}).eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        assert torch.equal(ours(images(4)), theirs(images(4)))


@pytest.mark.parametrize("name", TWINS)
def test_torchvision_s_network_quantizes_to_the_same_bits_as_ours(name):
    before, after = (quantized(model, images(4)) for model in twins(name))
    assert set(before.state_dict()) == set(after.state_dict())
    with torch.inference_mode():
        expected, found = before(images(4)), after(images(4))
    assert torch.equal(found, expected)
    assert len(found.unique()) > 7, "logits that are all alike would prove nothing"


@pytest.mark.parametrize("name", TWINS)
def test_torchvision_s_fake_quantized_network_is_ours(name):
    backend, recipe = EagerBackend(default_engine()), RECIPES.create("qat_int8", "here", {})
    prepared = [backend.prepare_module(model, recipe) for model in twins(name)]
    assert set(prepared[0].state_dict()) == set(prepared[1].state_dict())
    assert torch.equal(*(model(images(4)) for model in prepared))


@pytest.mark.parametrize("name", OURS)
def test_everything_runs_in_int8_the_additions_too(name):
    converted = per_channel(name)
    assert measure_coverage(converted, images(1)).int8_share == 1.0
    additions = [m for m in converted.modules() if type(m).__name__ == "QFunctional"]
    blocks = sum(len(getattr(converted, stage)) for stage in converted.stages)
    assert len(additions) == blocks
    # An addition that calibration never saw would keep the scale 1.0 and the zero point 0.
    assert all((m.scale, m.zero_point) != (1.0, 0) for m in additions)


@pytest.mark.parametrize("name", OURS)
def test_every_relu_is_fused_into_a_convolution_or_an_addition(name):
    fused = make(name)
    fused.fuse_model()
    alone = [
        layer
        for layer, module in fused.named_modules()
        if type(module) is nn.ReLU and not layer.rpartition(".")[0].endswith(("conv1", "conv2"))
    ]
    assert alone == []


@ON_X86
def test_resnet50_has_the_published_sizes_untrained():
    model = made("resnet50")
    fp32, one_scale, scales = (
        len(serialize(each.state_dict()))
        for each in (model, quantized(model, images(2), "static_int8_per_tensor"), per_channel("resnet50"))
    )
    assert fp32 / MIB == pytest.approx(FP32_MIB, rel=0.001)
    # Published with one scale per tensor, as this shows; one per channel adds 16 bytes for each of 26,570 of them.
    assert one_scale / MIB == pytest.approx(INT8_MIB, rel=0.001)
    assert fp32 / one_scale == pytest.approx(RATIO, rel=0.001)
    assert fp32 / scales == pytest.approx(RATIO, rel=0.03)
