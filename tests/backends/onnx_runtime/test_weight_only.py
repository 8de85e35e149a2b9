"""Weights in few bits, run by ONNX Runtime: what is in the file, what it computes, what is refused."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import MACS, artifact_of, constants, model, network, onnxruntime, samples

from quantbench.backends.interface import Calibration
from quantbench.backends.onnx_runtime.recipes import refusal
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import WeightOnly
from quantbench.registry import RECIPES

INT8, INT4 = RECIPES.create("weight_only_int8", "here", {}), RECIPES.create("weight_only_int4", "here", {})
LINEAR = ("Linear",)


def quantized(folder, recipe, proto=None):
    """Backend and what it made of a model."""
    folder.mkdir(exist_ok=True)
    backend = onnxruntime().create()
    reference = artifact_of(proto or network(), folder / "fp32.onnx")
    (folder / "made").mkdir()
    return backend, backend.quantize(reference, recipe, Calibration(list, samples(2)), folder / "made")


def linear(op="MatMul", inputs=40, outputs=6, opset=20, **attributes):
    """One linear layer, as `MatMul` or `Gemm`."""
    weight = np.random.RandomState(0).randn(inputs, outputs).astype(np.float32)
    bias = np.arange(outputs, dtype=np.float32)
    if op == "MatMul":
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "fc")]
    else:
        weight = weight.T if attributes.get("transB") else weight
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "fc", **attributes)]
    held = constants(w=weight, b=bias)
    return model(nodes, {"x": ["n", inputs]}, {"y": ["n", outputs]}, held, opset=opset)


def rows(n=4, inputs=40):
    return {"x": np.random.RandomState(1).randn(n, inputs).astype(np.float32)}


def test_int8_weights_have_a_scale_per_output_channel_and_are_at_most_half_a_step_away(tmp_path):
    _, made = quantized(tmp_path, INT8)
    found = {each.name: numpy_helper.to_array(each) for each in onnx.load(made.artifact.path).graph.initializer}
    expected = {each.name: numpy_helper.to_array(each) for each in network().graph.initializer}
    for name in ("conv1.weight", "conv2.weight", "fc.weight"):
        codes, scale = found[f"{name}_codes"], found[f"{name}_codes_scale"]
        assert (codes.dtype, name in found) == (np.int8, False)
        assert np.abs(codes.reshape(len(codes), -1)).max(axis=1).tolist() == [127] * len(codes)
        steps = scale.reshape(-1, *[1] * (codes.ndim - 1))
        assert np.abs(codes * steps - expected[name]).max() <= steps.max() / 2 * 1.001
    assert made.artifact.observers["conv1"] == {
        "activation": "none, float32", "weight": "minmax int8 per_channel symmetric"
    }  # fmt: skip


def test_the_file_is_described_with_bits_blocks_and_axis(tmp_path):
    backend, made = quantized(tmp_path / "8", INT8)
    keys = backend.describe(made.artifact).keys
    assert keys["fc.weight_codes"] == {
        "dtype": "int8", "shape": [3, 8], "qscheme": "per_channel_symmetric", "axis": 0
    }  # fmt: skip
    backend, made = quantized(tmp_path / "4", INT4, linear())
    (entry,) = [each for each in backend.describe(made.artifact).keys.values() if "bits" in each]
    assert entry == {
        "dtype": "uint8", "shape": [6, 2, 16], "qscheme": "per_block_symmetric", "axis": 1, "block_size": 32, "bits": 4
    }  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "proto", "most"),
    [
        (INT8, linear(), 0.02),
        (INT8, linear("Gemm", transB=1), 0.02),
        (INT8, linear("Gemm"), 0.02),
        (INT4, linear(), 0.3),
        (INT4, linear("Gemm", transB=1), 0.3),
        (INT4, linear("Gemm"), 0.3),
        (WeightOnly(8, LINEAR, 32), linear("Gemm", transB=1), 0.02),
    ],
)
def test_outputs_are_nearly_those_of_the_float_model(recipe, proto, most, tmp_path):
    backend, made = quantized(tmp_path, recipe, proto)
    found = backend.load(made.artifact, 1)(rows())["y"]
    expected = backend.load(artifact_of(proto, tmp_path / "fp32.onnx"), 1)(rows())["y"]
    assert 0 < np.abs(found - expected).max() / np.abs(expected).max() < most


@pytest.mark.parametrize("recipe", [INT8, INT4])
def test_equal_inputs_give_equal_bytes(recipe, tmp_path):
    files = [quantized(tmp_path / name, recipe, linear("Gemm"))[1].artifact.path.read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_a_layer_of_4_bits_takes_an_eighth_of_its_bytes_and_its_scales(tmp_path):
    proto = linear(inputs=1024, outputs=64)
    _, made = quantized(tmp_path, INT4, proto)
    assert 5 / 32 < made.artifact.size_bytes / (tmp_path / "fp32.onnx").stat().st_size < 5.2 / 32


@pytest.mark.parametrize(("recipe", "layers"), [(INT8, ["conv1", "conv2", "fc"]), (INT4, ["fc"])])
def test_what_runs_is_floating_point_and_none_of_it_is_called_int8(recipe, layers, tmp_path):
    backend, made = quantized(tmp_path, recipe)
    ran = backend.kernels(made.artifact, samples(1))
    assert (ran.int8_macs, ran.float_macs, ran.uncounted) == (0, sum(MACS.values()), ())
    assert list(made.artifact.observers) == layers


def test_a_weight_that_two_layers_share_is_quantized_once(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "one"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "two"),
        helper.make_node("Gemm", ["y", "w"], ["z"], "three", transB=1),
    ]
    weight = np.random.RandomState(0).randn(32, 32).astype(np.float32)
    proto = model(nodes, {"x": ["n", 32]}, {"z": ["n", 32]}, constants(w=weight))
    _, made = quantized(tmp_path, INT8, proto)
    graph = onnx.load(made.artifact.path).graph
    assert sorted(each.name for each in graph.initializer) == [
        "w_codes", "w_codes_0", "w_codes_0_scale", "w_codes_scale"
    ]  # fmt: skip
    assert len([each for each in graph.node if each.op_type == "DequantizeLinear"]) == 2


def test_a_channel_of_zeros_stays_zero(tmp_path):
    proto = linear()
    weight = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weight[:, 2] = 0
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    backend, made = quantized(tmp_path, INT8, proto)
    assert backend.load(made.artifact, 1)(rows())["y"][:, 2] == pytest.approx(np.zeros(4), abs=1e-20)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (WeightOnly(4, LINEAR), "has weights of 4 bits in blocks only: give a block_size"),
        (WeightOnly(4, ("Conv2d",), 32), "has weights in blocks for linear layers only"),
        (WeightOnly(8, ("LSTM",)), "has no weight-only form of a layer 'LSTM'; it has them of Linear, Conv1d, Conv2d"),
    ],
)
def test_what_the_runtime_has_no_kernel_for_is_refused_with_an_alternative(recipe, words):
    assert words in refusal(recipe)
    assert refusal(INT8) is refusal(INT4) is refusal(WeightOnly(8, LINEAR, 64)) is None


def test_a_model_without_such_a_layer_is_refused(tmp_path):
    proto = model([helper.make_node("Relu", ["x"], ["y"], "relu")], {"x": ["n", 4]}, {"y": ["n", 4]})
    with pytest.raises(QuantizationError, match="nothing was quantized: there is no Linear with a constant weight"):
        quantized(tmp_path, INT4, proto)


def test_operators_without_scales_per_channel_are_refused(tmp_path):
    with pytest.raises(QuantizationError, match="operators are of set 12, and scales per channel need set 13"):
        quantized(tmp_path, INT8, linear(opset=12))
