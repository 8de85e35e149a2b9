"""Scales of every format's layers: read from files, through fused activations, and matched with another file's."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from artifacts import artifact_at
from exported_programs import PICTURES, SPEC, calibration, recipe
from foreign_residual import residual, settled
from onnx import helper
from onnx_models import artifact_of, constants, model, network, onnxruntime, samples
from tiny_ir import ir, weights

from quantbench.backends.checkpoint import write_checkpoint
from quantbench.backends.interface import Artifact, BackendSpec, Calibration
from quantbench.backends.openvino_runtime.library import openvino
from quantbench.parity.layers import Layer, Origin, Outputs, Scale, Weights, assembled, layers_of
from quantbench.parity.matching import matched, scales_of
from quantbench.parity.program_layers import _origin as program_origin
from quantbench.recipes.ready_made import ready_made
from quantbench.registry import RECIPES


def by_place(artifact):
    layers, reason = layers_of(artifact)
    assert reason == ""
    return {each.place: each for each in layers}


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """The small network of ONNX in static int8."""
    folder = tmp_path_factory.mktemp("onnx")
    reference = artifact_of(network(), folder / "fp32.onnx")
    made = RECIPES.create("static_int8", "here", {})
    given = Calibration(lambda: [samples()], samples(2))
    return onnxruntime().create().quantize(reference, made, given, folder).artifact


def test_a_file_of_onnx_tells_weights_and_what_each_layer_gives_through_its_relu(onnx_file):
    layers = by_place(onnx_file)
    assert {"input", "conv1", "conv2", "fc"} <= layers.keys()
    assert layers["conv1"].weights.scale.scale.shape == (8,)
    assert layers["conv1"].outputs.zero_point.tolist() == [0.0]
    assert layers["input"].weights is None
    # The pooled values keep the scale of what was pooled, or have one of their own by their operator's name.
    assert {name for name in layers if name not in ("input", "conv1", "conv2", "fc")} <= {"pool"}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The residual network of somebody else as a `.pt2` file in int8, which nothing compiles."""
    from quantbench.backends.pt2e import backend

    folder = tmp_path_factory.mktemp("program")
    source = folder / "reference.pt"
    write_checkpoint(source, settled(residual(), (3, 8, 8)).state_dict())
    reference = artifact_at(source, backend="torch", model="foreign_residual:residual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.Pt2eBackend, "load", lambda *_: None)
        patch.setattr(backend, "check_same", lambda *_, **__: None)
        return (
            SPEC.create().quantize(reference, recipe("static_int8_per_channel"), calibration(PICTURES), folder).artifact
        )


def test_a_program_tells_layers_by_their_names_through_activations_and_slices(program):
    layers = by_place(program)
    # What is sliced and padded keeps the scale of the stem; the sum goes into a mean before it is quantized.
    assert set(layers) == {"input", "stem", "block.conv1", "block.conv2", "fc", "mean"}
    assert layers["block.conv1"].weights.values.shape == (16, 8, 3, 3)
    assert layers["block.conv1"].outputs is not None
    assert layers["block.conv2"].outputs is None


def call(target, *given, module=""):
    """A node of a program, as far as its origin is looked at."""
    stack = {module: (module, "")} if module else {}
    return SimpleNamespace(
        op="call_function", target=target, name=target, all_input_nodes=given, meta={"nn_module_stack": stack}
    )


def test_a_sum_in_a_program_is_known_by_its_module():
    given = SimpleNamespace(op="placeholder", target="x", name="x", all_input_nodes=())
    one, other = (call("aten.conv2d.default", given, module=f"block.conv{i}") for i in (1, 2))
    total = call("aten.relu.default", call("aten.add_.Tensor", one, other, module="block"))
    assert program_origin(total, {}) == Origin("join", "block")
    assert program_origin(call("aten.relu.default", one), {}) == Origin("layer", "block.conv1")
    assert program_origin(call("aten.mean.dim", one), {}) == Origin("other", "aten.mean.dim")
    assert program_origin(call("aten.unsqueeze.default", given), {}) == Origin("input", "x")


def test_a_sum_in_a_file_of_onnx_is_known_by_the_module_in_its_name(tmp_path):
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w"], ["a"], "block/conv"),
        make("Add", ["a", "x"], ["b"], "block/Add"),
        make("Relu", ["b"], ["c"], "relu"),
        make("QuantizeLinear", ["c", "s", "z"], ["d"], "quantize"),
        make("MaxPool", ["d"], ["e"], "pool", kernel_shape=[1, 1]),
        make("DequantizeLinear", ["e", "s", "z"], ["y"], "dequantize"),
    ]
    held = constants(w=np.ones((3, 3, 1, 1), np.float32), s=np.float32(0.1), z=np.uint8(3))
    file = artifact_of(model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["n", 3, 8, 8]}, held), tmp_path / "a.onnx")
    assert [(each.place, each.outputs.scale.round(3).tolist()) for each in layers_of(file)[0]] == [("block+", [0.1])]


def test_a_state_dict_tells_layers_stubs_and_sums_of_a_module(tmp_path):
    weight = torch.quantize_per_channel(torch.randn(4, 3, 3, 3), torch.full((4,), 0.1), torch.zeros(4), 0, torch.qint8)
    fc = torch.quantize_per_tensor(torch.randn(2, 4), 0.2, 0, torch.qint8)
    state = {
        "quant.scale": torch.tensor([0.5]), "quant.zero_point": torch.tensor([7]),
        "layer1.conv.weight": weight, "layer1.conv.scale": torch.tensor(0.3), "layer1.conv.zero_point": torch.tensor(0),
        "layer1.add.scale": torch.tensor(0.4), "layer1.add.zero_point": torch.tensor(1),
        "layer1.again.scale": torch.tensor(0.6), "layer1.again.zero_point": torch.tensor(2),
        "fc._packed_params._packed_params": (fc, None), "fc.scale": torch.tensor(0.7), "fc.zero_point": torch.tensor(3),
    }  # fmt: skip
    write_checkpoint(tmp_path / "model.pt", state)
    layers = by_place(artifact_at(tmp_path / "model.pt"))
    assert set(layers) == {"input", "layer1.conv", "layer1+", "layer1+2", "fc"}
    assert layers["input"].name == "quant"
    assert layers["layer1+2"].outputs.scale == pytest.approx([0.6])
    assert layers["fc"].weights.scale.scale == pytest.approx([0.2])
    np.testing.assert_allclose(layers["layer1.conv"].weights.values, weight.dequantize().numpy())


def test_a_state_dict_of_graph_mode_tells_its_input_and_sums_by_the_module_that_they_are_in(tmp_path):
    weight = torch.quantize_per_tensor(torch.randn(4, 3, 3, 3), 0.1, 0, torch.qint8)
    numbers = {"scale": torch.tensor(0.3), "zero_point": torch.tensor(2)}
    state = {
        **{f"stem_input_{name}_0": value for name, value in numbers.items()},
        **{f"layer1_0_{name}_0": value for name, value in numbers.items()},
        **{f"layer1_0_{name}_1": value for name, value in numbers.items()},
        **{f"elsewhere_{name}_0": value for name, value in numbers.items()},
        "layer1.0.conv.weight": weight, "layer1.0.conv.scale": torch.tensor(0.3),
        "layer1.0.conv.zero_point": torch.tensor(0), "fc_scale_3": torch.tensor(1.0),
    }  # fmt: skip
    write_checkpoint(tmp_path / "model.pt", state)
    layers = by_place(artifact_at(tmp_path / "model.pt"))
    assert set(layers) == {"input", "layer1.0.conv", "layer1.0+", "layer1.0+2", "elsewhere_scale_0"}
    assert layers["input"].outputs.zero_point.tolist() == [2.0]


@pytest.fixture(scope="module")
def openvino_files(tmp_path_factory):
    """The small model of OpenVINO in int8."""
    path = tmp_path_factory.mktemp("ir") / "model.xml"
    openvino().save_model(ir("int8"), path, compress_to_fp16=False)
    spec = BackendSpec("openvino", {}, "here")
    return Artifact.of_files(spec, [path, path.with_suffix(".bin")], ready_made(path="model.xml"))


def test_openvino_tells_weights_and_the_ends_of_quantizers(openvino_files):
    layers, _ = layers_of(openvino_files)
    own = [each for each in layers if each.weights is not None]
    assert [each.weights.values.shape[0] for each in own] == [8, 3]
    np.testing.assert_allclose(own[0].weights.values, weights()[0], atol=0.01)
    given = next(each for each in layers if each.place == "input")
    assert given.outputs.scale == pytest.approx([8 / 255])
    assert given.outputs.zero_point == pytest.approx([128])


def test_layers_without_names_are_matched_by_their_weights_and_say_so(openvino_files):
    conv, fc = weights()
    named = [
        Layer("fc", "fc", Weights(Scale.of(np.full(3, 0.1), 0), fc.astype(float))),
        Layer("conv", "conv", Weights(Scale.of(np.full(8, 0.1), 0), conv[:, :, None].astype(float))),
        Layer("other", "other", Weights(Scale.of(np.full(8, 0.1), 0), 2 * conv.astype(float))),
    ]
    pairs, left, right = matched(named, layers_of(openvino_files)[0])
    assert [(each.base.name, each.by) for each in pairs] == [("fc", "weights"), ("conv", "weights")]
    assert [each.name for each in left] == ["other"]
    assert "input" in {each.place for each in right}


def test_layers_of_one_name_and_other_shapes_are_no_pair():
    one = Layer("conv", "conv", Weights(Scale.of(0.1, 0), np.ones((4, 3))))
    other = replace(one, weights=Weights(Scale.of(0.1, 0), np.ones((5, 3))))
    assert matched([one], [other]) == ([], [one], [other])


def test_what_only_one_of_a_pair_quantizes_is_told():
    one = Layer("conv", "conv", Weights(Scale.of(0.1, 0), np.ones((4, 3))), Scale.of(0.2, 0))
    (pair,), _, _ = matched([one], [replace(one, outputs=None)])
    assert [(part, right is None) for part, _, right in scales_of(pair)] == [("weights", False), ("outputs", True)]


def test_a_second_quantizer_of_a_place_is_kept_if_its_scale_is_another():
    same, another = Scale.of(0.1, 0), Scale.of(0.2, 0)
    found = assembled({}, [Outputs("a", "a", same), Outputs("a", "a", same), Outputs("a", "a", another)])
    assert [each.place for each in found] == ["a", "a#2"]


def test_a_format_that_is_not_read_and_a_file_without_scales_say_so(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"program")
    assert layers_of(artifact_at(tmp_path / "model.tflite")) == ([], "scales within .tflite files are not read")
    write_checkpoint(tmp_path / "model.pt", {"conv.weight": torch.ones(2, 2)})
    assert layers_of(artifact_at(tmp_path / "model.pt")) == ([], "it holds no scales")
    (tmp_path / "model.pt").write_bytes(b"no checkpoint")
    assert "model.pt" in layers_of(artifact_at(tmp_path / "model.pt"))[1]
