"""FX graph mode: networks without stubs in int8, by every recipe; what cannot be traced is told by its line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from artifacts import named, saved
from exported_programs import PICTURES, SOUNDS, calibration, recipe
from foreign_residual import residual, settled, waves
from safetensors.torch import save_file
from torch import nn

from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.errors import QuantizationError, SampleError

SPEC = BackendSpec("fx", {"engine": "x86"}, "here")
# By hand: 3·9·8·64 + 8·9·16·16 + 16·9·16·16 + 16·3 for each sample.
MACS = {"stem": 13_824, "block.conv1": 18_432, "block.conv2": 36_864, "fc": 48}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The residual network as somebody else wrote it."""
    path = tmp_path_factory.mktemp("fx") / "reference.pt"
    return saved(path, settled(residual(), (3, 8, 8)), backend="torch", model="foreign_residual:residual")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """The 1-D network, with named groups of layers."""
    path = tmp_path_factory.mktemp("fx") / "sounds.pt"
    return saved(path, settled(waves(), (1, 64)), backend="torch", model="foreign_residual:waves")


def quantized(reference, name, folder, batch=PICTURES, **params):
    return SPEC.create().quantize(reference, recipe(name, **params), calibration(batch), folder)


@pytest.mark.parametrize(
    "name",
    ["static_int8_per_tensor", "static_int8_per_channel", "static_int8_histogram", "static_int8_full_range",
     "static_int8_pow2"],
)  # fmt: skip
def test_a_network_that_somebody_else_wrote_runs_in_int8_alone_and_loads_the_same(name, reference, tmp_path):
    made = quantized(reference, name, tmp_path)
    expected = reference.backend.create().load(reference, 1)(named(PICTURES))["output"]
    loaded = SPEC.create().load(made.artifact, 1)
    found = loaded(named(PICTURES))["output"]
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()
    assert found.tobytes() == made.converted(named(PICTURES))["output"].tobytes()
    work = loaded.kernels(named(PICTURES))
    assert (work.int8_layers, work.float_layers, work.uncounted) == ({k: 8 * n for k, n in MACS.items()}, {}, ())


def test_keys_and_observers_have_the_names_of_layers(reference, tmp_path):
    made = quantized(reference, "static_int8_per_channel", tmp_path)
    keys = SPEC.create().describe(made.artifact).keys
    assert keys["block.conv1.weight"] == {
        "dtype": "qint8", "shape": [16, 8, 3, 3], "qscheme": "per_channel_affine", "axis": 0,
    }  # fmt: skip
    assert list(made.artifact.observers) == ["stem", "block.conv1", "block.conv2", "fc"]
    assert made.artifact.observers["fc"] == {
        "activation": "MinMaxObserver(quint8, per_tensor_affine, 0..127)",
        "weight": "PerChannelMinMaxObserver(qint8, per_channel_symmetric, -128..127)",
    }


def test_equal_inputs_give_equal_bytes(reference, tmp_path):
    (tmp_path / "again").mkdir()
    first, again = (quantized(reference, "static_int8", folder) for folder in (tmp_path, tmp_path / "again"))
    assert first.artifact.sha256 == again.artifact.sha256


def test_dynamic_int8_quantizes_linear_layers_and_asks_for_no_data(reference, tmp_path):
    data = Calibration(lambda: 1 / 0, named(PICTURES[:2]))
    made = SPEC.create().quantize(reference, recipe("dynamic_int8"), data, tmp_path)
    assert SPEC.create().load(made.artifact, 1).kernels(named(PICTURES)).int8_layers == {"fc": 8 * 48}


def test_named_layers_are_quantized_and_no_others(reference, tmp_path):
    made = quantized(reference, "static_int8_layers", tmp_path, layers=["block.conv2"])
    work = SPEC.create().load(made.artifact, 1).kernels(named(PICTURES))
    assert work.int8_layers == {"block.conv2": 8 * 36_864}


def test_named_groups_are_quantized_and_no_others(sounds, tmp_path):
    made = quantized(sounds, "static_int8_layers", tmp_path, SOUNDS, layers=["first"])
    assert list(made.artifact.observers) == ["conv1"]
    with pytest.raises(QuantizationError, match=r"unknown layer of Waves 'frist'\. Did you mean 'first'\?"):
        quantized(sounds, "static_int8_layers", tmp_path, SOUNDS, layers=["frist"])


@pytest.mark.parametrize(
    ("name", "params", "layers"),
    [
        ("qat_int8", {}, list(MACS)),
        ("qat_int8_pow2", {}, list(MACS)),
        ("qat_int8_layers", {"layers": ["block.conv1"]}, ["block.conv1"]),
        ("qat_int8_layers", {"layers": []}, []),
    ],
)
def test_fake_quantizers_are_trained_frozen_and_converted(name, params, layers, reference, tmp_path):
    backend, asked = SPEC.create(), recipe(name, **params)
    prepared = backend.prepare_training(reference, asked, named(PICTURES))
    assert prepared.training
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.01)
    prepared(PICTURES).square().mean().backward()
    optimizer.step()
    backend.freeze(prepared)
    ranges = {key: value.clone() for key, value in prepared.state_dict().items() if "min_val" in key}
    prepared(3 * PICTURES)
    assert all(torch.equal(prepared.state_dict()[key], value) for key, value in ranges.items())
    save_file(prepared.state_dict(), tmp_path / "trained.safetensors")
    data = replace(calibration(PICTURES), trained=tmp_path / "trained.safetensors", command="quantbench train")
    made = backend.quantize(reference, asked, data, tmp_path)
    assert list(made.artifact.observers) == layers
    loaded = backend.load(made.artifact, 1)
    expected = backend.convert_trained(prepared)(named(PICTURES))["output"]
    assert loaded(named(PICTURES))["output"].tobytes() == expected.tobytes()
    assert list(loaded.kernels(named(PICTURES)).int8_layers) == layers


class Branching(nn.Module):
    """A choice that depends on values."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        """See the class."""
        if x.sum() > 0:
            x = -x
        return self.fc(x[:, 0].flatten(1))


class Fixed(nn.Module):
    """Nothing to be quantized."""

    def forward(self, x):
        """See the class."""
        return x.flatten(1)[:, :3].relu()


class Drawing(Branching):
    """A dropout that is written into the graph as it is in training."""

    def forward(self, x):
        """See the class."""
        return self.fc(nn.functional.dropout(x[:, 0].flatten(1), 0.9, training=self.training))


class Transposed(nn.Module):
    """A layer without kernels of a scale per channel."""

    def __init__(self):
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(3, 4, 2), nn.Conv2d(4, 3, 3)

    def forward(self, x):
        """See the class."""
        return self.conv(self.up(x)).mean((2, 3))


def own(module, folder):
    torch.manual_seed(0)
    return saved(folder / "own.pt", module().eval(), backend="torch", model=f"{__name__}:{module.__name__}")


@pytest.mark.parametrize(
    ("module", "name", "line"),
    [
        (
            Branching,
            "static_int8",
            r"Branching cannot be traced: symbolically traced .*test_fx\.py:\d+; write that without",
        ),
        (Fixed, "static_int8", "no layer of the kind a convolution or a linear layer, .* was quantized"),
        (Drawing, "qat_int8", r"Drawing gives something else once it is traced: .*Write F\.dropout"),
    ],
)
def test_a_model_that_cannot_be_traced_or_quantized_is_told_in_one_line(module, name, line, tmp_path):
    with pytest.raises(QuantizationError, match=line) as error:
        SPEC.create().rehearse(own(module, tmp_path), recipe(name), named(PICTURES))
    assert "\n" not in str(error.value)


def test_transposed_convolutions_stay_in_fp32_where_scales_are_per_channel(tmp_path):
    reference = own(Transposed, tmp_path)
    per_channel = quantized(reference, "static_int8_per_channel", tmp_path).converted.kernels(named(PICTURES))
    assert (list(per_channel.int8_layers), list(per_channel.float_layers)) == (["conv"], ["up"])
    per_tensor = quantized(reference, "static_int8_per_tensor", tmp_path).converted.kernels(named(PICTURES))
    assert list(per_tensor.int8_layers) == ["up", "conv"]


def test_a_sample_that_is_not_finite_is_named_with_the_layer_that_sees_it(reference, tmp_path):
    batch = PICTURES.clone()
    batch[5, 0, 0, 0] = torch.nan
    with pytest.raises(SampleError, match=r"sample 5 \(counted from 0\)"):
        quantized(reference, "static_int8", tmp_path, batch)


def test_no_sample_at_all_is_told(reference, tmp_path):
    empty = Calibration(list, named(PICTURES[:2]))
    with pytest.raises(QuantizationError, match="calibration saw no sample"):
        SPEC.create().quantize(reference, recipe("static_int8"), empty, tmp_path)


@pytest.mark.parametrize(("batch", "words"), [(torch.zeros(4, 3, 8, 8), "gave nothing but zeros for every sample")])
def test_zeros_alone_fit_no_scale(batch, words, reference, tmp_path):
    with pytest.raises(QuantizationError, match=f"convert: 'x' {words}"):
        SPEC.create().quantize(
            reference, recipe("static_int8_per_channel"), Calibration(lambda: [named(batch)], named(batch)), tmp_path
        )


def test_weights_of_a_few_bits_are_refused_with_the_backend_that_has_them(reference, tmp_path):
    with pytest.raises(
        QuantizationError, match="backend 'fx' does not run recipes of kind low_bit; set backend: low_bit"
    ):
        quantized(reference, "low_bit", tmp_path)


def test_making_and_running_print_nothing(reference, tmp_path, capfd, recwarn):
    quantized(reference, "static_int8", tmp_path).converted(named(PICTURES))
    assert capfd.readouterr() == ("", "")
    assert [str(each.message) for each in recwarn] == []
