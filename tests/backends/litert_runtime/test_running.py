"""Files of LiteRT as predictors: their inputs, their description, and the kernels that run."""

from dataclasses import asdict

import numpy as np
import pytest
from tiny_tflite import CONV_MACS, FC_MACS, INPUT_SCALE, INPUT_ZERO, OUTPUT_SCALE, Builder, expected, write_tflite

from quantbench.backends.interface import Artifact, BackendSpec, Calibration
from quantbench.backends.litert_runtime import kernels
from quantbench.backends.litert_runtime.kernels import Operator, Tensor, operators_of
from quantbench.backends.litert_runtime.tflite_file import open_tflite
from quantbench.errors import ConfigError, EvaluationError, MeasurementError, QuantizationError
from quantbench.quantities.int8_share import INT8_SHARE
from quantbench.recipes.spec import Fp32
from quantbench.records.run import CoverageFacts
from quantbench.registry import RECIPES

X = np.random.default_rng(1).normal(0, 1, (5, 3, 4, 4)).astype(np.float32)
CHANNELS_LAST = np.ascontiguousarray(np.moveaxis(X, 1, -1))
DELEGATES = pytest.mark.parametrize("delegate", ["xnnpack", "none"])


def predictor_of(path, **params):
    spec = BackendSpec("litert", params, "here")
    return spec.create().load(Artifact.of_files(spec, [path], Fp32()), 1)


@pytest.fixture
def loaded(tmp_path):
    """A predictor of the net in some type."""
    return lambda kind="float32", batch=1, **params: predictor_of(
        write_tflite(tmp_path / "a.tflite", kind, batch), **params
    )


@DELEGATES
@pytest.mark.parametrize("batch", [-1, 1, 2, 5])
def test_it_computes_what_the_file_says_in_any_batch(loaded, batch, delegate):
    predictor = loaded(batch=batch, delegate=delegate)
    for n in (5, 2, 5):
        np.testing.assert_allclose(predictor({"x": X[:n]})["output"], expected(CHANNELS_LAST[:n]), atol=1e-5)


def test_pictures_with_channels_first_are_moved_and_others_are_not(loaded):
    predictor = loaded()
    moved = predictor({"x": X})["output"]
    assert "input 'image': channels moved last (NCHW → NHWC)" in predictor.notes
    as_it_is = loaded()
    np.testing.assert_array_equal(as_it_is({"x": CHANNELS_LAST})["output"], moved)
    assert not any("moved" in note for note in as_it_is.notes)


def test_a_square_of_channels_and_pixels_is_asked_for(tmp_path):
    b = Builder()
    x, y = b.tensor("x", [1, 4, 4, 4]), b.tensor("y", [1, 4, 4, 4])
    b.operator("ABS", [x], [y])
    path = b.written(tmp_path / "a.tflite", [x], [y])
    square = np.random.default_rng(0).normal(0, 1, (1, 4, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        predictor_of(path, layout="nhwc")({"x": square})["y"], abs(np.moveaxis(square, 1, -1))
    )
    np.testing.assert_array_equal(predictor_of(path, layout="nchw")({"x": square})["y"], abs(square))


def test_integers_are_scaled_by_the_file_s_own_scales(loaded):
    predictor = loaded("int8")
    given = predictor({"x": X})["output"]
    codes = np.rint(CHANNELS_LAST / INPUT_SCALE) + INPUT_ZERO
    assert np.abs(given - expected(CHANNELS_LAST)).max() < 1.5 * OUTPUT_SCALE
    np.testing.assert_allclose(given, np.rint(given / OUTPUT_SCALE) * OUTPUT_SCALE, atol=1e-6)
    # Data that is int8 already is taken as the file's own integers.
    own = predictor({"x": codes.clip(-128, 127).astype(np.int8)})["output"]
    np.testing.assert_array_equal(own, given)
    quantized = f"input 'image': quantized to int8 (scale {INPUT_SCALE:g}, zero point {INPUT_ZERO})"
    dequantized = f"output 'output': dequantized from int8 (scale {OUTPUT_SCALE:g}, zero point 0)"
    assert {quantized, dequantized} <= set(predictor.notes)


def test_outputs_belong_to_who_asked(loaded):
    predictor = loaded()
    first = predictor({"x": X[:1]})["output"]
    kept = first.copy()
    predictor({"x": X[1:2]})
    np.testing.assert_array_equal(first, kept)


def two_inputs(path, signature=False):
    b = Builder()
    s = b.schema
    x, y, z = b.tensor("t1", [1, 3]), b.tensor("t2", [1, 3]), b.tensor("t3", [1, 3])
    b.operator("SUB", [x, y], [z], s.SubOptionsT())
    if signature:
        b.signature({"left": x, "right": y}, {"difference": z})
    return b.written(path, [x, y], [z])


def test_two_inputs_without_names_are_asked_for(tmp_path):
    rows = np.ones((1, 3), np.float32)
    with pytest.raises(EvaluationError, match=r"takes 2 inputs \('t1' float32 \[1, 3\], 't2' float32"):
        predictor_of(two_inputs(tmp_path / "a.tflite"))({"x": rows, "y": rows})


def test_inputs_and_outputs_have_the_names_of_the_signature(tmp_path):
    rows = np.ones((1, 3), np.float32)
    given = predictor_of(two_inputs(tmp_path / "a.tflite", signature=True))({"right": rows, "left": 3 * rows})
    np.testing.assert_array_equal(given["difference"], 2 * rows)


def test_samples_of_another_size_are_refused_with_the_input_s(loaded):
    with pytest.raises(EvaluationError, match=r"takes 'image' float32 \[1, 4, 4, 3\], and the data's 'x' is float32"):
        loaded()({"x": np.zeros((1, 3, 5, 5), np.float32)})


@pytest.mark.parametrize(
    ("params", "words"),
    [({"delegate": "gpu"}, "'xnnpack' or 'none'"), ({"layout": "hwc"}, "'nchw' or 'nhwc'"),
     ({"threads": 2}, "unknown parameter of backend 'litert': 'threads'")],
)  # fmt: skip
def test_parameters_are_checked(params, words):
    with pytest.raises(ConfigError, match=words):
        BackendSpec("litert", params, "here").create()


def test_it_quantizes_nothing_and_says_what_to_do(tmp_path):
    spec = BackendSpec("litert", {}, "here")
    reference = Artifact.of_files(spec, [write_tflite(tmp_path / "a.tflite")], Fp32())
    with pytest.raises(QuantizationError, match=r"cannot quantize: .*; name the \.tflite of your converter, or set"):
        spec.create().quantize(reference, RECIPES.create("static_int8", "h", {}), Calibration(list, {"x": X}), tmp_path)


def description(path):
    spec = BackendSpec("litert", {}, "here")
    return spec.create().describe(Artifact.of_files(spec, [path], Fp32()))


def test_the_description_names_tensors_with_scales_operators_and_ports(tmp_path):
    found = description(write_tflite(tmp_path / "a.tflite", "int8", -1))
    assert found.keys["conv/weight"] == {
        "dtype": "int8",
        "shape": [8, 3, 3, 3],
        "qscheme": "per_channel_symmetric",
        "axis": 0,
    }
    assert found.keys["hidden"] == {"dtype": "int8", "shape": [1, 4, 4, 8], "qscheme": "per_tensor_affine"}
    assert found.graph == {
        "versions": {"format": "TFLite", "schema": 3, "operators": {"CONV_2D": 1, "FULLY_CONNECTED": 1}},
        "operators": {"CONV_2D": 1, "FULLY_CONNECTED": 1},
        "inputs": [{"name": "image", "dtype": "int8", "shape": [None, 4, 4, 3]}],
        "outputs": [{"name": "output", "dtype": "int8", "shape": [None, 3]}],
    }
    # int8 weights, int32 biases, and for each channel of both a float scale and a zero point of 64 bits.
    assert found.payload_bytes == 8 * 27 + 3 * 128 + (8 + 3) * 4 + 2 * (8 + 3) * (4 + 8)


def test_values_behind_all_else_are_described_as_those_within(tmp_path):
    within = description(write_tflite(tmp_path / "a.tflite", "int8"))
    outside = description(write_tflite(tmp_path / "b.tflite", "int8", outside=True))
    assert (outside.keys, outside.digests, outside.payload_bytes) == (within.keys, within.digests, within.payload_bytes)
    given = predictor_of(tmp_path / "b.tflite")({"x": X})["output"]
    np.testing.assert_array_equal(given, predictor_of(tmp_path / "a.tflite")({"x": X})["output"])


def test_a_scale_that_changed_changes_a_digest(tmp_path, monkeypatch):
    before = description(write_tflite(tmp_path / "a.tflite", "int8"))
    monkeypatch.setattr("tiny_tflite.HIDDEN_SCALE", 0.05)
    after = description(write_tflite(tmp_path / "b.tflite", "int8"))
    assert before.keys == after.keys
    changed = {key for key in before.digests if before.digests[key] != after.digests[key]}
    assert changed == {"hidden", "fc/bias"}


@DELEGATES
@pytest.mark.parametrize("batch", [-1, 1, 2])
@pytest.mark.parametrize("kind", ["float32", "int8", "float16"])
def test_the_types_of_tensors_tell_what_ran_in_which_precision(loaded, kind, batch, delegate):
    found = loaded(kind, batch, delegate=delegate).kernels({"x": X[:4]})
    work = {"hidden": 4 * CONV_MACS, "output": 4 * FC_MACS}
    assert (found.int8_layers, found.float_layers) == ((work, {}) if kind == "int8" else ({}, work))
    assert found.uncounted == ()


def judged(found, bound=0.95):
    facts = CoverageFacts(**asdict(found) | {"uncounted": list(found.uncounted)}, int8_share=found.int8_share)
    return INT8_SHARE.judge(None, facts, bound)


def test_weights_that_are_dequantized_first_fail_the_gate(loaded):
    verdict = judged(loaded("float16").kernels({"x": X}))
    assert verdict.outcome.value == "FAIL"
    assert "in floating point: hidden" in verdict.measured


@DELEGATES
def test_what_is_quantized_while_it_runs_is_not_known_to_be_int8(loaded, delegate):
    found = loaded("hybrid", delegate=delegate).kernels({"x": X})
    assert found.uncounted == (
        "hidden (CONV_2D of float32 with weights in int8)",
        "output (FULLY_CONNECTED of float32 with weights in int8)",
    )
    assert judged(found).outcome.value == "INCONCLUSIVE"


def test_an_operator_that_is_not_known_is_named_and_not_counted(loaded, monkeypatch):
    monkeypatch.delitem(kernels.PRODUCTS, "CONV_2D")
    found = loaded("int8").kernels({"x": X})
    assert found.uncounted == ("hidden (CONV_2D)",)
    assert judged(found).outcome.value == "INCONCLUSIVE"


def depthwise(b, x):
    w = b.tensor("w", [1, 3, 3, 4], "FLOAT32", np.ones((1, 3, 3, 4), np.float32))
    y, bias = b.tensor("y", [1, 4, 4, 4]), b.tensor("bias", [4], "FLOAT32", np.zeros(4, np.float32))
    b.operator("DEPTHWISE_CONV_2D", [x, w, bias], [y], b.schema.DepthwiseConv2DOptionsT(
        padding=1, strideW=1, strideH=1, depthMultiplier=1))  # fmt: skip
    return y


def transposed(b, x):
    w = b.tensor("w", [5, 2, 2, 4], "FLOAT32", np.ones((5, 2, 2, 4), np.float32))
    sizes = b.tensor("sizes", [4], "INT32", np.array([1, 12, 12, 5], np.int32))
    y = b.tensor("y", [1, 12, 12, 5])
    b.operator("TRANSPOSE_CONV", [sizes, w, x], [y], b.schema.TransposeConvOptionsT(padding=1, strideW=2, strideH=2))
    return y


def product(b, x):
    y = b.tensor("y", [1, 6, 6, 6])
    b.operator("BATCH_MATMUL", [x, x], [y], b.schema.BatchMatMulOptionsT(adjY=True))
    return y


@pytest.mark.parametrize(
    ("made", "macs"),
    [(depthwise, 4 * 4 * 4 * 9), (transposed, 6 * 6 * 5 * 4 * 4), (product, 6 * 6 * 6 * 4)],
)
def test_work_follows_from_shapes(made, macs, tmp_path):
    b = Builder(operator_version=2 if made is product else 1)
    x = b.tensor("x", [1, 6, 6, 4])
    path = b.written(tmp_path / "a.tflite", [x], [made(b, x)])
    found = predictor_of(path, layout="nhwc").kernels({"x": np.ones((1, 4, 6, 6), np.float32)})
    assert found.float_layers == {"y": macs}


@pytest.mark.parametrize(("sizes", "is_named"), [(([1, 6, 1], [1, 6, 5]), True), (([1, 6, 5], [1, 6, 1]), False)])
def test_a_product_in_other_words_is_named_and_a_scale_is_not(tmp_path, sizes, is_named):
    b = Builder()
    x, w = b.tensor("x", sizes[0]), b.tensor("w", sizes[1], "FLOAT32", np.ones(sizes[1], np.float32))
    pairs, y = b.tensor("pairs", [1, 6, 5]), b.tensor("y", [1, 5])
    axis = b.tensor("axis", [1], "INT32", np.array([1], np.int32))
    b.operator("MUL", [x, w], [pairs], b.schema.MulOptionsT())
    b.operator("SUM", [pairs, axis], [y], b.schema.ReducerOptionsT())
    operators = operators_of(open_tflite(b.written(tmp_path / "a.tflite", [x], [y])))
    fc = Operator("FULLY_CONNECTED", "fc", *[(Tensor("int8", (1, 1), False),) * 2] * 2, (), ())
    found = kernels.coverage_of([[*operators, fc]], "a.tflite")
    assert found.uncounted == (("pairs (a product written as MUL and sum)",) if is_named else ())


def test_a_model_in_which_nothing_multiplies_is_a_mistake(tmp_path):
    b = Builder()
    x, y = b.tensor("x", [1, 3]), b.tensor("y", [1, 3])
    b.operator("ABS", [x], [y])
    with pytest.raises(MeasurementError, match="no convolution or matrix product was seen among its operators"):
        predictor_of(b.written(tmp_path / "a.tflite", [x], [y])).kernels({"x": np.ones((1, 3), np.float32)})
