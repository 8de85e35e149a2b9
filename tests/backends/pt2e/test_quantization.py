"""Recipes lowered by torchao: what is quantized and how, names, bytes, refusals."""

import hashlib

import numpy as np
import pytest
import torch
from artifacts import named, saved
from exported_programs import PICTURES, SOUNDS, SPEC, calibration, recipe
from torch import nn

from quantbench.backends.interface import Calibration
from quantbench.backends.pt2e.quantizer import quantizer_of
from quantbench.errors import ExtraMissingError, QuantizationError
from quantbench.recipes.spec import DynamicInt8, Quantizer, StaticInt8


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


def test_batches_of_any_size_give_each_sample_the_same_answer(int8):
    together = int8.converted(named(PICTURES))["output"]
    for n in (1, 3):
        np.testing.assert_allclose(int8.converted(named(PICTURES[:n]))["output"], together[:n], atol=1e-5)


def test_keys_have_the_names_of_layers_with_scheme_and_axis(int8):
    description = SPEC.create().describe(int8.artifact)
    assert description.keys["block.conv1.weight"] == {
        "dtype": "int8", "shape": [16, 8, 3, 3], "qscheme": "per_channel_symmetric", "axis": 0,
    }  # fmt: skip
    assert description.keys["block.conv1.weight_scale"] == {"dtype": "float32", "shape": [16]}
    assert description.keys["input.activation"]["dtype"] == "uint8"
    assert {key for key in description.keys if key.endswith(".bias")} == {
        "stem.bias", "block.conv1.bias", "block.conv2.bias", "fc.bias",
    }  # fmt: skip
    assert description.graph["operators"]["aten.conv2d"] == 3


def test_observers_are_told_by_layer(int8):
    assert int8.artifact.observers["fc"] == {
        "activation": "MinMaxObserver(uint8, per_tensor_affine, 0..127)",
        "weight": "PerChannelMinMaxObserver(int8, per_channel_symmetric, -128..127)",
    }
    assert list(int8.artifact.observers) == ["stem", "block.conv1", "block.conv2", "fc"]


def test_equal_inputs_give_equal_bytes_however_the_data_is_cut(reference, int8, tmp_path, uncompiled):
    batches = Calibration(lambda: [named(PICTURES)], named(PICTURES[:2]))
    again = SPEC.create().quantize(reference, recipe("static_int8_per_channel"), batches, tmp_path)
    assert again.artifact.sha256 == int8.artifact.sha256


def test_nothing_of_this_machine_or_of_the_samples_is_in_the_file(int8):
    content = int8.artifact.path.read_bytes()
    assert b"foreign_residual" not in content
    assert b"/tests/" not in content
    # Four layers in int8 with their scales, and the graph.
    assert len(content) < 60_000


def config(name):
    return quantizer_of(recipe(name), set(), None).global_config


@pytest.mark.parametrize(
    ("name", "scheme", "codes"),
    [
        ("static_int8_per_tensor", torch.per_tensor_symmetric, (0, 127)),
        ("static_int8_per_channel", torch.per_channel_symmetric, (0, 127)),
        ("static_int8_full_range", torch.per_channel_symmetric, (0, 255)),
        ("static_int8", torch.per_channel_symmetric, (0, 127)),
    ],
)
def test_the_recipe_decides_granularity_and_codes(name, scheme, codes):
    found = config(name)
    assert (found.weight.qscheme, found.weight.dtype) == (scheme, torch.int8)
    activation = found.input_activation
    assert (activation.dtype, activation.quant_min, activation.quant_max) == (torch.uint8, *codes)


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
    assert by_ends == pytest.approx(100 / 127)
    assert by_histogram < by_ends


def test_scales_that_are_powers_of_two():
    found = config("static_int8_pow2")
    values = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    for scale in (scale_of(found.input_activation, values), scale_of(found.weight, values)):
        assert bool((torch.log2(scale) % 1 == 0).all())


def test_one_scale_for_a_weight_is_written_once_per_channel(reference, tmp_path, uncompiled):
    made = quantized(reference, "static_int8_per_tensor", tmp_path)
    (graph,) = uncompiled
    targets = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert targets.count("quantized_decomposed.dequantize_per_channel.default") == 4
    assert {len(graph.fc.weight_scale), len(set(graph.fc.weight_scale.tolist()))} == {3, 1}
    assert made.artifact.observers["fc"]["weight"] == "MinMaxObserver(int8, per_tensor_symmetric, -128..127)"
    expected = reference.backend.create().load(reference, 1)(named(PICTURES))["output"]
    with torch.no_grad():
        assert np.abs(graph(PICTURES).numpy() - expected).max() < 0.1 * np.abs(expected).max()


def test_dynamic_int8_quantizes_linear_layers_and_asks_for_no_data(reference, tmp_path, uncompiled):
    made = SPEC.create().quantize(
        reference, recipe("dynamic_int8"), Calibration(lambda: 1 / 0, named(PICTURES[:2])), tmp_path
    )
    assert list(made.artifact.observers) == ["fc"]
    assert "stem.weight_scale" not in SPEC.create().describe(made.artifact).keys
    (graph,), module = uncompiled, reference.backend.create().module(reference)
    rounded = graph.fc.weight * graph.fc.weight_scale[:, None]
    assert bool(((rounded - module.fc.weight).abs() <= 0.5001 * graph.fc.weight_scale[:, None]).all())
    with torch.no_grad():
        expected = module(PICTURES)
        assert (graph(PICTURES) - expected).abs().max() < 0.02 * expected.abs().max()


def test_1d_convolutions_are_quantized_as_2d_ones_with_their_batch_norms_folded(sounds, tmp_path, uncompiled):
    made = quantized(sounds, "static_int8_per_channel", tmp_path, SOUNDS)
    (graph,) = uncompiled
    assert list(made.artifact.observers) == ["conv1", "conv2", "fc"]
    targets = [str(node.target) for node in graph.graph.nodes]
    assert "aten.batch_norm.default" not in targets
    assert "aten.conv1d.default" not in targets
    expected = sounds.backend.create().load(sounds, 1)(named(SOUNDS))["output"]
    with torch.no_grad():
        found = graph(SOUNDS).numpy()
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("layers", "quantized_layers"), [(["first"], ["conv1"]), (["second", "head"], ["conv2", "fc"])]
)
def test_the_named_groups_are_quantized_and_no_others(layers, quantized_layers, sounds, tmp_path, uncompiled):
    made = quantized(sounds, "static_int8_layers", tmp_path, SOUNDS, layers=layers)
    assert list(made.artifact.observers) == quantized_layers


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        (["frist"], r"unknown layer of the model 'frist'\. Did you mean 'first'\?"),
    ],
)
def test_a_group_that_is_not_there_is_named(layers, line, sounds, tmp_path):
    with pytest.raises(QuantizationError, match=line):
        quantized(sounds, "static_int8_layers", tmp_path, SOUNDS, layers=layers)


U8, S8 = Quantizer("minmax", "uint8", "per_tensor", "affine"), Quantizer("minmax", "int8", "per_channel", "symmetric")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (recipe("low_bit"), r"'pt2e' does not run recipes of kind low_bit; set backend: low_bit \(inductor has no"),
        (recipe("weight_only_int8"), r"'pt2e' does not run recipes of kind weight_only; set backend: onnxruntime"),
        (StaticInt8(Quantizer("minmax", "int8", "per_tensor", "affine"), S8, 8), "take uint8 activations, not int8"),
        (StaticInt8(Quantizer("minmax", "uint8", "per_channel", "affine"), S8, 8), "set granularity: per_tensor"),
        (StaticInt8(U8, Quantizer("minmax", "uint8", "per_tensor", "affine"), 8), "take symmetric int8 weights"),
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


class Fixed(nn.Module):
    """Nothing to be quantized."""

    def forward(self, x):
        """See the class."""
        return x.flatten(1)[:, :3].relu()


@torch.library.custom_op("quantbench_tests::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    """An operator of somebody's own."""
    return 2 * x


@doubled.register_fake
def _(x):
    return torch.empty_like(x)


class Custom(nn.Module):
    """A model that calls it."""

    def forward(self, x):
        """See the class."""
        return doubled(x.flatten(1)[:, :3])


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (Branching, r"Branching cannot be exported: .*test_quantization\.py:\d+; write that without a choice that"),
        (Fixed, "Fixed: nothing was quantized: torchao found no 2-D convolution or linear layer"),
        (Custom, "Custom calls the custom operator quantbench_tests::doubled, which no compiler can look into"),
    ],
)
def test_a_model_that_cannot_be_exported_or_quantized_is_told_in_one_line(module, line, tmp_path):
    own = saved(tmp_path / "own.pt", module(), backend="torch", model=f"{__name__}:{module.__name__}")
    with pytest.raises(QuantizationError, match=line) as error:
        quantized(own, "static_int8", tmp_path)
    assert "\n" not in str(error.value)


def test_a_sample_that_is_not_finite_is_named(reference, tmp_path):
    batch = PICTURES.clone()
    batch[5, 0, 0, 0] = torch.nan
    with pytest.raises(QuantizationError, match=r"sample 5 \(counted from 0\)"):
        quantized(reference, "static_int8", tmp_path, batch)


def test_no_sample_at_all_is_told(reference, tmp_path):
    empty = Calibration(list, named(PICTURES[:2]))
    with pytest.raises(QuantizationError, match="calibration saw no sample"):
        SPEC.create().quantize(reference, recipe("static_int8"), empty, tmp_path)


@pytest.mark.parametrize("cxx", ["", "no-such-compiler"])
def test_a_missing_compiler_is_told_before_anything_else(cxx, reference, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", cxx)
    line = r"inductor compiles C\+\+, and finds no compiler on the PATH .*; install one, such as apt install g\+\+"
    backend = SPEC.create()
    steps = (
        lambda: backend.rehearse(reference, recipe("static_int8"), named(PICTURES[:2])),
        lambda: backend.quantize(reference, recipe("static_int8"), Calibration(lambda: 1 / 0, {}), tmp_path),
        lambda: backend.lowered(reference, named(PICTURES[:2]), tmp_path),
    )
    for step in steps:
        with pytest.raises(ExtraMissingError, match=line):
            step()


def test_making_prints_nothing(reference, tmp_path, capfd, recwarn, uncompiled):
    quantized(reference, "static_int8_histogram", tmp_path)
    assert capfd.readouterr() == ("", "")
    assert [str(each.message) for each in recwarn] == []
    assert hashlib.sha256((tmp_path / "model.pt2").read_bytes()).hexdigest()
