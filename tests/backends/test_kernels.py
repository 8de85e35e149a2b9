"""The share of multiply-accumulates that ran as int8, against counts made by hand."""

import numpy as np
import pytest
import torch
from tiny_model import TinyCNN, tiny_cnn
from torch import nn

from quantbench.backends.kernels import count_macs, measure_coverage
from quantbench.backends.module import ModulePredictor
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import MeasurementError
from quantbench.models.quantizable import DeQuantStub, QuantStub
from quantbench.registry import RECIPES

# 8 channels of 8×8 outputs, each of 3 input channels times 3×3 taps; then 8 features to 3 classes.
CONV, HEAD = 8 * 8 * 8 * 3 * 3 * 3, 8 * 3
SAMPLE = torch.zeros(1, 3, 8, 8)


def coverage_of(model, recipe, sample=SAMPLE):
    backend = EagerBackend(default_engine())
    spec = RECIPES.create(recipe, "here", {})
    calibration = torch.randn(8, *sample.shape[1:], generator=torch.Generator().manual_seed(0))
    return measure_coverage(backend.quantize_module(model.eval(), spec, lambda: [calibration]).model, sample)


@pytest.mark.parametrize("recipe", ["static_int8_per_tensor", "static_int8_per_channel", "static_int8_histogram"])
def test_a_statically_quantized_model_runs_wholly_as_int8(recipe):
    coverage = coverage_of(tiny_cnn(), recipe)
    assert (coverage.int8_macs, coverage.float_macs, coverage.float_layers) == (CONV + HEAD, 0, {})
    assert coverage.int8_share == 1.0


def test_dynamic_quantization_reaches_the_linear_layer_alone():
    coverage = coverage_of(tiny_cnn(), "dynamic_int8")
    assert (coverage.int8_macs, coverage.float_layers) == (HEAD, {"conv": CONV})
    assert coverage.int8_share == pytest.approx(HEAD / (CONV + HEAD))


def test_the_baseline_runs_wholly_in_floating_point():
    coverage = coverage_of(tiny_cnn(), "fp32_baseline")
    assert (coverage.int8_macs, coverage.float_macs) == (0, CONV + HEAD)
    assert coverage.float_layers == {"conv": CONV, "fc": HEAD}
    assert coverage.int8_share == 0.0


class FloatHead(TinyCNN):
    """The head is left out of quantization: no qconfig, and its input is dequantized."""

    def __init__(self):
        super().__init__(3, 8)
        self.fc.qconfig = None

    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.quant(x))))
        return self.fc(self.dequant(self.pool(x)).flatten(1))


def test_a_layer_left_out_of_quantization_is_named_as_floating_point():
    coverage = coverage_of(FloatHead(), "static_int8_per_channel")
    assert (coverage.int8_macs, coverage.float_macs, coverage.float_layers) == (CONV, HEAD, {"fc": HEAD})


class FloatMiddle(nn.Module):
    """Three convolutions, the middle one in floating point between a DeQuantStub and a QuantStub."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.first = nn.Conv2d(3, 4, 1)
        self.body = nn.Sequential(DeQuantStub(), nn.Conv2d(4, 6, 3, padding=1, groups=2, stride=2), QuantStub())
        self.body[1].qconfig = None
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.dequant(self.last(self.body(self.first(self.quant(x))))).flatten(1)

    def fuse_model(self, is_qat=False): ...


def test_a_grouped_strided_layer_inside_a_block_is_counted_by_its_own_products_and_named_by_its_path():
    coverage = coverage_of(FloatMiddle(), "static_int8_per_tensor")
    # 6 channels of 4×4 outputs, each of 2 input channels times 3×3 taps.
    assert coverage.float_layers == {"body.1": 6 * 4 * 4 * 2 * 9}
    assert coverage.int8_macs == 4 * 64 * 3 + 2 * 16 * 6


class OverTime(nn.Sequential):
    """One convolution over time, 9 steps to 4."""

    def __init__(self):
        super().__init__(QuantStub(), nn.Conv1d(4, 8, 3, stride=2), DeQuantStub())

    def fuse_model(self, is_qat=False): ...


def test_convolutions_over_time_are_counted():
    coverage = coverage_of(OverTime(), "static_int8_per_channel", torch.zeros(1, 4, 9))
    assert (coverage.int8_macs, coverage.float_macs) == (8 * 4 * 4 * 3, 0)


class Products(nn.Module):
    """Matrix products without a layer of their own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(5, 7))

    def forward(self, x):
        rows = torch.addmm(torch.zeros(7), x.flatten(1), self.weight)  # [2, 5] × [5, 7]
        return torch.bmm(rows.view(2, 1, 7), torch.zeros(2, 7, 3)).flatten(1)  # 2 × [1, 7] × [7, 3]


def test_bare_matrix_products_count_as_floating_point_of_the_module_that_made_them():
    coverage = measure_coverage(Products(), torch.zeros(2, 5))
    assert coverage.float_layers == {"Products": 2 * 5 * 7 + 2 * 7 * 3}


def test_a_model_without_any_product_is_refused():
    with pytest.raises(MeasurementError, match="ReLU: no convolution or matrix product was seen"):
        measure_coverage(nn.ReLU(), SAMPLE)


class Upsampled(TinyCNN):
    """The convolution's outputs, made twice as wide while they are int8."""

    def __init__(self, params):
        super().__init__(3, 8)
        self.params = params

    def forward(self, x):
        x = nn.functional.interpolate(self.relu(self.bn(self.conv(self.quant(x)))), **self.params)
        return self.dequant(self.fc(self.pool(x).flatten(1)))


@pytest.mark.parametrize("params", [
    {"size": 16}, {"scale_factor": 2}, {"scale_factor": 1.5, "recompute_scale_factor": True},
    {"size": 16, "mode": "nearest-exact"}, {"size": 16, "mode": "bilinear"},
])  # fmt: skip
def test_int8_values_are_upsampled_by_the_kernel_that_runs_where_nobody_listens(params):
    coverage = coverage_of(Upsampled(params), "static_int8_per_tensor")
    assert (coverage.int8_macs, coverage.float_macs, coverage.uncounted) == (CONV + HEAD, 0, ())


def test_the_forward_that_multiplies_less_counts():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.each, self.calls = nn.Linear(4, 5), nn.Linear(4, 3), 0

        def forward(self, x):
            self.calls += 1
            return (self.first(x).sum() if self.calls == 1 else 0) + self.each(x)

    assert measure_coverage(Once().eval(), torch.zeros(1, 4)).float_layers == {"each": 12}


def test_a_predictor_tells_the_kernels_that_run_by_now():
    model = nn.Linear(4, 3).eval()
    assert ModulePredictor(model, 1).kernels({"input": np.zeros((2, 4), np.float32)}).float_macs == 24
    assert ModulePredictor(lambda x: x).kernels({"input": np.zeros((2, 4), np.float32)}) is None


def test_listening_changes_nothing_about_the_logits():
    model = tiny_cnn().eval()
    with torch.inference_mode():
        before = model(SAMPLE)
        measure_coverage(model, SAMPLE)
        assert torch.equal(model(SAMPLE), before)


def test_the_work_of_any_call_can_be_counted_in_inference_mode_too():
    model = tiny_cnn()
    with torch.inference_mode():
        assert count_macs(lambda: model(SAMPLE)) == CONV + HEAD
    assert count_macs(lambda: SAMPLE.relu()) == 0
    backend = EagerBackend(default_engine())
    recipe = RECIPES.create("static_int8_per_tensor", "here", {})
    int8 = backend.quantize_module(model.eval(), recipe, lambda: [torch.randn(8, 3, 8, 8)]).model
    assert count_macs(lambda: int8(SAMPLE)) == CONV + HEAD
