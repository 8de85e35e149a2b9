"""Layers of a QDQ model put back to floating point."""

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnx_models import artifact_of, constants, model, network, samples
from onnx_models import onnxruntime as backend_spec

from quantbench.backends.interface import Calibration
from quantbench.backends.onnx_runtime.parameters import inner_layer
from quantbench.backends.onnx_runtime.put_back import counterparts, put_back
from quantbench.backends.onnx_runtime.qdq_layers import QdqGraph
from quantbench.backends.onnx_runtime.quantization import prepared
from quantbench.backends.onnx_runtime.writing import whole
from quantbench.errors import QuantizationError
from quantbench.recipes.static_int8 import static_int8_per_channel


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelProto, ModelProto]:
    """The network in floating point, prepared, and quantized."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "int8").mkdir()
    fp32 = network()
    calibration = Calibration(lambda: [samples(32)], samples(4))
    made = (
        backend_spec()
        .create()
        .quantize(artifact_of(fp32, folder / "fp32.onnx"), static_int8_per_channel(), calibration, folder / "int8")
    )
    return prepared(fp32), whole(made.artifact.path)


def outputs_of(proto: ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, samples(64, seed=3))[0])


def error(proto: ModelProto, reference: ModelProto) -> float:
    return float(np.square(outputs_of(proto) - outputs_of(reference)).mean())


def test_each_quantizer_belongs_to_one_layer(pair: tuple[ModelProto, ModelProto]) -> None:
    layers = QdqGraph(pair[1]).layers
    assert [each.name for each in layers if each.is_quantized] == ["input", "conv1", "conv2", "pool", "fc"]
    quantizing = [node for node in pair[1].graph.node if node.op_type == "QuantizeLinear"]
    assert sum(len(each.results) for each in layers) == len(quantizing)


def test_a_model_whose_layers_are_all_put_back_is_the_reference(pair: tuple[ModelProto, ModelProto]) -> None:
    reference, candidate = pair
    names = [each.name for each in QdqGraph(candidate).layers if each.is_quantized]
    back = put_back(candidate, reference, names)
    assert not [node for node in back.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    np.testing.assert_allclose(outputs_of(back), outputs_of(reference), rtol=1e-4, atol=1e-5)


def test_the_activation_that_a_quantizer_stood_for_comes_back(pair: tuple[ModelProto, ModelProto]) -> None:
    """Upstream drops a ReLU before a quantizer whose lowest code is zero."""
    reference, candidate = pair
    assert "Relu" not in {node.op_type for node in candidate.graph.node}
    back = put_back(candidate, reference, ["conv1"])
    assert [node.op_type for node in back.graph.node].count("Relu") == 1
    assert error(back, reference) < 1.2 * error(candidate, reference)


def test_a_broken_layer_put_back_mends_the_model(pair: tuple[ModelProto, ModelProto]) -> None:
    reference, candidate = pair
    broken = ModelProto()
    broken.CopyFrom(candidate)
    for tensor in broken.graph.initializer:
        if tensor.name == "conv2.weight_scale":
            tensor.CopyFrom(numpy_helper.from_array(3 * numpy_helper.to_array(tensor), tensor.name))
    assert error(broken, reference) > 50 * error(candidate, reference)
    assert error(put_back(broken, reference, ["conv2"]), reference) < 2 * error(candidate, reference)
    assert error(put_back(broken, reference, ["conv1"]), reference) > 50 * error(candidate, reference)


def test_integers_that_another_layer_needs_can_be_kept(pair: tuple[ModelProto, ModelProto]) -> None:
    """As a recipe leaves out layers: what a quantized layer reads stays quantized."""
    reference, candidate = pair

    def quantizers(proto: ModelProto) -> int:
        return sum(node.op_type == "QuantizeLinear" for node in proto.graph.node)

    alone = put_back(candidate, reference, ["conv1"], keep_shared=True)
    both = put_back(candidate, reference, ["conv1", "conv2"], keep_shared=True)
    assert quantizers(alone) == quantizers(candidate)
    assert quantizers(both) == quantizers(candidate) - 1
    assert "conv1.weight_quantized" not in {each.name for each in alone.graph.initializer}


def test_layers_are_matched_by_place_where_names_differ(pair: tuple[ModelProto, ModelProto]) -> None:
    reference, renamed = pair[0], ModelProto()
    renamed.CopyFrom(pair[1])
    for node in renamed.graph.node:
        node.name = f"other_{node.name}"
    for name in {value for node in renamed.graph.node for value in node.output} - {"output"}:
        for node in renamed.graph.node:
            for values in (node.input, node.output):
                values[:] = [f"x_{each}" if each == name else each for each in values]
    found = counterparts(QdqGraph(renamed), QdqGraph(reference))
    assert {name: each.name for name, each in found.items() if name != "input"} == {
        "other_conv1": "conv1", "other_conv2": "conv2", "other_fc": "fc"
    }  # fmt: skip
    np.testing.assert_allclose(
        outputs_of(put_back(renamed, reference, ["other_conv2"])), outputs_of(put_back(pair[1], reference, ["conv2"]))
    )


def test_an_unknown_layer_is_told_with_the_known_ones(pair: tuple[ModelProto, ModelProto]) -> None:
    with pytest.raises(QuantizationError, match=r"unknown quantized layer of the model 'conv3'.*conv1"):
        put_back(pair[1], pair[0], ["conv3"])


def test_a_model_without_quantizers_cannot_be_edited(pair: tuple[ModelProto, ModelProto]) -> None:
    with pytest.raises(QuantizationError, match="no QuantizeLinear and DequantizeLinear"):
        put_back(pair[0], pair[0], ["conv1"])


def test_names_fall_back_to_what_a_node_makes() -> None:
    from quantbench.backends.onnx_runtime.qdq_layers import name_of

    assert name_of(helper.make_node("Add", ["a", "b"], ["sum"])) == "sum"


def test_a_factor_that_is_quantized_is_no_weight() -> None:
    dequantize = "DequantizeLinear"
    made = model(
        [
            helper.make_node(dequantize, ["codes", "scale", "zero"], ["factor"], "factor_made"),
            helper.make_node("Mul", ["x", "factor"], ["product"], "scaled"),
            helper.make_node("QuantizeLinear", ["product", "scale", "zero"], ["rounded"], "product_rounded"),
            helper.make_node(dequantize, ["rounded", "scale", "zero"], ["y"], "y_made"),
        ],
        {"x": ["n", 3]}, {"y": ["n", 3]},
        constants(codes=np.int8(80), scale=np.float32(0.5), zero=np.int8(0)),
    )  # fmt: skip
    reference = model(
        [helper.make_node("Mul", ["x", "factor"], ["y"], "scaled")], {"x": ["n", 3]}, {"y": ["n", 3]},
        constants(factor=np.float32(40)),
    )  # fmt: skip
    graph, other = QdqGraph(made), QdqGraph(reference)
    (layer,) = [each for each in graph.layers if each.op == "Mul"]
    (twin,) = [each for each in other.everything() if each.op == "Mul"]
    shown = inner_layer(graph, layer, other, twin)
    assert (shown.weight, shown.bias) == (None, None)
    assert shown.grid is not None
    assert shown.grid.scale == 0.5
