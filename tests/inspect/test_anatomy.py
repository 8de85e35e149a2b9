"""Checkpoints opened without running code, and listed key by key."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from tiny_model import tiny_cnn

from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import CheckpointError
from quantbench.inspect.anatomy import open_checkpoint, rows
from quantbench.registry import RECIPES

INPUTS = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def quantized(name):
    torch.manual_seed(0)
    recipe = RECIPES.create(name, "here", {})
    return EagerBackend(default_engine()).quantize_module(tiny_cnn().eval(), recipe, lambda: [INPUTS]).model


class Runs:
    """A pickle that creates a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_floating_point_key_shows_dtype_and_shape():
    assert rows(tiny_cnn().state_dict())[0] == ("conv.weight", "float32 [8, 3, 3, 3]", "", "")


def test_packed_parameters_are_unpacked_with_the_scales_of_each():
    model = quantized("static_int8_per_tensor")
    listed = rows(model.state_dict())
    place = next(i for i, row in enumerate(listed) if row[0] == "fc._packed_params._packed_params")
    packed, weight, bias = listed[place : place + 3]
    assert packed[1:] == ("packed, 2 members", "", "")
    scale = f"{model.fc.weight().q_scale():.6g}"
    assert weight == ("  weight", "qint8 [3, 8] per_tensor_affine", scale, "0")
    assert bias == ("  bias", "float32 [3]", "", "")


def test_a_weight_per_channel_shows_the_range_of_its_scales():
    model = quantized("static_int8_per_channel")
    row = next(row for row in rows(model.state_dict()) if row[0] == "conv.weight")
    scales = model.conv.weight().q_per_channel_scales()
    assert row[1] == "qint8 [8, 3, 3, 3] per_channel_affine axis 0"
    assert row[2:] == (f"{scales.min():.3g} … {scales.max():.3g}", "0")


def test_zero_points_that_differ_by_channel_show_as_a_range():
    zeros = torch.tensor([-3, 4])
    weight = torch.quantize_per_channel(torch.ones(2, 2), torch.tensor([0.1, 0.2]), zeros, 0, torch.qint8)
    assert rows({"weight": weight})[0][2:] == ("0.1 … 0.2", "-3 … 4")


def test_a_layers_own_scale_and_zero_point_stand_in_their_columns():
    model = quantized("static_int8_per_tensor")
    listed = {row[0]: row[1:] for row in rows(model.state_dict())}
    assert listed["conv.scale"] == ("float32 []", f"{model.conv.scale:.6g}", "")
    assert listed["conv.zero_point"] == ("int64 []", "", str(model.conv.zero_point))
    assert listed["quant.scale"][1] == f"{model.quant.scale.item():.6g}"


def test_the_order_of_keys_is_the_files():
    state = quantized("static_int8_per_tensor").state_dict()
    assert [row[0] for row in rows(state) if not row[0].startswith("  ")] == list(state)


@pytest.mark.parametrize(
    "value", [torch.tensor(float("nan")), torch.tensor(float("inf")), torch.zeros(0), "text", None, (), (1, "b"), 7]
)
def test_a_strange_value_is_listed_and_trips_nothing(value):
    assert rows({"a.zero_point": value, "a.scale": value})[0][0] == "a.zero_point"


def test_safetensors_and_torch_files_open_alike(tmp_path):
    state = tiny_cnn().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        opened = open_checkpoint(tmp_path / name)
        assert opened.keys() == state.keys()
        assert all(torch.equal(opened[key], state[key]) for key in state)


def no_file(path): ...


def cut_short(path):
    torch.save(tiny_cnn().state_dict(), path)
    path.write_bytes(path.read_bytes()[:500])


def a_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "break_it", "words"),
    [
        ("a.pt", no_file, "no such checkpoint"),
        ("a.safetensors", no_file, "no such checkpoint"),
        ("a.pt", cut_short, r"not a whole checkpoint \(.*\); save a state dict again"),
        ("a.safetensors", cut_short, r"not a whole safetensors file \(.*\); save it again"),
        ("a.pt", lambda path: path.write_bytes(b""), "not a whole checkpoint"),
        ("a.safetensors", lambda path: path.write_bytes(b""), "not a whole safetensors file"),
        ("a.pt", a_folder, r"cannot be read \(is a folder, not a file\)"),
        ("a.safetensors", a_folder, r"cannot be read \(is a folder, not a file\)"),
        ("a.pt", lambda path: torch.save(torch.ones(2), path), "holds a Tensor, not names with their tensors"),
        ("a.pt", lambda path: torch.save({1: torch.ones(2)}, path), "holds a dict, not names with their tensors"),
        (
            "a.pt",
            lambda path: torch.save({"epoch": 3, "model": tiny_cnn().state_dict()}, path),
            r"'model' is itself a mapping, .*; save the state dict alone, with torch\.save\(model\.state_dict",
        ),
    ],
)
def test_a_file_that_is_no_checkpoint_is_one_clear_line(tmp_path, name, break_it, words):
    break_it(tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"^[^\n]*{name}: {words}[^\n]*$"):
        open_checkpoint(tmp_path / name)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, protocol):
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"a": Runs(tmp_path / "proof")}, protocol=protocol))
    with pytest.raises(CheckpointError, match=r"^[^\n]*a\.pt: refused: opening it could run code[^\n]*$"):
        open_checkpoint(tmp_path / "a.pt")
    torch.save({"a": Runs(tmp_path / "proof")}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"b\.pt: refused"):
        open_checkpoint(tmp_path / "b.pt")
    assert not (tmp_path / "proof").exists()
