"""Recipes lowered to OpenVINO: agreement with the reference, NNCF's settings, bytes, refusals."""

import hashlib
import logging
import sys

import numpy as np
import onnx_models
import pytest
import torch
from artifacts import named, saved
from tiny_ir import ir, write_ir
from tiny_model import tiny_cnn
from torch import nn

from quantbench.backends.interface import Artifact, BackendSpec, Calibration
from quantbench.backends.openvino_runtime import ptq
from quantbench.backends.openvino_runtime.backend import files_of
from quantbench.backends.openvino_runtime.library import nncf, openvino
from quantbench.backends.openvino_runtime.lowering import check_agreement
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import Fp32, Quantizer, StaticInt8
from quantbench.registry import RECIPES

BATCH = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SPEC = BackendSpec("openvino", {}, "here")


def calibration(batch=BATCH, cut=8):
    return Calibration(lambda: [named(part) for part in batch.split(cut)], named(batch[:2]))


@pytest.fixture
def reference(tmp_path):
    torch.manual_seed(0)
    return saved(tmp_path / "reference.pt", tiny_cnn().eval(), backend="torch")


@pytest.fixture
def file(tmp_path):
    """A reference that is a file of OpenVINO, on pictures of 4 pixels."""
    return Artifact.of_files(SPEC, files_of(write_ir(tmp_path / "fp32.xml")), Fp32())


def artifact_of(module, tmp_path):
    """The artifact of any module of this file."""
    return saved(tmp_path / "own.pt", module, backend="torch", model=f"{__name__}:{type(module).__name__}")


def recipe(name, **params):
    return RECIPES.create(name, "here", params)


def digest(quantized):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in quantized.artifact.files]


class Gives(nn.Module):
    """A layer's output in whatever `form` makes of it."""

    form = staticmethod(lambda found: (found, None))

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.form(self.layer(x).mean((2, 3)))


class GivesByName(Gives):
    form = staticmethod(lambda found: {"loss": None, "logits": found})


@pytest.mark.parametrize(("module", "names"), [(Gives, ["output_0"]), (GivesByName, ["logits"])])
def test_none_among_the_outputs_of_a_model_is_no_output(module, names, tmp_path):
    lowered = SPEC.create().lowered(artifact_of(module(), tmp_path), named(BATCH[:2]), tmp_path / "fp32")
    assert [*SPEC.create().load(lowered.artifact, 1)(named(BATCH[:2]))] == names


def test_a_torch_model_is_lowered_for_any_batch_and_computes_the_same(reference, tmp_path):
    lowered = SPEC.create().lowered(reference, named(BATCH[:2]), tmp_path / "fp32")
    assert [path.name for path in lowered.artifact.files] == ["model.xml", "model.bin"]
    found = SPEC.create().load(lowered.artifact, 1)(named(BATCH))["output"]
    expected = reference.backend.create().load(reference, 1)(named(BATCH))["output"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_both_runs_write_the_same_bytes_and_what_is_loaded_is_what_was_saved(reference, tmp_path):
    static = recipe("static_int8_per_channel", calibration_n=8)
    first = SPEC.create().quantize(reference, static, calibration(), tmp_path / "a")
    second = SPEC.create().quantize(reference, static, calibration(cut=3), tmp_path / "b")
    assert digest(first) == digest(second)
    loaded = SPEC.create().load(first.artifact, 1)
    assert loaded(named(BATCH))["output"].tobytes() == first.converted(named(BATCH))["output"].tobytes()
    assert loaded.kernels(named(BATCH)).int8_share == 1.0


def test_the_whole_way_prints_nothing_and_leaves_the_process_as_it_was(reference, tmp_path, capfd, recwarn):
    nncf()
    before = logging.getLoggerClass(), logging.getLogger("nncf").level, logging.getLogger().handlers[:]
    threads = torch.get_num_threads()
    SPEC.create().quantize(reference, recipe("static_int8"), calibration(), tmp_path)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []
    after = logging.getLoggerClass(), logging.getLogger("nncf").level, logging.getLogger().handlers[:]
    assert (after, torch.get_num_threads()) == (before, threads)


def test_neither_library_loads_its_telemetry():
    openvino()
    nncf()
    assert "openvino_telemetry" not in sys.modules


ACTIVATION, WEIGHT = (
    Quantizer("minmax", "uint8", "per_tensor", "affine"),
    Quantizer("minmax", "int8", "per_channel", "symmetric"),
)


def asked(static, bias_correction=False):
    """The parameters that a recipe gives to NNCF."""
    return ptq._parameters(nncf(), static, bias_correction)


def test_each_sample_of_the_calibration_is_seen_alone(monkeypatch, file, tmp_path):
    given = {}

    def quantize(model, dataset, **settings):
        given.update(settings, samples=[len(each["image"]) for each in dataset.get_inference_data()])
        raise RuntimeError("far enough")

    monkeypatch.setattr(nncf(), "quantize", quantize)
    with pytest.raises(QuantizationError, match="far enough"):
        SPEC.create().quantize(file, recipe("static_int8"), calibration(BATCH[:, :, :4, :4]), tmp_path)
    assert (given["subset_size"], given["samples"]) == (8, [1] * 8)


@pytest.mark.parametrize(
    ("range_", "expected"),
    [("minmax", ("min", "min", "max", "max")), ("moving_average", ("min", "mean", "max", "mean")),
     ("histogram", ("raw", "histogram", "raw", "histogram"))],
)  # fmt: skip
def test_the_range_of_activations_is_found_as_the_recipe_says(range_, expected):
    activation = Quantizer(range_, "uint8", "per_tensor", "affine")
    found = asked(StaticInt8(activation, WEIGHT, 8)).activations_range_estimator_params
    ends = [(end.statistics_type.value, end.aggregator_type.value) for end in (found.min, found.max)]
    assert (*ends[0], *ends[1]) == expected


@pytest.mark.parametrize(
    ("granularity", "scheme", "expected"),
    [("per_channel", "symmetric", (True, "symmetric")), ("per_tensor", "affine", (False, "asymmetric"))],
)
def test_the_scales_of_weights_are_as_the_recipe_says(granularity, scheme, expected):
    weight = Quantizer("minmax", "int8", granularity, scheme)
    found = asked(StaticInt8(ACTIVATION, weight, 8)).weights_quantization_params
    assert (found.per_channel, found.mode.value, found.num_bits) == (*expected, 8)


@pytest.mark.parametrize(("reduce_range", "fix"), [(None, "enable"), (True, "enable"), (False, "disable")])
def test_a_bit_is_left_free_as_the_recipe_says(reduce_range, fix):
    activation = Quantizer("minmax", "uint8", "per_tensor", "affine", reduce_range)
    assert asked(StaticInt8(activation, WEIGHT, 8)).overflow_fix.value == fix


@pytest.mark.parametrize("is_on", [False, True])
def test_biases_are_corrected_only_where_the_backend_is_asked_to(is_on):
    assert BackendSpec("openvino", {"bias_correction": is_on}, "here").create().bias_correction is is_on
    assert SPEC.create().bias_correction is False
    assert asked(recipe("static_int8"), is_on).disable_bias_correction is not is_on


@pytest.mark.parametrize(
    ("static", "words"),
    [
        (StaticInt8(None, None, 8, ("conv1",)), "quantizes whole models.*set backend: eager"),
        (recipe("static_int8_pow2"), "has no scales that are powers of two; set backend: eager"),
        (StaticInt8(Quantizer("minmax", "uint8", "per_channel", "affine"), WEIGHT, 8), "activations per tensor"),
        (StaticInt8(ACTIVATION, Quantizer("minmax", "uint8", "per_tensor", "affine"), 8), "no uint8; set weight.dtype"),
        (StaticInt8(ACTIVATION, Quantizer("histogram", "int8", "per_tensor", "affine"), 8), "not by histogram"),
        (recipe("qat_int8"), "qat_int8; set backend: eager .nncf quantizes .* after its training only"),
        (recipe("low_bit"), "low_bit; set backend: low_bit .OpenVINO has no kernels of so few bits"),
        (recipe("dynamic_int8"), "dynamic_int8; set backend: eager"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.kind,
)
def test_what_it_cannot_is_refused_with_the_reason_and_the_alternative(static, words, file):
    with pytest.raises(QuantizationError, match=f"^backend 'openvino' .*{words}"):
        SPEC.create().rehearse(file, static, named(BATCH[:2]))


class PlainResidual(nn.Module):
    """A residual network that knows nothing of quantbench: `+=`, `F.relu`, no stubs."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.bn, self.fc = nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = nn.functional.relu(self.bn(self.one(x)))
        y = self.two(x)
        y += x
        return self.fc(nn.functional.relu(y).mean((2, 3)))


def test_a_plain_network_is_quantized_as_it_is(tmp_path):
    torch.manual_seed(0)
    reference = artifact_of(PlainResidual().eval(), tmp_path)
    quantized = SPEC.create().quantize(reference, recipe("static_int8"), calibration(), tmp_path / "out")
    assert quantized.converted.kernels(named(BATCH)).int8_share == 1.0
    expected = reference.backend.create().load(reference, 1)(named(BATCH))["output"]
    assert np.abs(quantized.converted(named(BATCH))["output"] - expected).max() < 0.05


class FixedBatch(nn.Module):
    """Takes two samples and no other number."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 3)

    def forward(self, x):
        return self.fc(x.reshape(2, 192))


def test_code_that_fixes_the_batch_is_lowered_for_that_batch(tmp_path):
    reference = artifact_of(FixedBatch(), tmp_path)
    lowered = SPEC.create().lowered(reference, named(BATCH[:2]), tmp_path)
    lowered.converted(named(BATCH))
    assert "the file takes batches of 2 only" in lowered.converted.notes


class DataDependent(nn.Module):
    """Branches on its values."""

    def forward(self, x):
        return x.mean((2, 3)) if x.sum() > 0 else -x.mean((2, 3))


class Eigenvalues(nn.Module):
    """An operator that OpenVINO does not have."""

    def forward(self, x):
        return torch.linalg.eigvals(x[:, 0]).real


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (DataDependent, "torch.export cannot follow DataDependent .*data-dependent"),
        (Eigenvalues, "openvino cannot convert Eigenvalues .*aten.linalg_eig"),
    ],
)
def test_the_operation_that_stops_it_is_named(module, words, tmp_path):
    reference = artifact_of(module(), tmp_path)
    with pytest.raises(QuantizationError, match=words) as error:
        SPEC.create().lowered(reference, named(BATCH[:2]), tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_in_which_nothing_can_be_quantized_is_refused(file, tmp_path, monkeypatch):
    monkeypatch.setattr(nncf(), "quantize", lambda model, *_, **__: model)
    with pytest.raises(QuantizationError, match="nncf quantized nothing"):
        SPEC.create().quantize(file, recipe("static_int8"), calibration(BATCH[:, :, :4, :4]), tmp_path)


def test_a_file_of_openvino_is_quantized_too(file, tmp_path):
    pictures = calibration(BATCH[:, :, :4, :4])
    quantized = SPEC.create().quantize(file, recipe("static_int8"), pictures, tmp_path / "out")
    assert quantized.converted.kernels(pictures.samples).int8_share == 1.0


def test_a_file_of_openvino_is_its_own_fp32_form(file, tmp_path):
    assert SPEC.create().lowered(file, named(BATCH[:2, :, :4, :4]), tmp_path) is None


def test_a_file_of_onnx_is_quantized_too(tmp_path):
    reference = onnx_models.artifact_of(onnx_models.network(), tmp_path / "a.onnx")
    quantized = SPEC.create().quantize(reference, recipe("static_int8"), calibration(), tmp_path / "out")
    assert quantized.converted.kernels(named(BATCH)).int8_share == 1.0
    lowered = SPEC.create().lowered(reference, named(BATCH[:2]), tmp_path / "fp32")
    own = reference.backend.create().load(reference, 1)(named(BATCH))["output"]
    np.testing.assert_allclose(SPEC.create().load(lowered.artifact, 1)(named(BATCH))["output"], own, atol=1e-5)


def test_a_conversion_that_computes_something_else_is_refused(reference):
    own = reference.backend.create().load(reference, 1)

    def other(inputs):
        return {name: 1.01 * array for name, array in own(inputs).items()}

    with pytest.raises(QuantizationError, match="computes something else: outputs differ by up to"):
        check_agreement(other, own, named(BATCH[:2]), reference.path)
    check_agreement(own, own, named(BATCH[:2]), reference.path)


def test_a_fixed_batch_takes_whole_batches_of_the_calibration_alone():
    samples = ptq._one_by_one(ir(batch=3), [named(BATCH)])
    assert [len(each["image"]) for each in samples] == [3, 3]
