"""The eager backend: what each recipe makes of a model on each engine."""

import copy
from dataclasses import replace

import pytest
import torch
from artifacts import named
from tiny_model import tiny_cnn
from torch import nn

from quantbench.backends.engines import engine_in_use
from quantbench.backends.torch_ao.eager import EagerBackend, EnginePredictor, default_engine
from quantbench.backends.torch_ao.qconfigs import static_qconfig
from quantbench.errors import EvaluationError, QuantizationError
from quantbench.recipes.spec import HISTOGRAM_ACTIVATION, PER_CHANNEL_WEIGHT, StaticInt8
from quantbench.registry import BACKENDS, RECIPES
from quantbench.upstream import silenced

ENGINES = ("x86", "qnnpack")
PER_TENSOR = {"dtype": torch.qint8, "qscheme": torch.per_tensor_affine, "axis": None}
PER_CHANNEL = {"dtype": torch.qint8, "qscheme": torch.per_channel_affine, "axis": 0}
# Of convolution and linear layer; None is fp32. Symmetric schemes are stored as affine ones whose zero point is 0.
WEIGHTS = {
    ("fp32_baseline", "x86"): (None, None),
    ("fp32_baseline", "qnnpack"): (None, None),
    ("dynamic_int8", "x86"): (None, PER_TENSOR),
    ("dynamic_int8", "qnnpack"): (None, PER_TENSOR),
    ("static_int8_per_tensor", "x86"): (PER_TENSOR, PER_TENSOR),
    ("static_int8_per_tensor", "qnnpack"): (PER_TENSOR, PER_TENSOR),
    ("static_int8_per_channel", "x86"): (PER_CHANNEL, PER_CHANNEL),
    ("static_int8_per_channel", "qnnpack"): (PER_CHANNEL, PER_CHANNEL),
    ("static_int8", "x86"): (PER_CHANNEL, PER_CHANNEL),
    ("static_int8", "qnnpack"): (PER_TENSOR, PER_TENSOR),
    ("static_int8_histogram", "x86"): (PER_CHANNEL, PER_CHANNEL),
    ("static_int8_histogram", "qnnpack"): (PER_TENSOR, PER_TENSOR),
    ("static_int8_full_range", "x86"): (PER_CHANNEL, PER_CHANNEL),
    ("static_int8_full_range", "qnnpack"): (PER_CHANNEL, PER_CHANNEL),
    ("static_int8_pow2", "x86"): (PER_CHANNEL, PER_CHANNEL),
    ("static_int8_pow2", "qnnpack"): (PER_CHANNEL, PER_CHANNEL),
    ("qat_int8", "x86"): (PER_CHANNEL, PER_CHANNEL),
    ("qat_int8", "qnnpack"): (PER_CHANNEL, PER_CHANNEL),
    ("qat_int8_pow2", "x86"): (PER_CHANNEL, PER_CHANNEL),
    ("qat_int8_pow2", "qnnpack"): (PER_CHANNEL, PER_CHANNEL),
}
EVERY_RECIPE = pytest.mark.parametrize("name", sorted({name for name, _ in WEIGHTS}))
HERE = default_engine()


def on(engine, *values):
    """A parameter for tests that need an engine, skipped where torch was built without it."""
    missing = engine not in torch.backends.quantized.supported_engines
    return pytest.param(engine, *values, marks=pytest.mark.skipif(missing, reason=f"torch has no {engine} here"))


EVERY_ENGINE = pytest.mark.parametrize("engine", [on(engine) for engine in ENGINES])


@pytest.fixture(autouse=True)
def _engine_of_the_process():
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


@pytest.fixture
def model():
    """A model whose batch norm has seen data, so that folding it changes every weight."""
    torch.manual_seed(0)
    model = tiny_cnn().train()
    for _ in range(3):
        model(3 * inputs() + 1)
    return model.eval()


def inputs():
    return torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def recipe(name):
    return RECIPES.create(name, "here", {})


def quantize(backend, model, name):
    if not name.startswith("qat"):
        return backend.quantize_module(model, recipe(name), lambda: [inputs()])
    prepared = backend.prepare_module(model, recipe(name))
    prepared(inputs())
    return backend.convert_module(prepared)


def described(weight):
    if not weight.is_quantized:
        return None
    axis = weight.q_per_channel_axis() if weight.qscheme() == torch.per_channel_affine else None
    return {"dtype": weight.dtype, "qscheme": weight.qscheme(), "axis": axis}


def weight_of(layer):
    return layer.weight() if callable(layer.weight) else layer.weight


def test_every_registered_recipe_is_in_the_table_of_expected_weights():
    # Recipes for some layers have tests of their own, with a model that has layers; low-bit ones have another backend,
    # and the rest is quantized by others.
    others = ("_layers", "low_bit", "function", "ready_made", "weight_only_int8", "weight_only_int4")
    assert {name for name in RECIPES.names() if not name.endswith(others)} == {name for name, _ in WEIGHTS}


@EVERY_ENGINE
@EVERY_RECIPE
def test_weights_have_the_dtype_scheme_and_axis_of_the_recipe(model, name, engine):
    quantized = quantize(EagerBackend(engine), model, name).model
    found = tuple(described(weight_of(layer)) for layer in (quantized.conv, quantized.fc))
    assert found == WEIGHTS[name, engine]


@EVERY_ENGINE
@EVERY_RECIPE
def test_the_given_model_is_never_changed(model, name, engine):
    state = copy.deepcopy(model.state_dict())
    before = [(key, type(module), module.training) for key, module in model.named_modules()]
    backend = EagerBackend(engine)
    quantize(backend, model, name)
    backend.skeleton(model, recipe(name))
    assert [(key, type(module), module.training) for key, module in model.named_modules()] == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not hasattr(model, "qconfig")


@EVERY_ENGINE
@EVERY_RECIPE
def test_a_skeleton_filled_from_the_saved_state_gives_the_same_bits(model, name, engine):
    backend = EagerBackend(engine)
    quantized = quantize(backend, model, name).model
    skeleton = backend.skeleton(tiny_cnn().eval(), recipe(name))
    with torch.inference_mode(), engine_in_use(engine):
        skeleton.load_state_dict(quantized.state_dict())
        expected, found = quantized(inputs()), skeleton.eval()(inputs())
    assert found.numpy().tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize(("engine", "steps"), [on("x86", 127), on("qnnpack", 255)])
@pytest.mark.parametrize("name", ["static_int8_per_tensor", "static_int8_per_channel", "qat_int8"])
def test_activations_keep_one_bit_free_on_x86_only(model, name, engine, steps):
    quantized = quantize(EagerBackend(engine), model, name)
    x = inputs()
    assert quantized.model.quant.scale.item() == pytest.approx((x.max() - x.min()).item() / steps, rel=1e-5)
    activations = [layer["activation"] for layer in quantized.observers.values()]
    assert len(activations) == 3
    assert all(text.endswith(f"quint8, per_tensor_affine, 0..{steps})") for text in activations)


def test_one_scale_per_output_channel_is_that_channels_largest_weight(model):
    weight = quantize(EagerBackend(HERE), model, "static_int8_per_channel").model.conv.weight()
    bn = model.bn
    folded = model.conv.weight * (bn.weight / torch.sqrt(bn.running_var + bn.eps)).view(-1, 1, 1, 1)
    expected = folded.detach().abs().flatten(1).amax(1) / 127.5
    assert weight.q_per_channel_scales().float() == pytest.approx(expected, rel=1e-5)
    assert weight.q_per_channel_zero_points().eq(0).all()


def test_one_scale_per_tensor_is_its_largest_weight(model):
    weight = quantize(EagerBackend(HERE), model, "static_int8_per_tensor").model.fc.weight()
    assert weight.q_scale() == pytest.approx(model.fc.weight.abs().max().item() / 127.5, rel=1e-5)
    assert weight.q_zero_point() == 0


@EVERY_ENGINE
def test_the_full_range_is_used_on_every_engine_and_nothing_else_of_the_default_changes(model, engine):
    full = quantize(EagerBackend(engine), model, "static_int8_full_range").observers
    activations = {entry["activation"] for entry in full.values()}
    assert activations == {"HistogramObserver(quint8, per_tensor_affine, 0..255)"}
    if engine == "x86":
        usual = quantize(EagerBackend(engine), model, "static_int8_histogram").observers
        assert {layer: entry.get("weight") for layer, entry in full.items()} == {
            layer: entry.get("weight") for layer, entry in usual.items()
        }


@pytest.mark.parametrize(
    ("reduce_range", "engine", "top"),
    [(None, "x86", 127), (False, "x86", 255), (True, "x86", 127), (None, "qnnpack", 255), (True, "qnnpack", 127)],
)
def test_a_bit_of_activations_is_left_free_as_the_recipe_says_or_else_as_the_engine_needs(reduce_range, engine, top):
    activation = replace(HISTOGRAM_ACTIVATION, reduce_range=reduce_range)
    qconfig = static_qconfig(StaticInt8(activation, PER_CHANNEL_WEIGHT, 1), engine)
    with silenced():
        assert (qconfig.activation().quant_max, qconfig.weight().quant_max) == (top, 127)


def test_a_range_that_torch_cannot_find_for_each_channel_is_refused_with_those_that_it_can():
    recipe = StaticInt8(HISTOGRAM_ACTIVATION, replace(HISTOGRAM_ACTIVATION, granularity="per_channel"), 1)
    with pytest.raises(QuantizationError, match=r"no histogram range per_channel; .* per_channel: minmax, moving_aver"):
        static_qconfig(recipe, HERE)


@pytest.mark.parametrize("engine", [on("x86")])
def test_the_description_of_observers_names_every_layer_and_what_watches_it(model, engine):
    observers = quantize(EagerBackend(engine), model, "static_int8_histogram").observers
    activation = "HistogramObserver(quint8, per_tensor_affine, 0..127)"
    weight = "PerChannelMinMaxObserver(qint8, per_channel_symmetric, -128..127)"
    both = {"activation": activation, "weight": weight}
    assert observers == {"quant": {"activation": activation}, "conv": both, "fc": both}


def test_calibration_is_called_only_by_recipes_that_calibrate(model):
    def never():
        raise AssertionError("calibration was asked for")

    backend = EagerBackend(HERE)
    backend.quantize_module(model, recipe("fp32_baseline"), never)
    backend.quantize_module(model, recipe("dynamic_int8"), never)
    with pytest.raises(AssertionError, match="asked for"):
        backend.quantize_module(model, recipe("static_int8_per_tensor"), never)


def test_a_layer_whose_qconfig_is_none_stays_fp32(model):
    model.fc.qconfig = None
    quantized = quantize(EagerBackend(HERE), model, "static_int8_per_channel")
    assert type(quantized.model.fc) is nn.Linear
    assert set(quantized.observers) == {"quant", "conv"}


def test_freezing_stops_batch_norm_and_observers(model):
    backend = EagerBackend(HERE)
    prepared = backend.prepare_module(model, recipe("qat_int8"))
    # A fused layer keeps its batch norm inside; fake quantizers carry their observer's range.
    watched = ("running_mean", "running_var", "min_val", "max_val", "scale")

    def statistics():
        return {key: value.clone() for key, value in prepared.state_dict().items() if key.endswith(watched)}

    def moved_by_a_batch():
        before = statistics()
        prepared(5 * inputs())
        return {key for key, value in statistics().items() if not torch.equal(value, before[key])}

    prepared(inputs())
    assert {"conv.bn.running_mean", "quant.activation_post_process.scale"} <= moved_by_a_batch()
    backend.freeze(prepared)
    assert moved_by_a_batch() == set()


@EVERY_ENGINE
def test_the_engine_named_is_the_process_s_while_the_backend_works_and_not_longer(model, engine):
    before, seen = torch.backends.quantized.engine, []
    backend = BACKENDS.create("eager", "here", {"engine": engine})
    assert (backend.engine, torch.backends.quantized.engine) == (engine, before)
    int8 = quantize(backend, model, "static_int8_per_tensor").model
    assert torch.backends.quantized.engine == before
    int8.register_forward_pre_hook(lambda *_: seen.append(torch.backends.quantized.engine))
    EnginePredictor(int8, None, engine)(named(inputs()))
    assert (seen, torch.backends.quantized.engine) == ([engine], before)


@EVERY_ENGINE
def test_the_engine_before_comes_back_after_an_error_too(model, engine):
    before = torch.backends.quantized.engine
    with pytest.raises(EvaluationError):
        EnginePredictor(lambda _: None, None, engine)(named(inputs()))
    with pytest.raises(QuantizationError, match="calibration saw no sample"):
        EagerBackend(engine).quantize_module(model, recipe("static_int8_per_tensor"), list)
    assert torch.backends.quantized.engine == before


def test_the_engine_defaults_to_the_processor_s():
    assert BACKENDS.create("eager", "here", {}).engine == HERE


@pytest.mark.parametrize(
    ("processor", "engine"), [("x86_64", "x86"), ("AMD64", "x86"), ("aarch64", "qnnpack"), ("arm64", "qnnpack")]
)
def test_the_engine_follows_the_processor(monkeypatch, processor, engine):
    monkeypatch.setattr("platform.machine", lambda: processor)
    assert default_engine() == engine
