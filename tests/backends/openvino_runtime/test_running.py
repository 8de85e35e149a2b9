"""Files of OpenVINO as predictors: their inputs, their description, and the kernels that run."""

from dataclasses import asdict

import numpy as np
import onnx_models
import pytest
from tiny_ir import CONV_MACS, FC_MACS, expected, ir, write_ir

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.backends.openvino_runtime import kernels
from quantbench.backends.openvino_runtime.backend import files_of
from quantbench.backends.openvino_runtime.runner import OpenvinoRunner, Settings
from quantbench.errors import CheckpointError, ConfigError, EvaluationError, MeasurementError
from quantbench.quantities.int8_share import INT8_SHARE
from quantbench.recipes.spec import Fp32
from quantbench.records.run import CoverageFacts

X = np.random.default_rng(1).normal(0, 1, (5, 3, 4, 4)).astype(np.float32)


@pytest.fixture
def loaded(tmp_path):
    """A predictor of the net in some type."""

    def load(kind="float32", params=None, **build):
        spec = BackendSpec("openvino", params or {}, "here")
        path = write_ir(tmp_path / f"{kind}.xml", kind, **build)
        return spec.create().load(Artifact.of_files(spec, files_of(path), Fp32()), 1)

    return load


@pytest.mark.parametrize("batch", [-1, 1, 2, 5])
def test_it_computes_what_the_file_says_in_any_batch(loaded, batch):
    given = loaded(batch=batch)({"x": X})
    np.testing.assert_allclose(given["output"], expected(X), atol=1e-5)


def test_an_int8_file_computes_nearly_the_same(loaded):
    assert 1e-4 < np.abs(loaded("int8")({"x": X})["output"] - expected(X)).max() < 0.1


def test_outputs_belong_to_who_asked(loaded):
    predictor = loaded()
    first = predictor({"x": X})["output"]
    kept = first.copy()
    predictor({"x": -X})
    np.testing.assert_array_equal(first, kept)


def test_pictures_with_channels_last_are_moved_where_the_file_says_so(tmp_path):
    from openvino import Layout, Model, save_model
    from openvino import opset13 as ops

    x = ops.parameter([-1, 4, 4, 4], np.float32, name="image")
    model = Model([ops.result(ops.reduce_max(x, np.array([1, 2])))], [x], "ambiguous")
    x.set_layout(Layout("NHWC"))
    save_model(model, str(tmp_path / "a.xml"))
    square = np.random.default_rng(0).normal(0, 1, (2, 4, 4, 4)).astype(np.float32)
    spec = BackendSpec("openvino", {}, "here")
    predictor = spec.create().load(Artifact.of_files(spec, files_of(tmp_path / "a.xml"), Fp32()), 1)
    (given,) = predictor({"x": square}).values()
    np.testing.assert_array_equal(given, square.max(axis=(2, 3)))


def test_two_inputs_without_names_are_asked_for(loaded):
    with pytest.raises(EvaluationError, match=r"takes 2 inputs \('image' float32 .*, 'second' float32"):
        loaded(two_inputs=True)({"x": X, "y": X})


def test_two_inputs_are_matched_by_name(loaded):
    given = loaded(two_inputs=True)({"second": X, "image": X})
    np.testing.assert_allclose(given["output"], expected(2 * X), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 4), (2, 2, 4, 4)])
def test_samples_of_another_size_are_refused_with_the_input_s(loaded, shape):
    with pytest.raises(EvaluationError, match=r"float32\.xml: takes 'image' float32 \[\?, 3, 4, 4\]"):
        loaded()({"x": np.zeros(shape, np.float32)})


def test_an_output_that_is_not_there_is_told_with_those_that_are(loaded):
    with pytest.raises(EvaluationError, match="has no output 'logit'; it has 'output' float32"):
        loaded(params={"output": "logit"})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"device": "TPU"}, "String should match pattern"),
        ({"hint": "speed"}, "'latency' or 'throughput'"),
        ({"precision": "int8"}, "'f32', 'bf16' or 'f16'"),
        ({"layout": "hwc"}, "'nchw' or 'nhwc'"),
        ({"threads": 2}, "unknown parameter of backend 'openvino': 'threads'"),
    ],
)
def test_parameters_are_checked(params, words):
    with pytest.raises(ConfigError, match=words):
        BackendSpec("openvino", params, "here").create()


def test_threads_and_precision_are_those_that_were_asked_for():
    compiled = OpenvinoRunner(ir(), Settings(), 1, "a.xml").compiled
    told = [compiled.get_property(key) for key in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING")]
    assert told == [1, 1, False]
    assert compiled.get_property("INFERENCE_PRECISION_HINT").type_name == "f32"


def test_the_description_names_constants_with_scales_operators_and_ports(tmp_path):
    spec = BackendSpec("openvino", {}, "here")
    description = spec.create().describe(
        Artifact.of_files(spec, files_of(write_ir(tmp_path / "a.xml", "int8")), Fp32())
    )
    assert description.keys["conv"] == {
        "dtype": "int8",
        "shape": [8, 3, 3, 3],
        "qscheme": "per_channel_symmetric",
        "axis": 0,
    }
    assert description.keys["fc/scale"] == {"dtype": "float32", "shape": [3, 1]}
    assert description.graph["operators"] == {
        "Convert": 2, "Convolution": 1, "FakeQuantize": 2, "MatMul": 1, "Multiply": 2, "Parameter": 1, "Relu": 1,
        "Reshape": 1, "Result": 1,
    }  # fmt: skip
    assert description.graph["inputs"] == [{"name": "image", "dtype": "float32", "shape": [None, 3, 4, 4]}]
    assert description.graph["versions"] == {"format": "OpenVINO IR", "ir": 11, "opsets": ["opset1"]}
    # int8 weights and their scales, four ends for each of two quantizers, two sizes.
    assert description.payload_bytes == 8 * 27 + 4 * 8 + 3 * 128 + 4 * 3 + 2 * 4 * 4 + 2 * 8


@pytest.mark.parametrize("batch", [-1, 1, 2])
@pytest.mark.parametrize(
    ("kind", "int8", "floating"),
    [
        ("float32", {}, {"conv1": CONV_MACS, "fc1": FC_MACS}),
        ("int8", {"conv1": CONV_MACS, "fc1": FC_MACS}, {}),
        ("half", {"conv1": CONV_MACS}, {"fc1": FC_MACS}),
    ],
)
def test_the_runtime_s_graph_tells_what_ran_in_which_precision(loaded, kind, int8, floating, batch):
    found = loaded(kind, batch=batch).kernels({"x": X[:2]})
    assert (found.int8_layers, found.float_layers) == (
        {name: 2 * macs for name, macs in int8.items()},
        {name: 2 * macs for name, macs in floating.items()},
    )
    assert found.uncounted == ()


def judged(found, bound=0.95):
    facts = CoverageFacts(**asdict(found) | {"uncounted": list(found.uncounted)}, int8_share=found.int8_share)
    return INT8_SHARE.judge(None, facts, bound)


def test_a_layer_that_fell_back_to_floating_point_fails_the_gate(loaded):
    verdict = judged(loaded("half").kernels({"x": X}))
    assert verdict.outcome.value == "FAIL"
    assert "in floating point: fc1" in verdict.measured


def test_int8_weights_alone_are_no_int8_kernels(loaded):
    found = loaded("weights").kernels({"x": X})
    assert found.int8_macs == 0
    assert (list(found.unknown_layers), found.uncounted) == (["fc1"], ())
    assert found.macs == loaded("half").kernels({"x": X}).macs
    assert judged(found).outcome.value == "INCONCLUSIVE"


def test_a_node_that_is_not_known_is_named_and_not_counted(loaded, monkeypatch):
    monkeypatch.setattr(kernels, "NO_PRODUCTS", kernels.NO_PRODUCTS - {"Reshape"})
    found = loaded("int8").kernels({"x": X})
    assert any(name.endswith("(Reshape)") for name in found.uncounted)
    assert judged(found).outcome.value == "INCONCLUSIVE"


def test_products_within_a_node_that_merges_others_are_missed_by_their_sum(loaded, monkeypatch):
    monkeypatch.setattr(kernels, "PRODUCTS", {"Convolution"})
    monkeypatch.setattr(kernels, "NO_PRODUCTS", kernels.NO_PRODUCTS | {"FullyConnected"})
    found = loaded("int8").kernels({"x": X[:1]})
    assert found.uncounted == (
        f"{FC_MACS} of {FC_MACS + CONV_MACS:,} multiply-accumulates, within nodes that merge others",
    )


def one_operator(made):
    """The runner of a model with one operator on `[2, 4, 6, 6]`."""
    from openvino import Model
    from openvino import opset13 as ops

    x = ops.parameter([2, 4, 6, 6], np.float32, name="x")
    return OpenvinoRunner(Model([ops.result(made(ops, x))], [x], "one"), Settings(), 1, "one.xml")


def weight(*shape):
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("made", "macs"),
    [
        (lambda ops, x: ops.group_convolution(x, weight(2, 4, 2, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1]),
         2 * 16 * 8 * 2 * 9),
        (lambda ops, x: ops.convolution_backprop_data(x, weight(4, 5, 2, 2), [2, 2]), 2 * 36 * 4 * 5 * 4),
        (lambda ops, x: ops.matmul(x, x, False, True), 2 * 4 * 6 * 6 * 6),
        (lambda ops, x: ops.matmul(x, weight(6, 5), True, False), 2 * 4 * 6 * 6 * 5),
    ],
    ids=["groups", "transposed", "product of two values", "transposed first operand"],
)  # fmt: skip
def test_work_follows_from_shapes(made, macs):
    x = weight(2, 4, 6, 6)
    assert one_operator(made).kernels([[x], [x]]).float_macs == 2 * macs


def test_a_recurrent_layer_is_named_and_not_counted():
    def lstm(ops, x):
        sequence = ops.reshape(x, np.array([2, 4, 36]), special_zero=False)
        state, lengths = np.zeros((2, 1, 5), np.float32), np.array([4, 4])
        parts = [weight(1, 20, 36), weight(1, 20, 5), weight(1, 20)]
        return ops.lstm_sequence(sequence, state, state, lengths, *parts, 5, "FORWARD").output(0)

    found = one_operator(lstm).kernels([[weight(2, 4, 6, 6)]])
    assert found.macs == 0
    assert found.uncounted


@pytest.mark.parametrize(("values", "weights", "is_named"), [(1, 5, True), (5, 1, False)])
def test_a_product_in_other_words_is_named_and_a_scale_is_not(values, weights, is_named):
    def spread(ops, x):
        small = ops.reshape(ops.reduce_max(x, np.array([2, 3])), np.array([2, 4, 1]), special_zero=False)
        value = ops.concat([small] * values, 2)
        product = ops.reduce_sum(ops.multiply(value, weight(1, 4, weights), name="pairs"), np.array([1]))
        return ops.matmul(product, weight(5, 5), False, False)

    found = one_operator(spread).kernels([[weight(2, 4, 6, 6)]])
    assert found.uncounted == (("pairs (a product written as Multiply and sum)",) if is_named else ())


def test_a_model_in_which_nothing_multiplies_is_a_mistake():
    with pytest.raises(MeasurementError, match=r"one\.xml: no convolution or matrix product was seen"):
        one_operator(lambda ops, x: ops.relu(x)).kernels([[weight(2, 4, 6, 6)]])


def test_a_file_of_onnx_is_loaded_and_described(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx_models.network().SerializeToString())
    spec = BackendSpec("openvino", {}, "here")
    artifact = Artifact.of_files(spec, spec.create().files_of(path), Fp32())
    given = spec.create().load(artifact, 1)(onnx_models.samples())
    own = onnx_models.artifact_of(onnx_models.network(), path)
    expected = own.backend.create().load(own, 1)(onnx_models.samples())
    np.testing.assert_allclose(given["output"], expected["output"], atol=1e-5)
    found = spec.create().describe(artifact)
    assert found.graph["versions"]["format"] == "ONNX read by OpenVINO"
    assert found.graph["operators"]["Convolution"] == 2


def test_an_input_of_no_fixed_rank_is_refused(tmp_path):
    from openvino import Model, PartialShape, save_model
    from openvino import opset13 as ops

    x = ops.parameter(PartialShape.dynamic(), np.float32, name="anything")
    save_model(Model([ops.result(ops.relu(x))], [x], "a"), str(tmp_path / "a.xml"))
    spec = BackendSpec("openvino", {}, "here")
    with pytest.raises(CheckpointError, match="'anything' has no fixed number of axes"):
        spec.create().load(Artifact.of_files(spec, files_of(tmp_path / "a.xml"), Fp32()), 1)
