"""Torchvision's own quantizable models go the whole way; the larger ones in `benchmarks/torchvision_models.py`."""

import copy

import pytest
import torch
from stepped import HERE, QCONFIG
from torch.ao import quantization as ao
from torchvision.models import quantization

from quantbench.backends.engines import engine_in_use
from quantbench.backends.torch_ao.eager import EagerBackend
from quantbench.registry import RECIPES
from quantbench.upstream import silenced

# Small images, of which the last maps keep more than a pixel where the model takes a mean over them.
SIZES = {"inception_v3": 75, "shufflenet_v2_x0_5": 33, "shufflenet_v2_x1_0": 33}
WITHOUT_AUX = {"aux_logits": False, "init_weights": False}
BACKEND = EagerBackend(HERE)


def made(name):
    """An untrained model and samples."""
    size = SIZES.get(name, 32)
    params = WITHOUT_AUX if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(quantization, name)(weights=None, quantize=False, num_classes=5, **params)
        return model.eval(), torch.randn(2, 3, size, size)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "resnet50", "shufflenet_v2_x1_0"])
def test_the_model_is_let_through_by_a_rehearsal(name):
    model, samples = made(name)
    BACKEND.rehearse_module(model, RECIPES.create("static_int8_per_channel", "here", {}), samples)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "resnet18", "shufflenet_v2_x0_5"])
def test_after_training_the_model_is_what_torch_makes_of_it_by_hand(name):
    model, samples = made(name)
    recipe = RECIPES.create("static_int8_per_channel", "here", {})
    converted = BACKEND.quantize_module(model, recipe, lambda: [samples]).model
    with engine_in_use(HERE), torch.inference_mode(), silenced():
        by_hand = copy.deepcopy(model)
        by_hand.fuse_model()
        by_hand.qconfig = QCONFIG
        ao.prepare(by_hand, inplace=True)(samples)
        expected = ao.convert(by_hand, inplace=True)(samples)
        assert torch.equal(converted(samples), expected)


# These have functionals that are never called.
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large"])
def test_after_quantization_aware_training_the_model_converts(name):
    model, samples = made(name)
    recipe = RECIPES.create("qat_int8", "here", {})
    BACKEND.rehearse_module(model, recipe, samples)
    prepared = BACKEND.prepare_module(model, recipe)
    with torch.inference_mode():
        prepared(samples)
        assert BACKEND.convert_module(prepared).model(samples).shape == (2, 5)
