"""Neutral recipes run by ONNX Runtime's tools on files of ONNX."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import MACS, artifact_of, model, network, onnxruntime, samples

from quantbench.backends.interface import Calibration
from quantbench.backends.onnx_runtime import quantization
from quantbench.backends.onnx_runtime.recipes import refusal
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import (
    HISTOGRAM_ACTIVATION,
    PER_CHANNEL_WEIGHT,
    PER_TENSOR_ACTIVATION,
    PER_TENSOR_WEIGHT,
    DynamicInt8,
    Fp32,
    Quantizer,
    ReadyMade,
    StaticInt8,
)
from quantbench.registry import RECIPES

STATIC = StaticInt8(PER_TENSOR_ACTIVATION, PER_CHANNEL_WEIGHT, 8)


def quantized(folder, recipe=STATIC, proto=None, batches=None, **params):
    """Backend and what it made of a model."""
    folder.mkdir(exist_ok=True)
    backend = onnxruntime(**params).create()
    reference = artifact_of(proto or network(), folder / "fp32.onnx", **params)
    calibration = Calibration(batches or (lambda: [samples(seed=1), samples(seed=2)]), samples(2))
    (folder / "made").mkdir(exist_ok=True)
    return backend, backend.quantize(reference, recipe, calibration, folder / "made")


def values(made):
    """Initializers of what was made."""
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(made.artifact.path).graph.initializer}


def difference(folder, recipe):
    """Largest difference of an output to that of the float model, as a share of the largest."""
    backend, made = quantized(folder, recipe)
    inputs = samples(seed=1)
    expected = backend.load(artifact_of(network(), folder / "fp32.onnx"), 1)(inputs)["output"]
    return np.abs(backend.load(made.artifact, 1)(inputs)["output"] - expected).max() / np.abs(expected).max()


RECIPES_HERE = [
    "dynamic_int8", "fp32_baseline", "static_int8", "static_int8_full_range", "static_int8_per_channel",
    "static_int8_per_tensor", "static_int8_pow2",
]  # fmt: skip


@pytest.mark.parametrize("name", RECIPES_HERE)
def test_a_recipe_gives_nearly_what_the_float_model_gives(name, tmp_path):
    limit = {"fp32_baseline": 0.0, "static_int8_pow2": 0.1}.get(name, 0.05)
    assert difference(tmp_path, RECIPES.create(name, "here", {})) <= limit


@pytest.mark.parametrize("ends", ["minmax", "moving_average", "histogram"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
def test_activations_are_quantized_as_the_recipe_says(ends, dtype, scheme, tmp_path):
    recipe = StaticInt8(Quantizer(ends, dtype, "per_tensor", scheme), PER_CHANNEL_WEIGHT, 8)
    backend, made = quantized(tmp_path, recipe)
    found = values(made)
    zero_point = found["input_zero_point"]
    assert zero_point.dtype == dtype
    assert (zero_point == {"uint8": 128, "int8": 0}[dtype]) == (scheme == "symmetric")
    expected = backend.load(artifact_of(network(), tmp_path / "b.onnx"), 1)(samples(seed=2))["output"]
    assert np.abs(backend.load(made.artifact, 1)(samples(seed=2))["output"] - expected).max() < 0.1


@pytest.mark.parametrize(("weight", "shape"), [(PER_CHANNEL_WEIGHT, (8,)), (PER_TENSOR_WEIGHT, ())])
def test_weights_have_a_scale_for_each_channel_or_one(weight, shape, tmp_path):
    backend, made = quantized(tmp_path, StaticInt8(PER_TENSOR_ACTIVATION, weight, 8))
    found = values(made)
    assert found["conv1.weight_quantized"].dtype == np.int8
    assert found["conv1.weight_scale"].shape == shape
    entry = backend.describe(made.artifact).keys["conv1.weight_quantized"]
    kind = "per_channel" if shape else "per_tensor"
    assert entry == {"dtype": "int8", "shape": [8, 3, 3, 3], "qscheme": f"{kind}_symmetric"} | (
        {"axis": 0} if shape else {}
    )


def test_weights_may_be_unsigned(tmp_path):
    weight = Quantizer("minmax", "uint8", "per_tensor", "affine")
    assert values(quantized(tmp_path, StaticInt8(PER_TENSOR_ACTIVATION, weight, 8))[1])[
        "conv1.weight_quantized"
    ].dtype == np.uint8  # fmt: skip


def test_the_range_of_an_activation_is_that_of_its_batches(tmp_path):
    found = values(quantized(tmp_path)[1])
    both = np.concatenate([samples(seed=seed)["input"] for seed in (1, 2)])
    assert found["input_scale"] == pytest.approx((both.max() - both.min()) / 255)


def test_scales_are_powers_of_two_where_the_recipe_asks_for_them(tmp_path):
    found = values(quantized(tmp_path, RECIPES.create("static_int8_pow2", "here", {"calibration_n": 8}))[1])
    scales = {name: value for name, value in found.items() if name.endswith("_scale")}
    assert len(scales) > 6
    for name, scale in scales.items():
        logs = np.log2(scale.astype(np.float64))
        np.testing.assert_array_equal(logs, np.round(logs), err_msg=name)
    weights = {"conv1.weight_scale", "conv2.weight_scale", "fc.weight_scale"}
    assert all((-np.log2(scales[name]) <= 8).all() for name in weights)


def test_power_of_two_scales_per_tensor_are_those_of_the_formula(tmp_path):
    activation, weight = (Quantizer(*kind, max_shift=4) for kind in (
        ("minmax", "uint8", "per_tensor", "affine"), ("minmax", "int8", "per_tensor", "symmetric")))  # fmt: skip
    found = values(quantized(tmp_path, StaticInt8(activation, weight, 8))[1])
    assert found["conv1.weight_scale"] == 2.0**-4
    both = np.concatenate([samples(seed=seed)["input"] for seed in (1, 2)])
    exact = (float(both.max()) - float(both.min())) / 255
    assert found["input_scale"] == 2.0**-4 != exact
    assert found["input_zero_point"] == round(-float(both.min()) / exact)


@pytest.mark.parametrize("saturates", [True, False])
def test_a_bit_of_the_weights_is_left_free_where_the_processor_needs_it(saturates, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "saturates", lambda: saturates)
    largest = np.abs(values(quantized(tmp_path)[1])["conv1.weight_quantized"].astype(int)).max()
    assert (largest <= 64) == saturates
    full = RECIPES.create("static_int8_full_range", "here", {"calibration_n": 8})
    assert np.abs(values(quantized(tmp_path / "full", full)[1])["conv1.weight_quantized"].astype(int)).max() > 64


def test_observers_say_which_layers_were_quantized_and_how(tmp_path):
    observers = quantized(tmp_path)[1].artifact.observers
    assert list(observers) == list(MACS)
    assert observers["conv1"] == {
        "activation": "minmax uint8 per_tensor affine", "weight": "minmax int8 per_channel symmetric"}  # fmt: skip


@pytest.mark.parametrize("recipe", [STATIC, DynamicInt8(("Linear",)), Fp32()], ids=lambda recipe: recipe.kind)
def test_equal_inputs_give_equal_bytes(recipe, tmp_path):
    first, second = (quantized(tmp_path / name, recipe)[1].artifact for name in "ab")
    assert first.sha256 == second.sha256


def test_what_was_saved_is_what_was_made(tmp_path):
    backend, made = quantized(tmp_path)
    found, expected = backend.load(made.artifact, 1)(samples()), made.converted(samples())
    assert found["output"].tobytes() == expected["output"].tobytes()
    proto = onnx.load(made.artifact.path)
    assert [each for each in (proto, proto.graph, *proto.graph.node) if each.metadata_props or each.doc_string] == []


def test_a_model_with_a_fixed_batch_is_calibrated_in_its_parts(tmp_path):
    found = values(quantized(tmp_path, proto=network(batch=3))[1])
    both = np.concatenate([samples(seed=seed)["input"] for seed in (1, 2)])
    assert found["input_scale"] == pytest.approx((both.max() - both.min()) / 255)


def test_the_layers_of_a_hybrid_are_named_by_their_nodes(tmp_path):
    backend, made = quantized(tmp_path, StaticInt8(None, None, 8, layers=("conv2", "relu2")))
    assert list(made.artifact.observers) == ["conv2"]
    assert backend.kernels(made.artifact, samples(1)).int8_layers == {"conv2": MACS["conv2"]}


def test_a_hybrid_without_layers_is_the_float_model(tmp_path):
    backend, made = quantized(tmp_path, StaticInt8(None, None, 8, layers=()))
    assert backend.kernels(made.artifact, samples(1)).int8_macs == 0


# What cannot be done.
REFUSED = {
    "qat_int8": "onnxruntime has no quantization-aware training: use backend: eager, or a static_int8 recipe",
    "low_bit": "onnxruntime has no kernels of a few bits for convolutions: use backend: low_bit",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_trained_recipe_is_refused_with_what_to_use_instead(name, tmp_path):
    recipe = RECIPES.create(name, "here", {})
    assert onnxruntime().create().supports(recipe) == REFUSED[name]
    with pytest.raises(QuantizationError, match=f"^{REFUSED[name]}$"):
        quantized(tmp_path, recipe)


def test_a_candidate_that_was_made_elsewhere_is_not_made_here(tmp_path):
    assert onnxruntime().create().supports(ReadyMade("a.onnx")) is None
    with pytest.raises(QuantizationError, match=r"^onnxruntime makes nothing by a recipe of kind ready_made$"):
        quantized(tmp_path, ReadyMade("a.onnx"))


A, W = PER_TENSOR_ACTIVATION, PER_CHANNEL_WEIGHT
QUANTIZERS = {
    "activations per channel": (
        (Quantizer("minmax", "uint8", "per_channel", "affine"), W), "no scale per channel for activations: use gran"),
    "weights by histogram": (
        (A, Quantizer("histogram", "int8", "per_tensor", "symmetric")), "use range: minmax for them"),
    "powers of two in one": ((HISTOGRAM_ACTIVATION, Quantizer("minmax", "int8", "per_tensor", "symmetric", None, 8)),
                             "give both a max_shift"),
    "zero points per channel": (
        (A, Quantizer("minmax", "int8", "per_channel", "affine")), "use scheme: symmetric for weights, or granularity"),
}  # fmt: skip


@pytest.mark.parametrize(("quantizers", "told"), QUANTIZERS.values(), ids=QUANTIZERS)
def test_a_quantizer_that_no_kernel_has_is_refused_with_an_alternative(quantizers, told):
    reason = refusal(StaticInt8(*quantizers, 8))
    assert reason.startswith("onnxruntime")
    assert told in reason


def test_a_layer_without_a_dynamic_form_is_refused():
    assert refusal(DynamicInt8(("Linear", "GRU"))) == (
        "onnxruntime has no dynamic form of a layer 'GRU'; it has them of Linear, LSTM, Conv1d, Conv2d"
    )


def test_convolutions_have_a_dynamic_form(tmp_path):
    backend, made = quantized(tmp_path, DynamicInt8(("Conv2d",)))
    assert backend.kernels(made.artifact, samples(1)).int8_layers.keys() == {"conv1", "conv2"}


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(QuantizationError, match=r"unknown layer of the model 'conv9'\. Did you mean '.*'\? Known: con"):
        quantized(tmp_path, StaticInt8(None, None, 8, layers=("conv9",)))


def test_a_group_of_layers_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(QuantizationError, match=r"unknown layer of the model 'b'\. Known: block1, conv1, conv2, fc$"):
        quantization._nodes_of(network(), ("b",), {"block1": ("conv1",)})
    assert quantization._nodes_of(network(), ("block1",), {"block1": ("conv1", "bn1", "relu1")}) == ["conv1", "relu1"]


def test_a_bias_with_an_axis_of_one_is_quantized_as_one_without(tmp_path):
    wide = network()
    bias = next(each for each in wide.graph.initializer if each.name == "fc.bias")
    bias.dims.insert(0, 1)
    assert quantized(tmp_path / "a", proto=wide)[1].artifact.sha256 == quantized(tmp_path / "b")[1].artifact.sha256


def test_upstream_s_hints_do_not_reach_the_terminal(tmp_path, capfd):
    spare = network()
    spare.graph.initializer.extend([numpy_helper.from_array(np.zeros(3, "f"), "spare")])
    quantized(tmp_path, proto=spare)
    assert capfd.readouterr() == ("", "")


PICTURE = ["n", 3, 8, 8]


@pytest.mark.parametrize("recipe", [STATIC, DynamicInt8(("Linear",))], ids=lambda recipe: recipe.kind)
def test_a_model_in_which_nothing_can_be_quantized_is_refused(recipe, tmp_path):
    proto = model([helper.make_node("Relu", ["input"], ["output"])], {"input": PICTURE}, {"output": PICTURE})
    with pytest.raises(QuantizationError, match=r"^onnxruntime: nothing was quantized: there is no .* constant weight"):
        quantized(tmp_path, recipe, proto)


def test_a_model_of_integers_alone_cannot_be_calibrated(tmp_path):
    kind = helper.make_tensor_type_proto(TensorProto.INT64, ["n", 2])
    proto = model([helper.make_node("Neg", ["input"], ["output"])], {"input": kind}, {"output": kind})
    with pytest.raises(QuantizationError, match="no activation of this model has a known type"):
        quantized(tmp_path, STATIC, proto, lambda: [{"input": np.zeros((2, 2), np.int64)}])


def test_nan_in_calibration_is_refused_with_the_tensor(tmp_path):
    broken = samples()
    broken["input"][0, 0, 0, 0] = np.nan
    with pytest.raises(QuantizationError, match=r"'.*' holds NaN or infinity in calibration: no scale fits it"):
        quantized(tmp_path, STATIC, batches=lambda: [broken])


def test_no_calibration_batch_is_refused(tmp_path):
    with pytest.raises(QuantizationError, match="there is no calibration batch: raise calibration_n"):
        quantized(tmp_path, STATIC, batches=list)


def test_whatever_upstream_raises_is_one_line(tmp_path, monkeypatch):
    def stumble(*_, **__):
        raise ValueError("no rank\nof anything")

    monkeypatch.setattr("onnxruntime.quantization.shape_inference.quant_pre_process", stumble)
    with pytest.raises(QuantizationError) as error:
        quantized(tmp_path)
    assert str(error.value) == "onnxruntime: quantize_static cannot work on this model: ValueError: no rank"


def test_values_in_other_files_are_quantized_too_and_bounded(tmp_path, monkeypatch):
    from quantbench.backends.interface import Artifact
    from quantbench.backends.onnx_file import files_of

    path = tmp_path / "a.onnx"
    onnx.save_model(network(), path, save_as_external_data=True, location="values.bin", size_threshold=0)
    backend, reference = onnxruntime().create(), Artifact.of_files(onnxruntime(), files_of(path), Fp32())
    calibration = Calibration(lambda: [samples(seed=1), samples(seed=2)], samples(2))
    made = backend.quantize(reference, STATIC, calibration, tmp_path)
    assert made.artifact.sha256 == quantized(tmp_path / "b")[1].artifact.sha256
    monkeypatch.setattr("quantbench.backends.onnx_runtime.writing.LARGEST", 1000)
    with pytest.raises(QuantizationError, match=r"a\.onnx: [\d,]+ bytes with its values are more than one file"):
        backend.quantize(reference, STATIC, calibration, tmp_path)
