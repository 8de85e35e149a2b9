"""Recipes lowered to ExecuTorch: what is quantized and how, names, bytes, refusals."""

import numpy as np
import pytest
import torch
from artifacts import named, saved
from exported_programs import PICTURES, SOUNDS, calibration, recipe
from foreign_residual import settled, waves
from torch import nn

from quantbench.backends.executorch_runtime.quantizer import quantizer_of
from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import DynamicInt8, Quantizer, StaticInt8

SPEC = BackendSpec("executorch", {}, "here")


def quantized(reference, name, folder, batch=PICTURES, **params):
    return SPEC.create().quantize(reference, recipe(name, **params), calibration(batch), folder)


def test_a_network_that_somebody_else_wrote_runs_in_int8_alone_and_answers_alike(reference, int8):
    expected = reference.backend.create().load(reference, 1)(named(PICTURES))["output"]
    found = int8.converted(named(PICTURES))["output"]
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    work = int8.converted.kernels(named(PICTURES))
    assert (work.int8_share, work.uncounted) == (1.0, ())
    # By hand: 3·9·8·64 + 8·9·16·16 + 16·9·16·16 + 16·3 for each of 8 samples.
    assert work.int8_layers == {
        "stem": 8 * 13_824, "block.conv1": 8 * 18_432, "block.conv2": 8 * 36_864, "fc": 8 * 48,
    }  # fmt: skip


def test_what_xnnpack_does_not_run_is_told(int8):
    assert int8.converted.notes == (
        "takes batches of up to 256 samples; larger ones are run in parts",
        "not run by XNNPACK, but by kernels of ExecuTorch's own: aten::mean.out ×1, aten::slice_copy.Tensor_out ×2",
    )


def test_keys_have_the_names_of_layers_with_scheme_and_axis(int8):
    description = SPEC.create().describe(int8.artifact)
    # As XNNPACK has weights: channels last.
    assert description.keys["block.conv1.weight"] == {
        "dtype": "int8", "shape": [16, 3, 3, 8], "qscheme": "per_channel_symmetric", "axis": 0,
    }  # fmt: skip
    assert description.keys["block.conv1.bias"]["dtype"] == "int32"
    assert description.keys["fc.activation"] == {"dtype": "int8", "shape": [], "qscheme": "per_tensor_affine"}
    assert {key for key in description.keys if key.endswith(".weight")} == {
        "stem.weight", "block.conv1.weight", "block.conv2.weight", "fc.weight",
    }  # fmt: skip
    assert description.graph["operators"]["xnnpack::Conv2d"] == 3
    assert description.graph["inputs"] == [{"name": "input", "dtype": "float32", "shape": [None, 3, 8, 8]}]


def test_observers_are_told_by_layer(int8):
    assert int8.artifact.observers["fc"] == {
        "activation": "MinMaxObserver(int8, per_tensor_affine, -128..127)",
        "weight": "PerChannelMinMaxObserver(int8, per_channel_symmetric, -127..127)",
    }
    assert list(int8.artifact.observers) == ["stem", "block.conv1", "block.conv2", "fc"]


def test_equal_inputs_give_equal_bytes_and_nothing_is_printed(small, small_fp32, tmp_path, capfd, recwarn):
    again = SPEC.create().lowered(small, named(PICTURES[2:4]), tmp_path)
    assert again.artifact.sha256 == small_fp32.artifact.sha256
    again.converted(named(PICTURES))
    again.converted.kernels(named(PICTURES))
    assert capfd.readouterr() == ("", "")
    assert [str(each.message) for each in recwarn] == []


def test_nothing_of_this_machine_or_of_the_samples_is_in_the_file(int8):
    content = int8.artifact.path.read_bytes()
    assert b"foreign_residual" not in content
    assert b"/tests/" not in content


def config(name):
    return quantizer_of(recipe(name), set(), None).global_config


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("static_int8_per_tensor", torch.per_tensor_symmetric),
        ("static_int8_per_channel", torch.per_channel_symmetric),
        ("static_int8", torch.per_channel_symmetric),
        ("static_int8_full_range", torch.per_channel_symmetric),
    ],
)
def test_the_recipe_decides_granularity_and_xnnpack_the_codes(name, scheme):
    found = config(name)
    assert (found.weight.qscheme, found.weight.dtype) == (scheme, torch.int8)
    assert (found.weight.quant_min, found.weight.quant_max) == (-127, 127)
    activation = found.input_activation
    assert (activation.dtype, activation.qscheme) == (torch.int8, torch.per_tensor_affine)
    # The codes of uint8, shifted by 128.
    assert (activation.quant_min, activation.quant_max) == (-128, 127)


def test_a_bit_is_left_free_where_a_recipe_says_so():
    activation = Quantizer("minmax", "uint8", "per_tensor", "affine", reduce_range=True)
    found = quantizer_of(StaticInt8(activation, S8, 8), set(), None).global_config.input_activation
    assert (found.quant_min, found.quant_max) == (-64, 63)


def scale_of(spec, values):
    """The scale that a recipe's observer finds."""
    observer = spec.observer_or_fake_quant_ctr(
        dtype=spec.dtype, quant_min=spec.quant_min, quant_max=spec.quant_max, qscheme=spec.qscheme
    )
    observer(values)
    return observer.calculate_qparams()[0]


def test_a_histogram_clips_outliers_and_minmax_does_not():
    values = torch.cat([torch.linspace(0, 1, 10_000), torch.tensor([100.0])])
    by_ends, by_histogram = (
        scale_of(config(name).input_activation, values) for name in ("static_int8_per_channel", "static_int8_histogram")
    )
    assert by_ends == pytest.approx(100 / 255)
    assert by_histogram < by_ends


def test_scales_that_are_powers_of_two():
    found = config("static_int8_pow2")
    values = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    for scale in (scale_of(found.input_activation, values), scale_of(found.weight, values)):
        assert bool((torch.log2(scale) % 1 == 0).all())


class Linear(nn.Module):
    """Two linear layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        """`[n, 3, 8, 8]` → logits `[n, 3]`."""
        return self.second(self.first(x.mean((1, 2))).relu())


def own(module, folder):
    """The artifact of a module of this file."""
    torch.manual_seed(0)
    made = module().eval()
    return saved(folder / "own.pt", made, backend="torch", model=f"{__name__}:{module.__name__}")


def test_dynamic_int8_quantizes_linear_layers_batch_by_batch_and_asks_for_no_data(tmp_path):
    made = SPEC.create().quantize(
        own(Linear, tmp_path), recipe("dynamic_int8"), Calibration(lambda: 1 / 0, named(PICTURES[:2])), tmp_path
    )
    keys = SPEC.create().describe(made.artifact).keys
    assert keys["first.weight"]["qscheme"] == "per_channel_symmetric"
    assert "first.activation" not in keys
    work = made.converted.kernels(named(PICTURES))
    assert (work.int8_share, work.int8_layers, work.uncounted) == (1.0, {"first": 8 * 64, "second": 8 * 24}, ())


@pytest.fixture
def sounds(tmp_path):
    return saved(tmp_path / "sounds.pt", settled(waves(), (1, 64)), backend="torch", model="foreign_residual:waves")


def test_layers_that_are_not_named_keep_sums_between_them_in_floating_point(reference, tmp_path, unlowered):
    made = quantized(reference, "static_int8_layers", tmp_path, layers=["block.conv1", "block.conv2"])
    assert list(made.artifact.observers) == ["block.conv1", "block.conv2"]
    (graph,) = unlowered
    sums = [node for node in graph.graph.nodes if "aten.add" in str(node.target)]
    # The operand that comes from another layer is as it is.
    assert any("quantize" not in str(each.target) for node in sums for each in node.all_input_nodes)


def test_a_layer_that_is_not_there_is_named(sounds, tmp_path):
    with pytest.raises(QuantizationError, match=r"unknown layer of the model 'frist'\. Did you mean 'first'\?"):
        quantized(sounds, "static_int8_layers", tmp_path, SOUNDS, layers=["frist"])


U8, S8 = Quantizer("minmax", "uint8", "per_tensor", "affine"), Quantizer("minmax", "int8", "per_channel", "symmetric")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (
            recipe("low_bit"),
            r"'executorch' does not run recipes of kind low_bit; set backend: low_bit \(XNNPACK has no",
        ),
        (recipe("qat_int8"), r"'executorch' does not run recipes of kind qat_int8; set backend: eager"),
        (recipe("weight_only_int8"), r"does not run recipes of kind weight_only; set backend: onnxruntime"),
        (StaticInt8(Quantizer("minmax", "uint8", "per_channel", "affine"), S8, 8), "set granularity: per_tensor"),
        (StaticInt8(U8, Quantizer("minmax", "uint8", "per_tensor", "affine"), 8), "takes symmetric int8 weights"),
        (StaticInt8(U8, Quantizer("histogram", "int8", "per_channel", "symmetric"), 8), r"set weight\.range: minmax"),
        (DynamicInt8(("LSTM",)), r"Linear alone, not for LSTM; set layers: \[Linear\]"),
    ],
    ids=lambda each: "" if isinstance(each, str) else each.kind,
)
def test_what_cannot_be_run_is_refused_with_the_reason_and_an_alternative(asked, line, reference, tmp_path):
    with pytest.raises(QuantizationError, match=line):
        SPEC.create().quantize(reference, asked, calibration(PICTURES), tmp_path / "none")
    assert not (tmp_path / "none").exists()


class Branching(nn.Module):
    """A choice that depends on values."""

    def forward(self, x):
        """See the class."""
        return x.flatten(1)[:, :3] if x.sum() > 0 else -x.flatten(1)[:, :3]


class Spectrum(nn.Module):
    """An operator that ExecuTorch has no kernel for."""

    def forward(self, x):
        """See the class."""
        return torch.histc(x, 3).expand(len(x), 3)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (Branching, r"Branching cannot be exported: .*test_quantization\.py:\d+; write that without a choice that"),
        (
            Spectrum,
            r"Spectrum cannot be lowered to ExecuTorch: .*histc.*; write that with operators of torch that it has",
        ),
    ],
)
def test_a_model_that_cannot_be_lowered_is_told_in_one_line(module, line, tmp_path):
    with pytest.raises(QuantizationError, match=line) as error:
        SPEC.create().lowered(own(module, tmp_path), named(PICTURES[:2]), tmp_path)
    assert "\n" not in str(error.value)


def test_a_program_that_is_exported_already_is_not_exported_again(int8, tmp_path):
    with pytest.raises(QuantizationError, match=r"model\.pte: is an exported program, which is not exported again"):
        quantized(int8.artifact, "static_int8", tmp_path)
