"""Any `.onnx` file as a predictor; what cannot be one is a line."""

import os
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnx_models import FLOAT, artifact_of, constants, model, network, onnxruntime, samples

from quantbench.backends.interface import Artifact
from quantbench.backends.onnx_file import files_of
from quantbench.errors import CheckpointError, ConfigError, EvaluationError, ExtraMissingError
from quantbench.files import sha256_of_file
from quantbench.registry import BACKENDS

N = "n"
PICTURE = [N, 3, 8, 8]


def loaded(proto, folder, threads=1, **params):
    return onnxruntime(**params).create().load(artifact_of(proto, folder / "a.onnx", **params), threads)


def refused(proto, folder, error=CheckpointError, inputs=None, **params):
    """The line about a model that cannot be loaded, or run on the given samples."""
    with pytest.raises(error) as raised:
        loaded(proto, folder, **params)(inputs or samples())
    line = str(raised.value)
    assert "\n" not in line
    assert "a.onnx" in line
    return line


def relu(inputs, outputs, op="Relu", **more):
    """A model of one operator."""
    return model([helper.make_node(op, ["input"], ["output"], **more.pop("node", {}))], {"input": inputs},
                 {"output": outputs}, **more)  # fmt: skip


@pytest.mark.parametrize("optimization", ["all", "extended", "basic", "none"])
def test_a_file_gives_the_same_answers_however_far_its_graph_is_rewritten(optimization, tmp_path):
    expected = loaded(network(), tmp_path)(samples())["output"]
    found = loaded(network(), tmp_path, graph_optimization=optimization)(samples())["output"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert expected.shape == (8, 3)


def test_threads_are_the_session_s_own_and_wait_without_spinning(tmp_path):
    options = loaded(network(), tmp_path, threads=2)._runner.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_provider_that_fails_is_not_replaced_by_another_one(tmp_path):
    assert loaded(network(), tmp_path)._runner.session._enable_fallback is False


def test_what_a_forward_gave_stays_as_it_was_given(tmp_path):
    predictor = loaded(network(), tmp_path)
    first = predictor(samples(seed=1))["output"]
    kept = first.copy()
    predictor(samples(seed=2))
    np.testing.assert_array_equal(first, kept)


def test_a_file_of_a_fixed_batch_gives_what_an_open_one_gives(tmp_path):
    fixed, open_ = loaded(network(batch=3), tmp_path), loaded(network(), tmp_path)
    np.testing.assert_allclose(fixed(samples())["output"], open_(samples())["output"], rtol=1e-5, atol=1e-6)


def test_channels_last_files_get_pictures_moved(tmp_path):
    nhwc = relu([N, 8, 8, 3], [N, 8, 8, 3])
    predictor = loaded(nhwc, tmp_path)
    assert predictor(samples())["output"].shape == (8, 8, 8, 3)
    assert predictor.notes == ("input 'input': channels moved last (NCHW → NHWC)",)
    assert "takes 'input' float32 [?, 8, 8, 3], and the data's" in refused(
        nhwc, tmp_path, EvaluationError, layout="nchw"
    )


def test_an_input_without_a_shape_takes_samples_once_their_layout_is_named(tmp_path):
    free = relu(helper.make_tensor_type_proto(FLOAT, None), helper.make_tensor_type_proto(FLOAT, None))
    assert "name which: backend: {name: …, layout: nchw}" in refused(free, tmp_path, EvaluationError)
    assert loaded(free, tmp_path, layout="nchw")(samples())["output"].shape == (8, 3, 8, 8)


def codes(scale, zero_point, scale_out):
    """Integers in, the same values as other integers out."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["values"], "in"),
        helper.make_node("QuantizeLinear", ["values", "t"], ["y"], "out", output_dtype=TensorProto.INT8),
    ]
    integers = helper.make_tensor_type_proto(TensorProto.INT8, [N, 2])
    held = constants(s=np.float32(scale), z=np.int8(zero_point), t=np.float32(scale_out), other=np.float32(9))
    return model(nodes, {"x": integers}, {"y": integers}, held, opset=21)


def test_integers_of_a_file_stand_for_what_its_own_scale_tells(tmp_path):
    predictor = loaded(codes(0.5, -3, [0.25]), tmp_path)
    found = predictor({"any": np.array([[1.5, -2.25], [0.0, 60.0]], np.float32)})
    assert found["y"].dtype == np.float32
    assert found["y"].tolist() == [[1.5, -2.0], [0.0, 31.75]], "halves to even; clipped at the end of its range"
    assert predictor.notes == (
        "output 'y': dequantized from int8 (scale 0.25, zero point 0)",
        "input 'x': quantized to int8 (scale 0.5, zero point -3)",
    )
    assert loaded(codes(0.5, -3, 0.25), tmp_path)({"any": np.array([[3, -7]], np.int8)})["y"].tolist() == [[3.0, -2.0]]


def test_integers_that_are_taken_in_two_ways_have_no_scale(tmp_path):
    two = codes(0.5, 0, 0.25)
    two.graph.node.append(helper.make_node("DequantizeLinear", ["x", "other"], ["z2"], "again"))
    two.graph.output.append(helper.make_tensor_value_info("z2", FLOAT, [N, 2]))
    line = refused(two, tmp_path, EvaluationError, {"any": np.zeros((1, 2), np.float32)})
    assert "takes 'x' int8 [?, 2], integers without a scale, and the data is float32; give it integers" in line


def test_an_input_that_no_sample_brings_is_filled(tmp_path):
    gain = model([helper.make_node("Mul", ["input", "gain"], ["output"])],
                 {"input": PICTURE, "gain": []}, {"output": PICTURE})  # fmt: skip
    predictor = loaded(gain, tmp_path, constants={"gain": 2.0})
    np.testing.assert_array_equal(predictor(samples())["output"], 2 * samples()["input"])
    assert predictor.notes == ("input 'gain': always 2",)


def test_two_inputs_and_no_names_are_asked_for(tmp_path):
    added = model([helper.make_node("Add", ["a", "b"], ["output"])], {"a": PICTURE, "b": PICTURE}, {"output": PICTURE})
    two = {"x": samples()["input"], "y": samples()["input"]}
    assert "takes 2 inputs ('a' float32 [?, 3, 8, 8], 'b' float32 [?, 3, 8, 8])" in refused(
        added, tmp_path, EvaluationError, two
    )


def test_a_batch_that_is_fixed_inside_of_the_graph_is_told_by_the_forward(tmp_path):
    reshaped = model([helper.make_node("Reshape", ["input", "sizes"], ["output"])],
                     {"input": PICTURE}, {"output": ["m", 192]}, constants(sizes=np.array([4, 192])))  # fmt: skip
    line = refused(reshaped, tmp_path, EvaluationError)
    assert "its forward on 'input' [8, 3, 8, 8] failed: Non-zero status code returned while running Reshape" in line
    assert "/onnxruntime_src/" not in line


# Files that are no model, or none that this runtime can run.
CONTENTS = {
    "empty": (lambda _: b"", "no ONNX model: it names no version, no operator set or no output"),
    "text": (lambda _: b"hello world, this is no model", "no whole ONNX model"),
    "a version alone": (lambda whole: whole[:2], "no ONNX model: it names no version"),
    "cut short": (lambda whole: whole[:900], "no whole ONNX model"),
    "zeros": (lambda _: bytes(4000), "no whole ONNX model"),
}


@pytest.mark.parametrize(("content", "told"), CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_or_foreign_file_is_refused(content, told, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(content(network().SerializeToString()))
    artifact = Artifact.of_files(onnxruntime(), [path], artifact_of(network(), tmp_path / "b.onnx").recipe)
    backend = onnxruntime().create()
    for step in (lambda: backend.load(artifact, 1), lambda: backend.describe(artifact)):
        with pytest.raises(CheckpointError, match=f"^{path}: {told}"):
            step()


def test_a_file_that_is_gone_or_is_no_file_is_refused(tmp_path):
    artifact = artifact_of(network(), tmp_path / "a.onnx")
    artifact.path.unlink()
    with pytest.raises(CheckpointError, match=r"a\.onnx: no such file$"):
        onnxruntime().create().load(artifact, 1)
    artifact.path.mkdir()
    with pytest.raises(CheckpointError, match=r"a\.onnx: cannot be read \(is a folder, not a file\)"):
        onnxruntime().create().load(artifact, 1)


def test_a_file_larger_than_a_message_can_be_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("quantbench.backends.onnx_file.LARGEST", 1000)
    assert "cannot be read (is larger than 1,000 bytes)" in refused(network(), tmp_path)


def test_a_file_that_changed_since_it_was_measured_is_refused(tmp_path):
    artifact = artifact_of(network(), tmp_path / "a.onnx")
    artifact_of(network(seed=1), tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match=r"a\.onnx: is not the file that was measured before: its sha256 is"):
        onnxruntime().create().load(artifact, 1)


UNKNOWN = {
    "operator": (relu(PICTURE, PICTURE, "Foo"), "No Op registered for Foo with domain_version of 20; this runtime"),
    "domain": (
        relu(PICTURE, PICTURE, "Foo", node={"domain": "my.ops"}, domains=["my.ops"]),
        "my.ops:Foo(-1) is not a registered function/op; this runtime does not know that operator: replace it",
    ),
    "format": (
        relu(PICTURE, PICTURE, ir=99),
        "Unsupported model IR version: 99, max supported IR version: 14; update onnxruntime, or export it again with",
    ),
    "operator set": (relu(PICTURE, PICTURE, opset=99), "; update onnxruntime, or export it again with an older opset"),
    "kernel": (
        relu(helper.make_tensor_type_proto(TensorProto.BFLOAT16, [1]), helper.make_tensor_type_proto(
            TensorProto.BFLOAT16, [1]), "Round", opset=22),
        "Could not find an implementation for Round(22) node with name ''; this runtime has no kernel of that operator",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("proto", "told"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_this_runtime_does_not_know_is_told_with_what_to_do(proto, told, tmp_path):
    line = refused(proto, tmp_path)
    assert f"a.onnx: onnxruntime {ort.__version__} cannot load it: " in line
    assert told in line
    assert "/onnxruntime_src/" not in line


def test_sizes_that_no_file_holds_are_refused(tmp_path):
    huge = network()
    huge.graph.initializer[0].dims[0] = 10**9
    assert "declares a size of 108000000000 bytes" in refused(huge, tmp_path)
    with pytest.raises(
        CheckpointError, match=r"a\.onnx: 'conv1\.weight' does not hold float32 \[1000000000, 3, 3, 3\]"
    ):
        onnxruntime().create().describe(artifact_of(huge, tmp_path / "a.onnx"))


# Inputs and outputs that are no arrays of numbers.
def classifier():
    """Labels and, as scikit-learn's converter writes them, a map of probabilities for each sample."""
    maps = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None))
    nodes = [
        helper.make_node("Flatten", ["input"], ["scores"]),
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml",
                         classlabels_int64s=list(range(192))),
    ]  # fmt: skip
    outputs = {"scores": [N, 192], "probabilities": helper.make_sequence_type_proto(maps)}
    return model(nodes, {"input": PICTURE}, outputs, domains=["ai.onnx.ml"])


def test_a_map_as_output_is_refused_with_the_outputs_to_choose_from(tmp_path):
    assert refused(classifier(), tmp_path).endswith(
        "a.onnx: output 'probabilities' is seq(map(int64,tensor(float))), which is no array of numbers; name one that "
        "is (backend: {name: onnxruntime, output: …}): 'scores' tensor(float), 'probabilities' "
        "seq(map(int64,tensor(float)))"
    )
    assert loaded(classifier(), tmp_path, output="scores")(samples())["scores"].shape == (8, 192)


def test_an_output_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"^a\.onnx: has no output 'logits'; it has 'output' float32 \[\?, 3\]$"):
        loaded(network(), tmp_path, output="logits")


@pytest.mark.parametrize(("kind", "told"), [(TensorProto.STRING, "tensor(string)"), (16, "tensor(bfloat16)")])
def test_inputs_that_numpy_has_no_numbers_for_are_refused(kind, told, tmp_path):
    tensor = helper.make_tensor_type_proto(kind, [N])
    line = refused(relu(tensor, tensor, "Identity"), tmp_path)
    assert f"a.onnx: input 'input' is {told}, which is no array of numbers; quantbench gives arrays of numbers" in line


def test_sequences_as_input_are_refused(tmp_path):
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [N]))
    line = refused(model([helper.make_node("SequenceAt", ["input", "at"], ["output"])], {"input": sequence},
                         {"output": [N]}, constants(at=np.array(0))), tmp_path)  # fmt: skip
    assert "a.onnx: input 'input' is seq(tensor(float)), which is no array" in line


# Parameters of the backend.
def test_providers_that_this_build_lacks_are_named_with_those_it_has(tmp_path):
    with pytest.raises(ConfigError, match=r"^here: providers: this build of onnxruntime has no 'NoSuch'; it has .*CPU"):
        loaded(network(), tmp_path, providers=["NoSuch"])
    with pytest.raises(ConfigError, match=r"^here: providers: none is named; this build has .*CPUExecutionProvider"):
        loaded(network(), tmp_path, providers=[])


@pytest.mark.parametrize("params", [{"graph_optimization": "fast"}, {"layout": "chw"}, {"threads": 2}])
def test_other_parameters_are_refused(params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        BACKENDS.create("onnxruntime", "here", params)


def test_a_missing_library_is_told_before_anything_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExtraMissingError, match=r"backend 'onnxruntime': needs .*quantbench-suite\[onnxruntime\]"):
        BACKENDS.create("onnxruntime", "here", {})


# Values in other files.
def beside(folder, location="values.bin"):
    """A model whose weights are in another file."""
    path = folder / "a.onnx"
    onnx.save_model(network(), path, save_as_external_data=True, location="values.bin", size_threshold=0)
    if location != "values.bin":
        proto = onnx.load(path, load_external_data=False)
        for tensor in proto.graph.initializer:
            entry = next(each for each in tensor.external_data if each.key == "location")
            entry.value = location
        path.write_bytes(proto.SerializeToString())
    return path


def of_files(files):
    return replace(artifact_of(network(), files[0].parent / "b.onnx"), files=tuple(files), sha256=tuple(
        sha256_of_file(each) for each in files))  # fmt: skip


def test_values_in_another_file_belong_to_the_artifact(tmp_path):
    artifact, inside = (
        of_files(onnxruntime().create().files_of(beside(tmp_path))),
        artifact_of(network(), tmp_path / "inside.onnx"),
    )
    assert [each.name for each in artifact.files] == ["a.onnx", "values.bin"]
    backend = onnxruntime().create()
    found, expected = (backend.load(each, 1)(samples())["output"] for each in (artifact, inside))
    np.testing.assert_array_equal(found, expected)
    assert backend.describe(artifact) == backend.describe(inside)
    assert artifact.size_bytes == sum((tmp_path / name).stat().st_size for name in ("a.onnx", "values.bin"))
    assert backend.kernels(artifact, samples()) == backend.kernels(inside, samples())


def test_values_that_are_not_among_the_artifact_s_files_are_refused(tmp_path):
    artifact = of_files([beside(tmp_path)])
    with pytest.raises(CheckpointError, match=r"a\.onnx: has values in values\.bin, which is not among the artifact's"):
        onnxruntime().create().load(artifact, 1)


def test_values_that_changed_are_refused(tmp_path):
    artifact = of_files(files_of(beside(tmp_path)))
    values = artifact.files[1]
    values.write_bytes(bytes(values.stat().st_size))
    with pytest.raises(CheckpointError, match=r"values\.bin: is not the file that was measured before"):
        onnxruntime().create().load(artifact, 1)


@pytest.mark.parametrize("location", ["../values.bin", "/anywhere/values.bin", "", "sub/../../values.bin"])
def test_values_outside_of_the_model_s_folder_are_refused(location, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    path = beside(folder, location)
    os.link(folder / "values.bin", tmp_path / "values.bin")
    with pytest.raises(CheckpointError, match=rf"a\.onnx: the values of 'conv1\.weight' are in '{location}', outside "):
        files_of(path)
    with pytest.raises(CheckpointError, match="outside of the model's folder"):
        onnxruntime().create().load(of_files([path]), 1)


def test_values_behind_a_link_that_leads_out_are_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    path = beside(folder)
    (folder / "values.bin").rename(tmp_path / "values.bin")
    (folder / "values.bin").symlink_to(tmp_path / "values.bin")
    with pytest.raises(CheckpointError, match=r"are in 'values\.bin', outside of the model's folder; put them beside"):
        files_of(path)


def test_values_whose_file_is_missing_or_too_short_or_a_pipe_are_refused(tmp_path):
    path = beside(tmp_path)
    values = tmp_path / "values.bin"
    content = values.read_bytes()
    values.write_bytes(content[:1000])
    with pytest.raises(CheckpointError, match=r"bytes [\d,]+ to [\d,]+, and that file has 1,000; it was cut short or"):
        files_of(path)
    values.unlink()
    with pytest.raises(CheckpointError, match=r"are in 'values\.bin', which is not there; copy it beside the model$"):
        files_of(path)
    os.mkfifo(values)
    with pytest.raises(CheckpointError, match=r"which cannot be read \(is a named pipe, not a file\)"):
        files_of(path)


def test_values_at_no_place_are_refused(tmp_path):
    path = beside(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    entry = next(each for each in proto.graph.initializer[0].external_data if each.key == "length")
    for value, told in (("many", "at no place in it that is a number"), ("-1", "bytes 0 to -1, and that file has")):
        entry.value = value
        path.write_bytes(proto.SerializeToString())
        with pytest.raises(CheckpointError, match=told):
            files_of(path)
