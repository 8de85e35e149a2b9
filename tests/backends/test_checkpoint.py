"""Checkpoint files: the same bytes for the same content, described key by key, opened without running code."""

import pickle

import pytest
import torch
from tiny_model import tiny_cnn
from torch import nn

from quantbench.backends.checkpoint import (
    describe_entry,
    payload_bytes,
    read_checkpoint,
    schema_of,
    serialize,
    write_checkpoint,
)
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import CheckpointError
from quantbench.registry import RECIPES


class Code:
    """A pickle of this makes the file `trace` when it is opened carelessly."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def quantized_state(recipe="static_int8_per_channel"):
    torch.manual_seed(0)
    backend = EagerBackend(default_engine())
    spec = RECIPES.create(recipe, "here", {})
    return backend.quantize_module(tiny_cnn().eval(), spec, lambda: [torch.randn(8, 3, 8, 8)]).model.state_dict()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, quantized_state())
    return path


def test_a_quantized_state_dict_is_read_back_as_it_was_written(path):
    state, expected = read_checkpoint(path), quantized_state()
    assert schema_of(state) == schema_of(expected)
    assert torch.equal(state["conv.weight"].int_repr(), expected["conv.weight"].int_repr())
    assert state["conv.scale"] == expected["conv.scale"]


def test_equal_content_gives_equal_bytes_whatever_the_file_is_called(path, tmp_path):
    write_checkpoint(tmp_path / "elsewhere" / "another_name.bin", quantized_state())
    assert (tmp_path / "elsewhere" / "another_name.bin").read_bytes() == path.read_bytes()
    assert serialize(read_checkpoint(path)) == path.read_bytes()


def test_one_changed_integer_changes_the_bytes_and_not_their_number(path):
    state = quantized_state()
    state["conv.zero_point"] += 1
    assert serialize(state) != path.read_bytes()
    assert len(serialize(state)) == path.stat().st_size


@pytest.mark.parametrize("form", ["torch file", "pickle, protocol 2", "pickle, protocol 4"])
def test_a_pickle_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path, form):
    path, trace = tmp_path / "weights.pt", tmp_path / "the code ran"
    if form == "torch file":
        torch.save({"conv.weight": Code(trace)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv.weight": Code(trace)}, protocol=int(form[-1])))
    with pytest.raises(CheckpointError, match=r"weights\.pt: refused: .*run code.*torch\.save\(model\.state_dict"):
        read_checkpoint(path)
    assert not trace.exists()


def test_the_pickle_with_code_would_run_if_it_were_opened_carelessly(tmp_path):
    path, trace = tmp_path / "weights.pt", tmp_path / "the code ran"
    torch.save({"conv.weight": Code(trace)}, path)
    torch.load(path, weights_only=False)["conv.weight"].close()
    assert trace.exists()


def test_a_whole_pickled_model_is_refused_naming_its_class_and_no_unsafe_way_to_open_it(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match=r"refused: .*torch\.nn\.modules\.linear\.Linear") as caught:
        read_checkpoint(path)
    assert "weights_only" not in str(caught.value)
    assert "safe_globals" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99], ids=["empty", "1 %", "half", "99 %"])
def test_a_file_cut_short_is_named_with_what_to_do(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: not a whole checkpoint \(\w+: .*\); save") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"hello world\n", b"PK\x03\x04" + bytes(100), b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P"]
)
def test_a_file_of_something_else_ends_with_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^.*checkpoint\.pt: .*$"):
        read_checkpoint(path)


def test_bytes_flipped_anywhere_never_end_in_another_kind_of_error(path):
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for position in torch.randint(len(whole), (200,), generator=generator).tolist():
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            schema_of(read_checkpoint(path))
        except CheckpointError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 — some flips are harmless and raise nothing


@pytest.mark.parametrize(("content", "kind"), [([torch.ones(1)], "list"), (torch.ones(1), "Tensor"), ({1: 2}, "dict")])
def test_something_that_is_no_state_dict_is_refused(path, content, kind):
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"checkpoint\.pt: holds a {kind}, not names with their tensors; save"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pt: no such checkpoint"):
        read_checkpoint(tmp_path / "absent.pt")


def test_the_schema_describes_a_layer_and_the_packed_tensors_of_a_linear_one():
    schema = schema_of(quantized_state())
    weight = {"dtype": "qint8", "shape": [8, 3, 3, 3], "qscheme": "per_channel_affine", "axis": 0}
    assert schema["conv.weight"] == weight
    assert schema["conv.bias"] == {"dtype": "float32", "shape": [8]}
    assert schema["conv.zero_point"] == {"dtype": "int64", "shape": []}
    assert schema["fc._packed_params.dtype"] == {"type": "dtype", "value": "torch.qint8"}
    head = {"dtype": "qint8", "shape": [3, 8], "qscheme": "per_channel_affine", "axis": 0}
    assert schema["fc._packed_params._packed_params"] == {"members": [head, {"dtype": "float32", "shape": [3]}]}


def test_entries_read_as_one_line():
    schema = schema_of(quantized_state("static_int8_per_tensor"))
    assert describe_entry(schema["conv.weight"]) == "qint8 [8, 3, 3, 3] per_tensor_affine"
    assert describe_entry(schema["conv.scale"]) == "float32 []"
    assert describe_entry(schema["fc._packed_params.dtype"]) == "dtype torch.qint8"
    packed = describe_entry(schema["fc._packed_params._packed_params"])
    assert packed == "(qint8 [3, 8] per_tensor_affine, float32 [3])"
    per_channel = schema_of(quantized_state())["conv.weight"]
    assert describe_entry(per_channel) == "qint8 [8, 3, 3, 3] per_channel_affine axis 0"


def test_payload_bytes_are_those_counted_by_hand():
    values = torch.arange(8.0).view(4, 2)
    scales, zeros = torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    per_tensor = torch.quantize_per_tensor(values, 0.1, 0, torch.qint8)
    state = {
        "float": torch.zeros(2, 3),  # 6 × 4
        "integer": torch.tensor(7),  # 8
        "per tensor": per_tensor,  # 8
        "per channel": torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8),  # 8 + 4 × 8 + 4 × 8
        "packed": (per_tensor, torch.zeros(2)),  # 8 + 2 × 4
        "no tensor": torch.qint8,
        "no bias": (per_tensor, None),  # 8
    }
    assert payload_bytes(state) == 24 + 8 + 8 + (8 + 32 + 32) + (8 + 8) + 8
