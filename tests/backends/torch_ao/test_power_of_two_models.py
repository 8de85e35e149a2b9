"""Models with power-of-two scales: converted after training, and in training, where the scales move."""

import math

import pytest
import torch
from tiny_model import tiny_cnn
from tiny_residual import Residual
from torch.ao import quantization as ao

from quantbench.backends.checkpoint import serialize
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.backends.torch_ao.power_of_two import OBSERVERS
from quantbench.backends.torch_ao.qconfigs import power_of_two_qat_qconfig, power_of_two_qconfig
from quantbench.backends.torch_ao.steps import calibrate, convert, fuse, prepare, prepare_qat
from quantbench.registry import RECIPES
from quantbench.upstream import silenced

HERE = default_engine()
ENGINES = [name for name in ("x86", "qnnpack") if name in torch.backends.quantized.supported_engines]
SAMPLES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _engine_of_the_process():
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


def is_power_of_two(scale):
    return math.frexp(float(scale))[0] == 0.5


def scales_of(converted):
    """Every scale of a converted model: of activations, and of weights as a list per layer."""
    found = {}
    for name, module in converted.named_modules():
        if isinstance(getattr(module, "scale", None), float | torch.Tensor):
            found[name] = [float(module.scale)]
        weight = getattr(module, "weight", None)
        if callable(weight):
            packed = weight()
            per_channel = packed.qscheme() == torch.per_channel_affine
            found[f"{name}.weight"] = packed.q_per_channel_scales().tolist() if per_channel else [packed.q_scale()]
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("max_shift", [6, 8, 12])
def test_every_scale_of_a_converted_model_is_a_power_of_two_within_max_shift(engine, max_shift):
    backend = EagerBackend(engine)
    recipe = RECIPES.create("static_int8_pow2", "here", {"max_shift": max_shift})
    scales = scales_of(backend.quantize_module(Residual().eval(), recipe, lambda: [SAMPLES]).model)
    layers = ("conv", "layers.0.conv1", "layers.0.conv2", "fc")
    assert scales.keys() == {"quant", "layers.0.functional", *layers, *(f"{layer}.weight" for layer in layers)}
    every = [scale for of_one in scales.values() for scale in of_one]
    assert all(is_power_of_two(scale) and 2.0**-max_shift <= scale <= 1 for scale in every)
    assert len(set(every)) > 1


def test_the_default_recipe_s_scales_are_none():
    scales = scales_of(EagerBackend(HERE).quantize_module(
        Residual().eval(), RECIPES.create("static_int8", "here", {}), lambda: [SAMPLES]
    ).model)  # fmt: skip
    assert not any(is_power_of_two(scale) for of_one in scales.values() for scale in of_one)


def fake_quantizers(prepared):
    return {name: each for name, each in prepared.named_modules() if isinstance(each, ao.FakeQuantize)}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_scales_of_training_are_powers_of_two_at_every_step_and_those_of_the_converted_model(engine):
    torch.manual_seed(0)
    backend = EagerBackend(engine)
    prepared = backend.prepare_module(Residual(), RECIPES.create("qat_int8_pow2", "here", {"max_shift": 10}))
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.5)
    seen = set()
    for step in range(12):
        optimizer.zero_grad()
        prepared((1 + step) * SAMPLES).square().mean().backward()
        optimizer.step()
        scales = [float(scale) for each in fake_quantizers(prepared).values() for scale in each.scale]
        assert all(is_power_of_two(scale) for scale in scales)
        seen.add(tuple(scales))
    assert len(seen) > 1, "they moved"
    backend.freeze(prepared)
    prepared.eval()(SAMPLES)
    trained = {name: each.scale.tolist() for name, each in fake_quantizers(prepared).items()}
    converted = scales_of(backend.convert_module(prepared).model)
    for name, scales in trained.items():
        layer = name.replace(".activation_post_process", "").replace(".weight_fake_quant", ".weight")
        assert converted[layer] == scales
    assert len(trained) == len(converted)


def test_a_model_in_training_computes_with_the_very_values_of_its_scales():
    torch.manual_seed(0)
    prepared = prepare_qat(fuse(tiny_cnn().train(), is_qat=True), power_of_two_qat_qconfig(HERE))
    seen = []
    prepared.quant.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    prepared(SAMPLES)
    scale = float(prepared.quant.activation_post_process.scale)
    assert is_power_of_two(scale)
    assert torch.equal(seen[0] / scale, torch.round(seen[0] / scale))


def test_torch_s_fused_fake_quantizer_would_compute_scales_of_its_own():
    # Why ours is not the fused one; when this fails, it may be.
    fused = ao.FusedMovingAvgObsFakeQuantize(observer=OBSERVERS["MovingAverageMinMaxObserver"])
    fused(SAMPLES)
    assert not is_power_of_two(fused.scale)


def test_gradients_pass_where_nothing_is_clipped_and_stop_where_something_is():
    with silenced():
        fake = power_of_two_qat_qconfig(HERE).activation()
    fake(torch.tensor([0.0, 1.0]))
    fake.disable_observer()
    x = torch.tensor([0.3, 5.0], requires_grad=True)
    fake(x).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_the_qconfigs_are_the_recipes_own():
    backend = EagerBackend(HERE)
    recipe = RECIPES.create("static_int8_pow2", "here", {"max_shift": 9})
    model = tiny_cnn().eval()
    prepared = prepare(fuse(model), power_of_two_qconfig(HERE, max_shift=9))
    calibrate(prepared, [SAMPLES])
    by_hand = convert(prepared).state_dict()
    assert serialize(by_hand) == serialize(backend.quantize_module(model, recipe, lambda: [SAMPLES]).model.state_dict())


def test_the_description_of_observers_names_the_finest_scale():
    recipe = RECIPES.create("static_int8_pow2", "here", {"max_shift": 9})
    observers = EagerBackend(HERE).quantize_module(tiny_cnn().eval(), recipe, lambda: [SAMPLES]).observers
    top = 127 if HERE == "x86" else 255
    weight = "PowerOfTwoPerChannelMinMaxObserver(qint8, per_channel_symmetric, -128..127, scale ≥ 2^-9)"
    assert observers["conv"] == {
        "activation": f"PowerOfTwoHistogramObserver(quint8, per_tensor_affine, 0..{top}, scale ≥ 2^-9)",
        "weight": weight,
    }
