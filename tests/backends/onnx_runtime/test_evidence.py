"""The precision that really ran, from the runtime's own graph and profile; what cannot be told is named."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import FLOAT, MACS, artifact_of, constants, model, network, onnxruntime, samples

from quantbench.backends.interface import Calibration
from quantbench.backends.onnx_file import Node, OnnxModel
from quantbench.backends.onnx_runtime.evidence import Kernel, counted
from quantbench.backends.onnx_runtime.operators import macs_of
from quantbench.errors import MeasurementError
from quantbench.registry import RECIPES

PICTURE = ["n", 3, 8, 8]


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """The network quantized by the backend, as a message."""
    folder = tmp_path_factory.mktemp("int8")
    reference, recipe = artifact_of(network(), folder / "fp32.onnx"), RECIPES.create("static_int8", "here", {})
    made = onnxruntime().create().quantize(reference, recipe, Calibration(lambda: [samples()], samples(2)), folder)
    return onnx.load(made.artifact.path)


def kernels(proto, folder, n=1, **params):
    return onnxruntime(**params).create().kernels(artifact_of(proto, folder / "a.onnx", **params), samples(n))


def test_a_float_model_is_all_float_by_layer(tmp_path):
    found = kernels(network(), tmp_path)
    assert (found.int8_macs, found.float_macs, found.uncounted) == (0, sum(MACS.values()), ())
    assert found.float_layers == MACS


def test_multiply_accumulates_are_those_of_all_samples(tmp_path):
    assert kernels(network(), tmp_path, n=5).per_sample(5) == kernels(network(), tmp_path)


def test_a_quantized_model_is_all_int8_where_its_kernels_were_fused(int8, tmp_path):
    found = kernels(int8, tmp_path)
    assert (found.int8_share, found.int8_layers, found.float_layers, found.uncounted) == (1.0, MACS, {}, ())


def test_the_same_file_is_all_float_where_nothing_was_fused(int8, tmp_path):
    """The file says int8; without the rewriting each product is computed on dequantized values."""
    found = kernels(int8, tmp_path, graph_optimization="none")
    assert (found.int8_share, found.int8_layers, found.uncounted) == (0.0, {}, ())
    assert found.float_layers == MACS


def test_a_layer_that_falls_back_to_float_is_named(int8, tmp_path):
    """An operator between a convolution and its quantized output keeps the runtime from fusing the three."""
    broken = type(int8)()
    broken.CopyFrom(int8)
    conv = next(node for node in broken.graph.node if node.name == "conv2")
    given, conv.output[0] = conv.output[0], "before"
    at = list(broken.graph.node).index(conv)
    broken.graph.node.insert(at + 1, helper.make_node("Sin", ["before"], [given], "sin"))
    found = kernels(broken, tmp_path)
    assert found.float_layers == {"conv2": MACS["conv2"]}
    assert found.int8_share == pytest.approx(1 - MACS["conv2"] / sum(MACS.values()))


def test_dynamic_quantization_is_int8_for_its_products_alone(tmp_path):
    reference, recipe = artifact_of(network(), tmp_path / "fp32.onnx"), RECIPES.create("dynamic_int8", "here", {})
    backend = onnxruntime().create()
    made = backend.quantize(reference, recipe, Calibration(list, samples(2)), tmp_path)
    found = backend.kernels(made.artifact, samples(1))
    assert found.int8_layers == {"fc": MACS["fc"]}
    assert found.float_layers == {"conv1": MACS["conv1"], "conv2": MACS["conv2"]}


def test_a_loaded_predictor_tells_the_same(int8, tmp_path):
    artifact = artifact_of(int8, tmp_path / "a.onnx")
    backend = onnxruntime().create()
    assert backend.load(artifact, 1).kernels(samples()) == backend.kernels(artifact, samples())


def test_a_file_of_a_fixed_batch_is_counted_in_all_its_parts(tmp_path):
    found = kernels(network(batch=2), tmp_path, n=4)
    assert found.float_macs == 4 * sum(MACS.values())


def test_nodes_without_names_are_counted_all_the_same(tmp_path):
    nameless = network()
    for node in nameless.graph.node:
        node.name = ""
    found = kernels(nameless, tmp_path)
    assert found.float_layers == {"Conv#0": MACS["conv1"], "Conv#2": MACS["conv2"], "Gemm#6": MACS["fc"]}


def test_products_of_activations_count_as_those_with_weights(tmp_path):
    attention = model([helper.make_node("Transpose", ["input"], ["t"], "t", perm=[0, 1, 3, 2]),
                       helper.make_node("MatMul", ["input", "t"], ["output"], "scores")],
                      {"input": PICTURE}, {"output": PICTURE})  # fmt: skip
    assert kernels(attention, tmp_path, n=2).float_layers == {"scores": 2 * 3 * 8 * 8 * 8}


def test_recurrent_layers_are_counted_by_their_steps(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], axis=2),
        helper.make_node("Transpose", ["flat"], ["steps"], perm=[0, 1]),
        helper.make_node("Unsqueeze", ["steps", "axis"], ["x"]),
        helper.make_node("LSTM", ["x", "w", "r"], ["", "h", ""], "lstm", hidden_size=5),
        helper.make_node("Squeeze", ["h", "zero"], ["output"]),
    ]
    random = np.random.RandomState(0)
    held = constants(w=random.randn(1, 20, 64).astype("f"), r=random.randn(1, 20, 5).astype("f"),
                     axis=np.array([1]), zero=np.array([0]))  # fmt: skip
    proto = model(nodes, {"input": PICTURE}, {"output": [1, 5]}, held)
    # Two samples of three channels are six steps of a batch of one.
    assert kernels(proto, tmp_path, n=2).float_layers == {"lstm": 6 * (20 * 64 + 20 * 5)}


def test_operators_inside_of_control_flow_are_counted_at_every_turn(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Conv", ["state", "weight"], ["next"], "inner", pads=[1, 1, 1, 1]),
         helper.make_node("Identity", ["go"], ["on"], "again")],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("state", FLOAT, None)],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("next", FLOAT, None)],
    )  # fmt: skip
    nodes = [helper.make_node("Loop", ["turns", "yes", "input"], ["output"], "loop", body=body)]
    held = constants(turns=np.array(4), yes=np.array(True), weight=np.ones((3, 3, 3, 3), "f"))
    found = kernels(model(nodes, {"input": PICTURE}, {"output": PICTURE}, held), tmp_path)
    assert (found.float_layers, found.uncounted) == ({"inner": 4 * 3 * 64 * 27}, ())


def test_an_operator_whose_products_are_not_known_is_named_and_nothing_is_called_int8(tmp_path):
    einsum = model([helper.make_node("Einsum", ["input", "input"], ["output"], "sums", equation="nchw,nchw->n")],
                   {"input": PICTURE}, {"output": ["n"]})  # fmt: skip
    found = kernels(einsum, tmp_path)
    assert (found.macs, found.int8_share, found.uncounted) == (0, 0.0, ("Einsum in sums",))


def test_a_convolution_written_as_products_that_are_summed_is_named(tmp_path):
    by_hand = model([helper.make_node("Mul", ["input", "weight"], ["products"], "mul"),
                     helper.make_node("ReduceSum", ["products", "axes"], ["output"], "sum", keepdims=0)],
                    {"input": PICTURE}, {"output": ["n"]},
                    constants(weight=np.ones((1, 3, 8, 8), "f"), axes=np.array([1, 2, 3])))  # fmt: skip
    assert kernels(by_hand, tmp_path).uncounted == ("products summed by ReduceSum in sum",)


def test_squares_that_are_summed_belong_to_a_norm(tmp_path):
    norm = model([helper.make_node("Mul", ["input", "input"], ["squares"], "mul"),
                  helper.make_node("ReduceSum", ["squares", "axes"], ["sum"], "sum"),
                  helper.make_node("MatMul", ["sum", "weight"], ["output"], "head")],
                 {"input": PICTURE}, {"output": ["n", 3, 8, 2]},
                 constants(weight=np.ones((1, 2), "f"), axes=np.array([3])))  # fmt: skip
    assert kernels(norm, tmp_path).uncounted == ()


def test_a_model_in_which_nothing_multiplies_is_an_error(tmp_path):
    with pytest.raises(MeasurementError, match=r"a\.onnx: no convolution or matrix product was seen in its forward"):
        kernels(model([helper.make_node("Relu", ["input"], ["output"])], {"input": PICTURE}, {"output": PICTURE}),
                tmp_path)  # fmt: skip


# The count by itself.
def graph(*nodes):
    return OnnxModel(None, nodes, {}, (), {}, {}, {}, ())


def node(op="MatMul", name="a", inputs=("x", "y"), outputs=("z",), **attributes):
    return Node(name, op, inputs, outputs, attributes)


def test_a_kernel_that_is_of_no_node_is_named_unless_it_moves_values():
    found = counted(graph(node()), [Kernel("b", "MatMul", ((2, 2),)), Kernel("c", "Transpose", ((2, 2),))], {})
    assert found.uncounted == ("MatMul in b",)


def test_a_kernel_whose_name_is_that_of_two_nodes_is_named():
    assert counted(graph(node(), node()), [Kernel("a", "MatMul", ((2, 2),))], {"x": (2, 3)}).uncounted == (
        "MatMul in a",
    )


def test_a_kernel_of_another_operator_than_its_node_is_named():
    assert counted(graph(node()), [Kernel("a", "Gemm", ((2, 2),))], {"x": (2, 3)}).uncounted == ("Gemm in a",)


def test_an_operator_with_a_shape_that_nobody_told_is_named():
    assert counted(graph(node()), [Kernel("a", "MatMul", ((2, 2),))], {}).uncounted == ("MatMul in a",)


def test_a_profile_that_was_cut_off_is_told(monkeypatch):
    monkeypatch.setattr("quantbench.backends.onnx_runtime.evidence.MOST_EVENTS", 2)
    twice = [Kernel("a", "MatMul", ((2, 2),))] * 2
    found = counted(graph(node()), twice, {"x": (2, 3)})
    assert (found.float_macs, found.uncounted) == (24, ("all after the first 2 operators",))


def test_products_that_may_be_of_integers_are_counted_and_of_no_known_precision():
    few_bits = node("com.microsoft.MatMulNBits", K=3, accuracy_level=4)
    found = counted(graph(few_bits), [Kernel("a", "MatMulNBits", ((2, 2),))], {"x": (2, 3)})
    assert (found.unknown_layers, found.float_macs, found.int8_macs, found.uncounted) == ({"a": 12}, 0, 0, ())
    assert found.macs == 12


FORMULAS = {
    "a convolution": (node("Conv"), [(1, 3, 8, 8), (4, 3, 3, 3)], [(1, 4, 6, 6)], 4 * 36 * 27),
    "a grouped convolution": (node("Conv"), [(1, 4, 8, 8), (4, 1, 3, 3)], [(1, 4, 6, 6)], 4 * 36 * 9),
    "a transposed convolution": (node("ConvTranspose"), [(1, 4, 6, 6), (4, 3, 3, 3)], [(1, 3, 8, 8)], 4 * 36 * 27),
    "a quantized convolution": (
        node("QLinearConv"), [(1, 3, 8, 8), (), (), (4, 3, 3, 3)], [(1, 4, 6, 6)], 4 * 36 * 27),
    "a product": (node(), [(5, 2, 3), (5, 3, 4)], [(5, 2, 4)], 5 * 2 * 3 * 4),
    "a product with a transposed factor": (node("Gemm", transA=1), [(3, 2), (3, 4)], [(2, 4)], 24),
    "a product whose first factor is not known": (node("Gemm", transB=1), [None, (4, 3)], [(2, 4)], 24),
    "a quantized product whose first factor is not known": (
        node("QLinearMatMul"), [None, (), (), (3, 4)], [(2, 4)], 24),
    "a product with a vector": (node(), [None, (3,)], [(2,)], 6),
    "a product with its batch in another order": (
        node("com.microsoft.FusedMatMul", transBatchA=1), [(2, 5, 3), (5, 3, 4)], [(5, 2, 4)], None),
    "weights of few bits": (node("com.microsoft.MatMulNBits", K=64), [(2, 64)], [(2, 8)], 2 * 8 * 64),
    "weights of few bits, maybe in int8": (
        node("com.microsoft.MatMulNBits", K=64, accuracy_level=4), [(2, 64)], [(2, 8)], 2 * 8 * 64),
    "a shape that is not known": (node("Conv"), [(1, 3, 8, 8), None], [(1, 4, 6, 6)], None),
    "too few inputs": (node("Conv"), [(1, 3, 8, 8)], [(1, 4, 6, 6)], None),
    "an operator without a formula": (node("Einsum"), [(2, 3)], [(2,)], None),
}  # fmt: skip


@pytest.mark.parametrize(("operator", "inputs", "outputs", "macs"), FORMULAS.values(), ids=FORMULAS)
def test_multiply_accumulates_of_an_operator(operator, inputs, outputs, macs):
    assert macs_of(operator, inputs, outputs) == macs
