"""Transposed convolutions are counted by their inputs, in floating point and as int8."""

import torch
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.kernels import measure_coverage
from quantbench.upstream import silenced


class Upsampler(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = ao.QuantStub(), ao.DeQuantStub()
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)

    def forward(self, x):
        return self.dequant(self.up(self.quant(x)))


# Each of the 4 × 8 × 8 inputs meets 2 output channels × 2 × 2 weights.
MACS = 4 * 8 * 8 * 2 * 2 * 2


def test_a_float_one_is_counted_once_per_input_and_weight():
    assert measure_coverage(Upsampler().eval(), torch.randn(1, 4, 8, 8)).float_layers == {"up": MACS}


def test_an_int8_one_is_counted_alike(monkeypatch):
    monkeypatch.setattr(torch.backends.quantized, "engine", "qnnpack")
    model = Upsampler().eval()
    with silenced():
        # Per-channel weights are not offered for transposed convolutions, which qnnpack's default respects.
        model.qconfig = ao.get_default_qconfig("qnnpack")
        prepared = ao.prepare(model)
        prepared(torch.randn(1, 4, 8, 8))
        converted = ao.convert(prepared)
    coverage = measure_coverage(converted, torch.randn(1, 4, 8, 8))
    assert (coverage.int8_macs, coverage.float_macs) == (MACS, 0)
