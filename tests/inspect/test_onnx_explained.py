"""Two files of ONNX: what quantization did between them is explained, whatever else is listed."""

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx_models import artifact_of, constants, model, network, onnxruntime, samples

from quantbench.backends.interface import Calibration
from quantbench.backends.onnx_file import model_of, read_onnx
from quantbench.inspect.onnx_explained import explain_onnx
from quantbench.registry import RECIPES

PICTURE = ["n", 3, 8, 8]


def explained(before, after):
    return explain_onnx(*(model_of(each, None) for each in (before, after)))


def copy(proto):
    made = type(proto)()
    made.CopyFrom(proto)
    return made


def change(proto, name, by):
    """Replaces a constant by a function of it."""
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(by(numpy_helper.to_array(tensor)), name))
    return proto


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """Recipe → what it made of the network."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            calibration = Calibration(lambda: [samples()], samples(2))
            reference = artifact_of(network(), folder / "fp32.onnx")
            found = onnxruntime().create().quantize(reference, RECIPES.create(name, "here", {}), calibration, folder)
            made[name] = found.artifact.path
        return made[name]

    return make


def test_equal_files_have_nothing_to_explain():
    found = explained(network(), network())
    assert (found.explained, found.values, found.unexplained, found.conclusion()) == ([], [], [], "")
    assert found.unchanged == 3


@pytest.mark.parametrize("recipe", ["static_int8", "static_int8_per_tensor", "static_int8_pow2"])
def test_static_quantization_is_explained_whole(quantized, recipe):
    found = explain_onnx(model_of(network(), None), read_onnx(quantized(recipe)))
    assert (found.values, found.unexplained) == ([], [])
    scheme = "per_tensor_symmetric" if recipe == "static_int8_per_tensor" else "per_channel_symmetric axis 0"
    assert f"conv1: weight quantized: float32 [8, 3, 3, 3] → int8 [8, 3, 3, 3] {scheme}" in found.explained
    assert "relu1: Relu removed: its output is quantized from 0 on" in found.explained
    assert any(line.endswith("DequantizeLinear inserted") for line in found.explained)
    assert found.rounded.keys() == {"conv1", "conv2", "fc"}
    assert found.conclusion() == "3 of 3 int8 layers are the float weights, rounded: post-training quantization"


def test_dynamic_quantization_is_explained_whole(quantized):
    found = explain_onnx(model_of(network(), None), read_onnx(quantized("dynamic_int8")))
    assert (found.values, found.unexplained) == ([], [])
    assert "fc: weight quantized: float32 [3, 8] → int8 [8, 3] per_tensor_symmetric, Gemm → MatMulInteger" in (
        found.explained
    )
    assert found.rounded.keys() == {"fc"}


def test_weights_that_were_trained_further_are_told_from_rounded_ones(quantized):
    trained = change(network(), "conv2.weight", lambda weight: weight + 0.01)
    found = explain_onnx(model_of(trained, None), read_onnx(quantized("static_int8")))
    assert found.moved.keys() == {"conv2"}
    assert found.conclusion().startswith("1 of 3 int8 layers are further from the float weights than rounding explains")


def with_batch_norm(folded):
    """A convolution with a batch norm after it, or folded into it."""
    random = np.random.RandomState(0)
    weight = random.randn(4, 3, 3, 3).astype("f")
    gamma, beta, mean, variance = (np.abs(random.randn(4)).astype("f") + 0.1 for _ in range(4))
    factor = gamma / np.sqrt(variance + 1e-5)
    if folded:
        held = constants(**{"conv.weight": weight * factor.reshape(-1, 1, 1, 1), "conv.bias": beta - mean * factor})
        nodes = [helper.make_node("Conv", ["input", "conv.weight", "conv.bias"], ["output"], "conv")]
    else:
        held = constants(**{"conv.weight": weight, "g": gamma, "b": beta, "m": mean, "v": variance})
        nodes = [helper.make_node("Conv", ["input", "conv.weight"], ["a"], "conv"),
                 helper.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["output"], "bn")]  # fmt: skip
    return model(nodes, {"input": PICTURE}, {"output": ["n", 4, 6, 6]}, held)


def test_a_folded_batch_norm_is_checked_by_computing_it():
    found = explained(with_batch_norm(False), with_batch_norm(True))
    assert found.explained == ["conv: batch norm bn folded into its weight and bias"]
    assert (found.values, found.unexplained) == ([], [])


def test_a_batch_norm_that_was_folded_otherwise_is_not_explained():
    wrong = change(with_batch_norm(True), "conv.bias", lambda bias: bias + 0.1)
    assert explained(with_batch_norm(False), wrong).unexplained == [
        "conv: bias differs by up to 0.1 from what the float layer gives"
    ]
    wrong = change(with_batch_norm(True), "conv.weight", lambda weight: weight * 1.01)
    assert explained(with_batch_norm(False), wrong).values[0].startswith("conv: weight differs by up to 0.0")


def test_versions_that_moved_and_domains_that_came_are_explained():
    moved = copy(network())
    moved.opset_import[0].version = 21
    moved.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert explained(network(), moved).explained == [
        "operator set ai.onnx: 20 → 21", "operator set com.microsoft: added"]  # fmt: skip


def test_a_batch_that_was_fixed_is_explained_and_another_input_is_not():
    assert explained(network(), network(batch=4)).explained == [
        "input 'input': float32 [n, 3, 8, 8] → float32 [4, 3, 8, 8]",
        "output 'output': float32 [n, 3] → float32 [4, 3]",
    ]
    renamed = copy(network())
    renamed.graph.input[0].name = "image"
    renamed.graph.node[0].input[0] = "image"
    assert explained(network(), renamed).unexplained == [
        "input 'input': float32 [n, 3, 8, 8] → (absent)", "input 'image': (absent) → float32 [n, 3, 8, 8]"]  # fmt: skip


def test_operators_that_came_and_went_are_listed_with_their_names():
    other = copy(network())
    other.graph.node[3].op_type = "Sigmoid"
    other.graph.initializer.extend(constants(spare=np.zeros(2, "f")))
    assert explained(network(), other).unexplained == [
        "relu2: Relu only in the first file",
        "relu2: Sigmoid only in the second file",
        "spare: only in the second file: float32 [2]",
    ]


def test_operators_that_do_nothing_may_go():
    idle = copy(network())
    idle.graph.node[0].input[0] = "same"
    idle.graph.node.insert(0, helper.make_node("Identity", ["input"], ["same"], "id"))
    assert explained(idle, network()).explained == ["id: Identity removed"]


def test_a_layer_of_another_name_is_found_by_its_weight_or_by_its_shape():
    renamed = copy(network())
    for node in renamed.graph.node:
        node.name = f"other/{node.name}"
    assert explained(network(), renamed).unexplained == []
    for tensor, node in zip(renamed.graph.initializer, (0, 0, 2, 6, 6), strict=True):
        held = renamed.graph.node[node].input
        held[list(held).index(tensor.name)] = f"x{tensor.name}"
        tensor.name = f"x{tensor.name}"
    found = explained(network(), renamed)
    assert (found.unexplained, found.values, found.unchanged) == ([], [], 3)


def test_weights_in_half_the_bits_are_another_type_of_the_same_values():
    def half(proto):
        return change(proto, "conv1.weight", lambda weight: weight.astype(np.float16))

    found = explained(network(), half(copy(network())))
    assert found.explained == ["conv1: weight in another type: float32 [8, 3, 3, 3] → float16 [8, 3, 3, 3]"]
    assert found.values == []


def test_operators_on_integers_and_fused_ones_are_those_that_the_runtime_writes(quantized, tmp_path):
    """What the runtime makes of a file when it loads it, saved by it."""
    import onnxruntime as ort

    for source, at, ops in ((quantized("static_int8"), 0, {"QLinearConv", "QGemm"}), (None, 1, {"FusedConv"})):
        path = source or artifact_of(network(), tmp_path / "fp32.onnx").path
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"optimized{at}.onnx")
        options.log_severity_level = 4
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"],
                             disabled_optimizers=["NchwcTransformer", "NhwcTransformer"])  # fmt: skip
        after = read_onnx(tmp_path / f"optimized{at}.onnx")
        assert ops <= {node.op.rpartition(".")[2] for node in after.nodes}
        found = explain_onnx(model_of(network(), None), after)
        assert (found.values, found.moved, found.unexplained) == ([], {}, [])
