"""The integer reference against ATen's int8 kernels: at power-of-two scales both give the same codes, to the last."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shift_reference import Activation, Output, Ties, Weight, add, conv2d, linear, quantize_bias

# On processors without VNNI these add pairs of products in 16 bits, which only codes of 7 bits cannot overflow.
LARGEST_CODE = {"x86": 127, "fbgemm": 127, "onednn": 127, "qnnpack": 255}
# Which of two equally near codes an engine's layers take. `x86` calls oneDNN for some shapes and FBGEMM for the others,
# as the processor has it: either will do, but all codes of a layer by the same.
TIES = {
    "x86": (Ties.TO_EVEN, Ties.TO_EVEN_CODE),
    "fbgemm": (Ties.TO_EVEN,),
    "onednn": (Ties.TO_EVEN_CODE,),
    "qnnpack": (Ties.TO_EVEN,),
}
# QNNPACK adds tensors of up to 2^7 times the output's scale, and shifts where the others multiply.
LARGEST_RATIO = 7
ENGINES = [
    pytest.param(
        engine,
        marks=pytest.mark.skipif(
            engine not in torch.backends.quantized.supported_engines, reason=f"torch has no {engine} here"
        ),
    )
    for engine in LARGEST_CODE
]
EVERY_ENGINE = pytest.mark.parametrize("engine", ENGINES)
BOTH_SCHEMES = pytest.mark.parametrize("per_channel", [False, True], ids=["per tensor", "per channel"])
# Compiling a kernel for every shape takes some engines its time.
MANY = settings(deadline=None, max_examples=60)


@pytest.fixture
def _engine(engine):
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    yield
    torch.backends.quantized.engine = before


pytestmark = pytest.mark.usefixtures("_engine")


class Drawn:
    """Draws shapes, scales and codes."""

    def __init__(self, data, engine, per_channel=False):
        self.data, self.largest, self.per_channel = data, LARGEST_CODE[engine], per_channel

    def integer(self, low, high):
        return self.data.draw(st.integers(low, high))

    def codes(self, low, high, shape):
        return torch.randint(low, high + 1, shape, generator=torch.Generator().manual_seed(self.integer(0, 2**32)))

    def activation(self, *shape):
        return Activation(self.codes(0, self.largest, shape), self.integer(0, 8), self.integer(0, self.largest))

    def weight(self, *shape):
        shift = self.codes(0, 8, shape[:1]) if self.per_channel else torch.tensor(self.integer(0, 8))
        return Weight(self.codes(-128, 127, shape), shift)

    def bias(self, x, weight):
        """A bias that is a whole number of steps of the accumulator: FBGEMM adds it unrounded."""
        shift = x.shift + weight.shift
        wanted = self.codes(-1000, 1000, (len(weight.codes),)) / 250
        return quantize_bias(wanted, shift) * 0.5 ** shift.double()

    def output(self):
        # At 255 a rectified output of QNNPACK would have no range left, which it refuses.
        return Output(self.integer(0, 8), self.integer(0, 254), self.data.draw(st.booleans()))


def quantized(x):
    return torch._make_per_tensor_quantized_tensor(x.codes.to(torch.uint8), 0.5**x.shift, x.zero_point)


def packed(weight):
    integers = weight.codes.to(torch.int8)
    if weight.shift.dim() == 0:
        return torch._make_per_tensor_quantized_tensor(integers, 0.5 ** int(weight.shift), 0)
    scales = 0.5 ** weight.shift.double()
    return torch._make_per_channel_quantized_tensor(integers, scales, torch.zeros_like(weight.shift), 0)


@EVERY_ENGINE
@BOTH_SCHEMES
@MANY
@given(data=st.data())
def test_a_convolution_has_the_codes_of_the_kernel(engine, per_channel, data):
    drawn = Drawn(data, engine, per_channel)
    stride, dilation, kernel = (drawn.integer(1, high) for high in (3, 2, 3))
    padding = drawn.integer(0, kernel - 1)
    groups, per_group, outputs = drawn.integer(1, 3), drawn.integer(1, 8), drawn.integer(1, 4)
    size = dilation * (kernel - 1) + 1 + drawn.integer(0, 5)
    x = drawn.activation(drawn.integer(1, 2), groups * per_group, size, size + 1)
    weight, output = drawn.weight(groups * outputs, per_group, kernel, kernel), drawn.output()
    bias = drawn.bias(x, weight) if data.draw(st.booleans()) else None
    conv = torch.ops.quantized.conv2d_relu if output.relu else torch.ops.quantized.conv2d
    prepacked = torch.ops.quantized.conv2d_prepack(
        packed(weight), bias if bias is None else bias.float(), [stride] * 2, [padding] * 2, [dilation] * 2, groups
    )
    expected = conv(quantized(x), prepacked, 0.5**output.shift, output.zero_point).int_repr().long()
    found = [
        conv2d(x, weight, bias, replace(output, ties=ties), stride, padding, dilation, groups).codes
        for ties in TIES[engine]
    ]
    assert any(torch.equal(codes, expected) for codes in found)


@EVERY_ENGINE
@BOTH_SCHEMES
@MANY
@given(data=st.data())
def test_a_linear_layer_has_the_codes_of_the_kernel(engine, per_channel, data):
    drawn = Drawn(data, engine, per_channel)
    inputs, outputs = drawn.integer(1, 80), drawn.integer(1, 20)
    x, weight, output = drawn.activation(4, inputs), drawn.weight(outputs, inputs), drawn.output()
    bias = drawn.bias(x, weight) if data.draw(st.booleans()) else None
    layer = torch.ops.quantized.linear_relu if output.relu else torch.ops.quantized.linear
    prepacked = torch.ops.quantized.linear_prepack(packed(weight), bias if bias is None else bias.float())
    expected = layer(quantized(x), prepacked, 0.5**output.shift, output.zero_point).int_repr().long()
    found = [linear(x, weight, bias, replace(output, ties=ties)).codes for ties in TIES[engine]]
    assert any(torch.equal(codes, expected) for codes in found)


@EVERY_ENGINE
@MANY
@given(data=st.data())
def test_a_residual_sum_has_the_codes_of_the_kernel(engine, data):
    drawn = Drawn(data, engine)
    shape = (drawn.integer(1, 2), drawn.integer(1, 40), 3, 3)
    output = drawn.output()
    if engine == "qnnpack":
        output = replace(output, ties=Ties.AWAY_FROM_ZERO)
    coarsest = max(0, output.shift - LARGEST_RATIO)
    a, b = (replace(drawn.activation(*shape), shift=drawn.integer(coarsest, 8)) for _ in range(2))
    total = torch.ops.quantized.add_relu if output.relu else torch.ops.quantized.add
    expected = total(quantized(a), quantized(b), 0.5**output.shift, output.zero_point).int_repr().long()
    assert torch.equal(add(a, b, output).codes, expected)
