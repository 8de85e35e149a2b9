"""Files of ONNX read and described without their runtime."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import FLOAT, constants, model, network

from quantbench.backends.entry import describe_entry
from quantbench.backends.onnx_description import describe_onnx, entries, structure
from quantbench.backends.onnx_file import Tensor, files_of, model_of, read_onnx
from quantbench.errors import CheckpointError

PICTURE = ["n", 3, 8, 8]


def read(proto):
    return model_of(proto, None)


def described(*values, nodes, **more):
    """Entries of constants, by name and in words, of a model with these nodes."""
    proto = model(nodes, {"input": PICTURE}, {"output": PICTURE}, values, **more)
    return {name: describe_entry(entry) for name, entry in entries(read(proto)).items()}


def scaled(shape, zeros, dtype=np.int8, **attributes):
    """The entry of a weight `[4, 6]` with a scale of that shape."""
    values = constants(w=np.ones((4, 6), dtype), s=np.ones(shape, "f"), z=np.full(shape, zeros, dtype))
    node = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["output"], **attributes)
    return described(*values, nodes=[node], opset=21)["w"]


def test_a_file_is_described_by_its_constants_and_its_structure(tmp_path):
    path = tmp_path / "a.onnx"
    onnx.save(network(), path)
    found = describe_onnx(path)
    assert found.keys["conv1.weight"] == {"dtype": "float32", "shape": [8, 3, 3, 3]}
    assert found.keys.keys() == found.digests.keys()
    assert found.payload_bytes == 4 * (8 * 27 + 8 + 8 * 72 + 24 + 3)
    assert found.graph == {
        "opset": {"ai.onnx": 20},
        "inputs": {"input": "float32 [n, 3, 8, 8]"},
        "outputs": {"output": "float32 [n, 3]"},
        "operators": {"Conv": 2, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1, "Relu": 2},
    }
    assert files_of(path) == (path,)


SCHEMES = {
    "one scale": (lambda: scaled((), 0), "int8 [4, 6] per_tensor_symmetric"),
    "a zero point": (lambda: scaled((), 3), "int8 [4, 6] per_tensor_affine"),
    "unsigned, its middle as zero": (lambda: scaled((), 128, np.uint8), "uint8 [4, 6] per_tensor_symmetric"),
    "a scale per row": (lambda: scaled((4,), 0, axis=0), "int8 [4, 6] per_channel_symmetric axis 0"),
    "a scale per column": (lambda: scaled((6,), 0, axis=-1), "int8 [4, 6] per_channel_symmetric axis 1"),
    "blocks": (lambda: scaled((4, 2), 0, axis=1, block_size=3), "int8 [4, 6] per_block_symmetric axis 1 block 3"),
}


@pytest.mark.parametrize(("make", "words"), SCHEMES.values(), ids=SCHEMES)
def test_quantized_constants_have_scheme_and_axis(make, words):
    assert make() == words


def test_a_missing_zero_point_is_zero():
    def entry(dtype):
        values = constants(w=np.ones(4, dtype), s=np.float32(1))
        return described(*values, nodes=[helper.make_node("DequantizeLinear", ["w", "s"], ["output"])])["w"]

    assert (entry(np.int8), entry(np.uint8)) == ("int8 [4] per_tensor_symmetric", "uint8 [4] per_tensor_affine")


def test_operators_on_integers_tell_the_same_of_their_weights():
    values = constants(w=np.ones((4, 3, 1, 1), np.int8), ws=np.ones(4, "f"), wz=np.zeros(4, np.int8),
                       s=np.float32(1), z=np.uint8(0))  # fmt: skip
    conv = helper.make_node("QLinearConv", ["input", "s", "z", "w", "ws", "wz", "s", "z"], ["output"])
    assert described(*values, nodes=[conv])["w"] == "int8 [4, 3, 1, 1] per_channel_symmetric axis 0"


def test_weights_whose_scale_comes_after_the_sum_have_no_axis():
    values = constants(w=np.ones((3, 4), np.int8), xz=np.uint8(0), wz=np.full(4, 1, np.int8), one=np.zeros((), np.int8))
    for zero, words in (("wz", "per_channel_affine"), ("one", "per_tensor_symmetric"), ("", "per_tensor_symmetric")):
        node = helper.make_node("MatMulInteger", ["input", "w", "xz", zero], ["output"])
        assert described(*values, nodes=[node])["w"] == f"int8 [3, 4] {words}"


def test_constants_of_nodes_and_of_inner_graphs_and_functions_are_constants():
    held = [numpy_helper.from_array(np.full(2, value, "f"), "c") for value in (1, 2, 3)]
    given = [helper.make_tensor_value_info("y", FLOAT, None)]
    five = constants(w=np.ones(5, "f"))
    then = helper.make_graph([helper.make_node("Add", ["w", "w"], ["y"])], "then", [], given, five)
    otherwise = helper.make_graph([helper.make_node("Constant", [], ["y"], value=held[0])], "else", [], given)
    nodes = [helper.make_node("If", ["go"], ["output"], "if", then_branch=then, else_branch=otherwise),
             helper.make_node("Constant", [], ["c"], value=held[1]),
             helper.make_node("Twice", ["c"], ["d"], domain="my")]  # fmt: skip
    proto = model(nodes, {"input": PICTURE}, {"output": PICTURE}, constants(go=np.array(True), w=np.ones(3, "f")),
                  domains=["my"])  # fmt: skip
    inside = helper.make_node("Constant", [], ["k"], value=held[2])
    proto.functions.append(helper.make_function("my", "Twice", ["x"], ["k"], [inside], [helper.make_opsetid("", 20)]))
    found = read(proto)
    assert {name: (each.dtype, each.shape) for name, each in found.constants.items()} == {
        "go": ("bool", ()), "w": ("float32", (3,)), "w#2": ("float32", (5,)), "y": ("float32", (2,)),
        "c": ("float32", (2,)), "k": ("float32", (2,)),
    }  # fmt: skip
    assert structure(found)["operators"] == {"Add": 1, "Constant": 3, "If": 1, "my.Twice": 1}


def test_attributes_are_plain_values():
    node = helper.make_node("Any", [], ["output"], f=0.5, i=3, s="text", fs=[0.5, 1.5], ints=[1, 2], strings=["a", "b"],
                            t=numpy_helper.from_array(np.ones(2, "f"), "t"), domain="my")  # fmt: skip
    (found,) = read(model([node], {}, {"output": PICTURE}, domains=["my"])).nodes
    tensor = found.attributes.pop("t")
    assert found.attributes == {"f": 0.5, "i": 3, "s": "text", "fs": [0.5, 1.5], "ints": [1, 2], "strings": ["a", "b"]}
    assert (found.op, tensor.values().tolist()) == ("my.Any", [1.0, 1.0])
    kind = helper.make_node("Any", [], ["output"], t=helper.make_tensor_type_proto(FLOAT, [1]))
    assert read(model([kind], {}, {"output": PICTURE})).nodes[0].attributes == {"t": None}


def test_bytes_are_those_of_the_values_where_several_share_a_byte_too():
    four = helper.make_tensor("w", TensorProto.INT4, [5], [1, -2, 3, -4, 5])
    text = helper.make_tensor("t", TensorProto.STRING, [2], [b"a", b"b"])
    found = read(
        model([helper.make_node("Identity", ["w"], ["output"])], {}, {"output": PICTURE}, [four, text])
    ).constants
    assert (found["w"].dtype, found["w"].nbytes, found["w"].values().tolist()) == ("int4", 3, [1, -2, 3, -4, 5])
    assert (found["t"].dtype, found["t"].nbytes) == ("string", 0)


def test_digests_tell_values_types_and_texts_apart(tmp_path):
    def digests(value):
        path = tmp_path / "a.onnx"
        values = [value] if isinstance(value, TensorProto) else constants(w=value)
        onnx.save(model([helper.make_node("Identity", ["w"], ["output"])], {}, {"output": PICTURE}, values), path)
        return describe_onnx(path).digests["w"]

    values = [np.zeros(2, "f"), np.ones(2, "f"), np.zeros(1, "f"), np.zeros(2, np.int32)]
    values += [helper.make_tensor("w", TensorProto.STRING, [1], [text]) for text in (b"a", b"b")]
    assert len({digests(each) for each in values}) == len(values)
    assert digests(values[0]) == hashlib.sha256(b"float32 [2] " + bytes(8)).hexdigest()


def test_a_type_that_this_version_does_not_know_has_its_number():
    tensor = TensorProto(name="w", data_type=99, dims=[2])
    assert read(model([], {}, {"output": PICTURE}, [tensor])).constants["w"].dtype == "type 99"


def test_sparse_initializers_are_named_without_their_values():
    sparse = helper.make_sparse_tensor(helper.make_tensor("s", FLOAT, [1], [1.0]),
                                       helper.make_tensor("i", TensorProto.INT64, [1], [3]), [10**9])  # fmt: skip
    proto = model([helper.make_node("Identity", ["s"], ["output"])], {}, {"output": PICTURE})
    proto.graph.sparse_initializer.append(sparse)
    found = read(proto)
    assert (found.constants, structure(found)["sparse"]) == ({}, ["s"])


def test_inputs_that_are_no_tensors_are_named_by_their_kind():
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [1]))
    free = helper.make_tensor_type_proto(FLOAT, None)
    proto = model([], {"a": sequence, "b": free, "c": [None, 2]}, {"output": PICTURE})
    assert read(proto).inputs == {"a": "sequence", "b": "float32 of any shape", "c": "float32 [?, 2]"}


def test_values_that_are_not_what_their_shape_tells_are_refused(tmp_path):
    broken = network()
    broken.graph.initializer[0].raw_data = b"123"
    path = tmp_path / "a.onnx"
    onnx.save(broken, path)
    with pytest.raises(
        CheckpointError, match=r"a\.onnx: 'conv1\.weight' does not hold float32 \[8, 3, 3, 3\] \(.*\); "
    ):
        describe_onnx(path)
    assert isinstance(read_onnx(path).constants["conv1.weight"], Tensor)


@pytest.mark.parametrize("name", [b"conv1.weight", b"relu1", b"Gemm", b"output"])
def test_names_that_are_no_text_are_refused(name, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(network().SerializeToString().replace(name, b"\xf5" * len(name)))
    with pytest.raises(CheckpointError, match=r"a\.onnx: holds the name .*, which is no text; export it again"):
        read_onnx(path)


def test_names_that_no_terminal_shows_are_escaped_in_messages(tmp_path):
    broken = network()
    broken.graph.initializer[0].name = "a\x1b[31m"
    broken.graph.initializer[0].raw_data = b"123"
    path = tmp_path / "a.onnx"
    onnx.save(broken, path)
    with pytest.raises(CheckpointError) as error:
        describe_onnx(path)
    assert str(error.value).isprintable()
