"""Tensors of torchao in files: opened without running code, described as what they are, refused where damaged."""

import re
import subprocess
import sys
import zipfile

import pytest
import torch
from torch import nn
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    quantize_,
)

from quantbench.backends.checkpoint import payload_bytes, read_checkpoint, schema_of, write_checkpoint
from quantbench.backends.entry import describe_entry
from quantbench.backends.kernels import measure_coverage
from quantbench.backends.origin import Stage, kind_of, stage_of
from quantbench.backends.tensor_classes import codes_of, parts_of
from quantbench.errors import CheckpointError, ExtraMissingError
from quantbench.inspect.anatomy import value_difference

WIDTH = 64


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 4)).eval()


def quantized(config):
    model = network()
    quantize_(model, config)
    return model


@pytest.fixture
def weight_only():
    return quantized(Int8WeightOnlyConfig())


@pytest.fixture
def file(tmp_path, weight_only):
    write_checkpoint(tmp_path / "own.pt", weight_only.state_dict())
    return tmp_path / "own.pt"


def test_a_state_dict_of_them_is_opened_and_gives_the_same_outputs(file, weight_only):
    model = network().requires_grad_(False)
    model.load_state_dict(read_checkpoint(file), assign=True)
    sample = torch.randn(5, WIDTH)
    assert torch.equal(model(sample), weight_only(sample))


def test_each_is_described_by_class_dtype_of_its_codes_shape_and_block(weight_only):
    entry = schema_of(weight_only.state_dict())["0.weight"]
    assert entry == {
        "class": "Int8Tensor",
        "dtype": "int8",
        "shape": [32, WIDTH],
        "block_size": [1, WIDTH],
        "parts": {
            "qdata": {"dtype": "int8", "shape": [32, WIDTH]},
            "scale": {"dtype": "float32", "shape": [32, 1]},
            "zero_point": {"dtype": "int8", "shape": [32, 1]},
        },
    }
    assert describe_entry(entry) == "Int8Tensor int8 [32, 64] block [1, 64]"


def test_activations_that_are_quantized_too_are_described():
    entry = schema_of(quantized(Int8DynamicActivationInt8WeightConfig()).state_dict())["0.weight"]
    assert entry["activation"] == "QuantizeTensorToInt8Kwargs PerRow(dim=-1)"
    assert describe_entry(entry).endswith("block [1, 64] activation QuantizeTensorToInt8Kwargs PerRow(dim=-1)")


def test_codes_of_four_bits_in_bytes_are_described_as_such():
    entry = schema_of(quantized(IntxWeightOnlyConfig(torch.int4)).state_dict())["0.weight"]
    assert (entry["class"], entry["dtype"], entry["parts"]["qdata"]["dtype"]) == (
        "IntxUnpackedToInt8Tensor", "int4", "int8",
    )  # fmt: skip


def test_their_payload_is_that_of_the_tensors_inside(weight_only):
    weights = 32 * WIDTH + 4 * 32
    rows = 32 + 4
    assert payload_bytes(weight_only.state_dict()) == weights + rows * (4 + 1) + rows * 4


def test_a_file_of_them_is_int8_in_the_words_of_inspection(weight_only):
    state = weight_only.state_dict()
    assert stage_of(state) is Stage.INT8
    assert kind_of(state) == "of torchao: 2 tensors of Int8Tensor"
    plain = network().state_dict()["0.weight"]
    assert re.fullmatch(r"values differ by up to 0\.000\d+", value_difference(plain, state["0.weight"]))


def test_weights_that_are_dequantized_before_the_product_are_not_called_int8(weight_only):
    coverage = measure_coverage(weight_only, torch.randn(2, WIDTH))
    assert (coverage.int8_macs, coverage.float_macs, coverage.uncounted) == (0, 2 * (32 * WIDTH + 4 * 32), ())


def test_products_of_int8_with_int8_are_counted_as_such():
    coverage = measure_coverage(quantized(Int8DynamicActivationInt8WeightConfig()), torch.randn(2, WIDTH))
    assert (coverage.int8_macs, coverage.float_macs, coverage.uncounted) == (2 * (32 * WIDTH + 4 * 32), 0, ())


def test_a_kernel_without_a_formula_is_named():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(32, 64, dtype=torch.int8), requires_grad=False)
            self.register_buffer("scale", torch.ones(32))

        def forward(self, x):
            return torch.ops.aten._weight_int8pack_mm(x.bfloat16(), self.weight, self.scale.bfloat16()).float()

    coverage = measure_coverage(Packed().eval(), torch.randn(2, WIDTH))
    assert (coverage.int8_macs, coverage.macs) == (0, 0)
    assert any("_weight_int8pack_mm" in each for each in coverage.uncounted)


def test_a_layer_whose_codes_no_operator_took_is_named():
    model = quantized(Int8WeightOnlyConfig())
    model[2].forward = lambda x: x[:, :4] * model[2].weight.scale.sum()
    coverage = measure_coverage(model, torch.randn(2, WIDTH))
    assert coverage.uncounted == ("2 (Linear), whose weights went into no operator that was seen",)


def damaged(change):
    weight = quantized(Int8WeightOnlyConfig())[0].weight.detach()
    change(weight)
    return {"weight": weight}


DAMAGE = {
    "part missing": (lambda w: delattr(w, "qdata"), r"'weight' is a damaged Int8Tensor \(AttributeError\)"),
    "part of another class": (lambda w: setattr(w, "qdata", 3), r"'weight' is a damaged Int8Tensor"),
    "many values of few": (
        lambda w: setattr(w, "qdata", torch.zeros(1, 1, dtype=torch.int8)),
        r"'weight' is a damaged Int8Tensor: it claims 2,048 values, and holds 161 bytes",
    ),
    "expanded part": (
        lambda w: setattr(w, "qdata", torch.zeros(1, dtype=torch.int8).expand(32, WIDTH)),
        r"'weight' is a damaged Int8Tensor: its 'qdata' is no plain tensor",
    ),
    "mapping": (
        lambda w: setattr(w, "block_size", {"a": 1}),
        r"'weight' is a damaged Int8Tensor: its 'block_size' is a d",
    ),
}


@pytest.mark.parametrize(("change", "line"), DAMAGE.values(), ids=DAMAGE)
def test_what_torchao_never_made_is_refused_by_its_key(tmp_path, change, line):
    write_checkpoint(tmp_path / "own.pt", damaged(change))
    with pytest.raises(CheckpointError, match=line):
        read_checkpoint(tmp_path / "own.pt")


class Mine(torch.Tensor):
    """A class of tensors of nobody's library."""


def test_other_classes_of_tensors_are_refused(tmp_path):
    write_checkpoint(tmp_path / "own.pt", {"weight": torch.ones(2).as_subclass(Mine)})
    with pytest.raises(CheckpointError, match="refused: opening it could run code or build objects"):
        read_checkpoint(tmp_path / "own.pt")


def test_a_file_opens_in_a_process_that_has_not_imported_torchao(file):
    code = (
        "import sys; from pathlib import Path; from quantbench.backends.checkpoint import read_checkpoint;"
        "assert 'torchao' not in sys.modules; print(type(read_checkpoint(Path(sys.argv[1]))['0.weight']).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code, file], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("Int8Tensor\n", "")


def test_without_torchao_the_file_names_the_extra(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(
        ExtraMissingError, match=r"own\.pt: a tensor of torchao: needs torchao.*quantbench-suite\[torchao"
    ):
        read_checkpoint(file)


def test_a_file_without_them_imports_nothing(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "plain.pt", network().state_dict())
    monkeypatch.setitem(sys.modules, "torchao", None)
    assert len(read_checkpoint(tmp_path / "plain.pt")) == 4


def test_parts_of_a_plain_tensor_are_none_and_it_holds_its_own_values():
    plain = torch.ones(2)
    assert parts_of(plain) == {}
    assert codes_of(plain) is plain


def test_a_flipped_bit_is_found_by_the_checksum(file):
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda each: each.file_size)
    content[largest.header_offset + 200] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        read_checkpoint(file)
