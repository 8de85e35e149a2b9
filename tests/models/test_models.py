"""Every registered model: its output, its fusing, and that each recipe quantizes it."""

import copy
import functools

import pytest
import torch
from small_models import small_model
from torch import nn

from quantbench.backends.low_bit import LowBitBackend
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import ConfigError
from quantbench.models.quantizable import fuse
from quantbench.quant.low_bit_layers import QuantLayer
from quantbench.registry import MODELS, RECIPES

N_CLASSES = 7
# Of no stubs and no `fuse_model`: other backends than `eager` quantize them.
PLAIN = ("token_transformer", "unet")
FOR_EAGER = [name for name in MODELS.names() if name not in PLAIN]
EVERY_MODEL = pytest.mark.parametrize("name", FOR_EAGER)
# Recipes for some layers have tests of their own, with a model that has layers.
POST_TRAINING = [
    name
    for name in RECIPES.names()
    if not name.startswith(("qat", "low_bit", "function", "ready_made", "weight_only")) and "_layers" not in name
]
# torchvision's networks give the same bits as ours (test_resnet.py), whatever the recipe.
OWN_MODEL = pytest.mark.parametrize("name", [name for name in FOR_EAGER if not name.startswith("torchvision_")])
SHAPES = {"m5": (1, 8000)}
# Of layers that the others have too. One recipe for each way to quantize is enough for them; the recipes that differ in
# observers alone are tried on the others.
LARGE = ("resnet18", "resnet50", "vgg16")
OF_LARGE = ("fp32_baseline", "dynamic_int8", "static_int8_per_channel", "static_int8_pow2")
QUANTIZED = [
    (name, recipe)
    for name in FOR_EAGER
    if not name.startswith("torchvision_")
    for recipe in POST_TRAINING
    if name not in LARGE or recipe in OF_LARGE
]
# At random, thirteen layers in a row add up the noise of each.
LARGEST_NOISE = {"vgg16": 0.15}
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def make(name):
    """A small model whose batch norms hold the statistics of what they saw, in eval mode; a copy of one made once."""
    return copy.deepcopy(made(name))


@functools.cache
def made(name):
    """The model that is copied."""
    torch.manual_seed(0)
    model = small_model(name, N_CLASSES).train()
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    for block in (module for module in model.modules() if hasattr(module, "expansion")):
        # As in trained residual networks a branch adds little; at random they double all noise block by block.
        nn.init.constant_((block.bn3 if hasattr(block, "bn3") else block.bn2).weight, 0.2)
    with torch.no_grad():
        model(inputs(name, 8))
    return model.eval()


def inputs(name, n=4):
    return torch.randn(n, *SHAPES.get(name, (3, 32, 32)), generator=torch.Generator().manual_seed(1))


@EVERY_MODEL
def test_a_model_gives_one_row_of_logits_per_sample(name):
    model = MODELS.create(name, "here", {"n_classes": N_CLASSES}).eval()
    with torch.inference_mode():
        assert model(inputs(name, 3)).shape == (3, N_CLASSES)
        assert model(inputs(name, 1)).dtype == torch.float32


@EVERY_MODEL
def test_a_sample_s_logits_do_not_depend_on_its_neighbours(name):
    model = make(name)
    with torch.inference_mode():
        assert model(inputs(name))[2:3] == pytest.approx(model(inputs(name)[2:3]), abs=1e-4)


@EVERY_MODEL
def test_fusing_for_inference_keeps_the_logits_and_leaves_no_batch_norm(name):
    model = make(name)
    fused = copy.deepcopy(model)
    fused.fuse_model()
    with torch.inference_mode():
        expected, found = model(inputs(name)), fused(inputs(name))
    assert expected.abs().max() > 0.5, "logits near zero would hide a difference"
    assert (found - expected).abs().max() < 1e-4
    assert not any(isinstance(module, BATCH_NORMS) for module in fused.modules())


@EVERY_MODEL
def test_fusing_for_training_keeps_the_logits_and_the_batch_norms(name):
    model = make(name)
    fused = copy.deepcopy(model).train()
    fused.fuse_model(is_qat=True)
    with torch.inference_mode():
        assert (fused.eval()(inputs(name)) - model(inputs(name))).abs().max() < 1e-4
    before, after = (sum(isinstance(m, BATCH_NORMS) for m in each.modules()) for each in (model, fused))
    assert before == after > 0


def test_a_network_without_a_group_to_fuse_stays_as_it_is():
    model = nn.Sequential(nn.Linear(2, 2))
    fuse(model, [], is_qat=False)
    assert [type(module) for module in model] == [nn.Linear]


@pytest.mark.parametrize(("name", "recipe"), QUANTIZED)
def test_every_post_training_recipe_quantizes_the_model_without_losing_its_logits(name, recipe):
    model = make(name)
    backend = EagerBackend(default_engine())
    quantized = backend.quantize_module(model, RECIPES.create(recipe, "here", {}), lambda: [inputs(name, 8)]).model
    with torch.inference_mode():
        expected, found = model(inputs(name, 8)), quantized(inputs(name, 8))
    assert (found - expected).abs().mean() < LARGEST_NOISE.get(name, 0.1) * expected.abs().max()


@EVERY_MODEL
def test_the_model_can_be_fine_tuned_with_fake_quantization(name):
    backend = EagerBackend(default_engine())
    prepared = backend.prepare_module(make(name), RECIPES.create("qat_int8", "here", {}))
    prepared(inputs(name)).sum().backward()
    trained = [parameter for parameter in prepared.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    converted = backend.convert_module(prepared).model
    with torch.inference_mode():
        assert converted(inputs(name)).shape == (4, N_CLASSES)


@OWN_MODEL
def test_the_model_can_be_fine_tuned_in_few_bits_and_each_layer_converts_to_what_it_was(name):
    backend, recipe = LowBitBackend(default_engine()), RECIPES.create("low_bit", "here", {})
    model = make(name)
    backend.rehearse_module(model, recipe, inputs(name, 2))
    prepared = backend.prepare_module(model, recipe)
    prepared(inputs(name)).sum().backward()
    assert all(parameter.grad is not None for parameter in prepared.parameters())
    converted, differences = backend.convert_module(prepared).model, []

    # Layer by layer, since a sum that is rounded otherwise may tip an activation into the next of 16 codes.
    def compare(layer, given, output):
        other = converted.get_submodule(names[layer])(given[0])
        differences.append(float((other - output).abs().max() / output.abs().max()))

    names = {each: layer for layer, each in prepared.eval().named_modules() if isinstance(each, QuantLayer)}
    for layer in names:
        layer.register_forward_hook(compare)
    with torch.inference_mode():
        prepared(inputs(name))
    assert len(differences) == len(names) > 0
    assert max(differences) < 1e-5


@EVERY_MODEL
def test_a_head_of_one_class_is_refused(name):
    with pytest.raises(ConfigError, match=r"here\W+n_classes: Input should be greater than or equal to 2 \(given: 1\)"):
        MODELS.create(name, "here", {"n_classes": 1})


def test_cifar_cnn_has_six_triples_and_a_head_of_the_specified_sizes():
    model = MODELS.create("cifar_cnn", "here", {})
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128),
    ]  # fmt: skip
    assert all(c.kernel_size == (3, 3) and c.padding == (1, 1) for c in convolutions)
    norms = [module.num_features for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == [32, 32, 64, 64, 128, 128]
    heads = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [(head.in_features, head.out_features) for head in heads] == [(128, 10)]
    assert sum(isinstance(module, nn.ReLU) for module in model.modules()) == 6


def test_cifar_cnn_halves_its_maps_twice_and_then_averages_them():
    model, sides = make("cifar_cnn"), []
    for i in range(1, 7):
        getattr(model, f"conv{i}").register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[2]))
    model(inputs("cifar_cnn", 1))
    assert sides == [32, 32, 16, 16, 8, 8]
