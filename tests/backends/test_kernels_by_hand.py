"""Convolutions and matrix products written by hand, value by value: counted, or named where they are many."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from quantbench.backends.kernels import count_macs, measure_coverage
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.models.quantizable import DeQuantStub, FloatFunctional, QuantStub
from quantbench.registry import RECIPES

# Four samples of 6 channels of 8×8; the head of each model is a linear layer from 6 to 4 features, after a maximum.
N, CHANNELS, EDGE = 4, 6, 8
IMAGES = torch.linspace(-1, 1, N * CHANNELS * EDGE * EDGE).reshape(N, CHANNELS, EDGE, EDGE)
VALUES, HEAD = IMAGES.numel(), N * CHANNELS * 4


class Headed(nn.Module):
    """Some computation on images, with taps `[9, 6, 1, 1]` and a plane `[1, 6, 8, 8]`, and a linear layer."""

    def __init__(self, compute, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.register_buffer("taps", torch.linspace(-1, 1, 9 * CHANNELS).reshape(9, CHANNELS, 1, 1))
        self.register_buffer("plane", torch.ones(1, CHANNELS, EDGE, EDGE))
        self.compute, self.fc = compute, nn.Linear(CHANNELS, 4)

    def forward(self, x):
        return self.fc(self.compute(self, x).amax((2, 3)))


def coverage_of(compute, sample=IMAGES, **parts):
    return measure_coverage(Headed(compute, **parts).eval(), sample)


CONV = VALUES * CHANNELS * 9


def conv():
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)


def shifts(x):
    """The nine neighbours of each pixel."""
    padded = functional.pad(x, (1, 1, 1, 1))
    return [padded[:, :, i : i + EDGE, j : j + EDGE] for i in range(3) for j in range(3)]


def accumulated(x, taps, add):
    total = torch.zeros_like(x)
    for shift, tap in zip(shifts(x), taps, strict=True):
        total = add(total, shift, tap)
    return total


def in_place(total, shift, tap):
    total += shift * tap
    return total


def inside(m, x):
    """The middle of each image alone; the border of the sum is left out."""
    total = torch.zeros_like(x)
    for i in range(3):
        total[:, :, 1:-1] += x[:, :, i : i + EDGE - 2] * m.taps[i]
    return total


def laid_out(m, x):
    """Products that are written into one array before it is summed."""
    products = x.new_empty(9, *x.shape)
    for i, shift in enumerate(shifts(x)):
        products[i] = shift * m.taps[i]
    return products.sum(0)


class Tap(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(CHANNELS, 1, 1))

    def forward(self, x):
        return x * self.weight


DEPTHWISE = {
    "a sum": lambda m, x: sum(s * m.taps[i] for i, s in enumerate(shifts(x))),
    "in place": lambda m, x: accumulated(x, m.taps, in_place),
    "addcmul": lambda m, x: accumulated(x, m.taps, torch.addcmul),
    "addcdiv": lambda m, x: accumulated(x, m.taps, torch.addcdiv),
    "numbers": lambda _, x: accumulated(x, range(9), lambda total, s, tap: total + s * (tap + 0.5)),
    "numbers in the sum": lambda _, x: accumulated(x, range(9), lambda t, s, tap: torch.add(t, s, alpha=tap + 0.5)),
    "differences": lambda m, x: accumulated(x, m.taps, lambda total, s, tap: total - s / tap),
    "a stack": lambda m, x: torch.stack([s * m.taps[i] for i, s in enumerate(shifts(x))]).sum(0),
    "joined": lambda m, x: torch.cat([s * m.taps[i] for i, s in enumerate(shifts(x))]).view(9, *x.shape).mean(0),
    "one array": laid_out,
    "through copies": lambda m, x: sum((s * m.taps[i]).contiguous().double().float() for i, s in enumerate(shifts(x))),
    "through activations": lambda m, x: sum((s * m.taps[i]).relu() for i, s in enumerate(shifts(x))),
    "a tree": lambda m, x: sum(
        (shifts(x)[i] * m.taps[i] + shifts(x)[i + 1] * m.taps[i + 1]) + shifts(x)[i + 2] * m.taps[i + 2]
        for i in (0, 3, 6)
    ),
    "a layer for each tap": lambda m, x: sum(tap(s) for tap, s in zip(m.layers, shifts(x), strict=True)),
}


@pytest.mark.parametrize("compute", DEPTHWISE.values(), ids=DEPTHWISE)
def test_a_depthwise_convolution_of_nine_shifts_counts_nine_products_for_each_value(compute):
    coverage = coverage_of(compute, layers=nn.ModuleList(Tap() for _ in range(9)))
    assert (coverage.float_macs, coverage.uncounted) == (9 * VALUES + HEAD, ())


def test_products_count_for_the_layer_that_made_them():
    layers = nn.ModuleList(Tap() for _ in range(9))
    coverage = coverage_of(DEPTHWISE["a layer for each tap"], layers=layers)
    assert coverage.float_layers == {**{f"layers.{i}": VALUES for i in range(9)}, "fc": HEAD}


def test_a_sum_into_a_part_of_an_array_counts_its_products():
    coverage = coverage_of(inside)
    # Three quarters of the array get three products each.
    assert (coverage.float_macs, coverage.uncounted) == (3 * VALUES * 6 // 8 + HEAD, ())


def rows(x):
    """`[n, 6]`."""
    return x[:, :, 0, 0]


def columns_expanded(m, x):
    w = m.taps[:CHANNELS, :, 0, 0]
    found = sum(rows(x)[:, i : i + 1].expand(N, CHANNELS).contiguous() * w[:, i] for i in range(CHANNELS))
    return found[..., None, None]


def pairs(x):
    """`[n, n, 6]`: each row for each row."""
    return rows(x)[:, None].expand(N, N, CHANNELS).contiguous(), rows(x)[None].expand(N, N, CHANNELS).contiguous()


MATRICES = {
    "columns expanded": (lambda m, x: columns_expanded(m, x), N * CHANNELS * CHANNELS),
    "rows by rows": (
        lambda _, x: (pairs(x)[0] * pairs(x)[1]).sum(-1)[:, :1, None, None].expand(N, CHANNELS, 1, 1),
        N * N * CHANNELS,
    ),
    "a quotient": (lambda m, x: (x / m.plane).sum(-1, keepdim=True), VALUES),
    "interpolated": (lambda m, x: torch.lerp(torch.zeros_like(x), x, m.plane), VALUES),
    "unfolded": (lambda m, x: (x.unfold(3, 3, 1) * m.taps[:3, 0, 0, 0]).sum(-1), N * CHANNELS * EDGE * (EDGE - 2) * 3),
    "unfolded and turned": (
        lambda m, x: (x.unfold(3, 3, 1) * m.taps[:3, 0, 0, 0]).transpose(2, 4).contiguous().sum(2),
        N * CHANNELS * EDGE * (EDGE - 2) * 3,
    ),
    "pooled": (lambda m, x: functional.avg_pool2d(x * m.plane, 2), VALUES),
    "two sums": (lambda m, x: (x * m.plane).sum(3).sum(2)[..., None, None], VALUES),
    "summed up": (lambda m, x: (x * m.plane).cumsum(3), VALUES),
}


@pytest.mark.parametrize(("compute", "macs"), MATRICES.values(), ids=MATRICES)
def test_a_sum_along_a_dimension_in_which_both_factors_vary_counts_its_products(compute, macs):
    coverage = coverage_of(compute)
    assert (coverage.float_macs, coverage.uncounted) == (macs + HEAD, ())


class Summed(nn.Module):
    """A sum of four branches that nothing scales."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.branches = nn.ModuleList(conv() for _ in range(4))
        self.sums = nn.ModuleList(FloatFunctional() for _ in range(3))

    def forward(self, x):
        x = self.quant(x)
        total = self.branches[0](x)
        for branch, ff in zip(self.branches[1:], self.sums, strict=True):
            total = ff.add(total, branch(x))
        return self.dequant(total)

    def fuse_model(self, is_qat=False): ...


class Weighed(nn.Module):
    """A learned mean of three branches, as feature pyramids have it."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.branches = nn.ModuleList(conv() for _ in range(3))
        self.product, self.sum = nn.ModuleList(FloatFunctional() for _ in range(3)), FloatFunctional()
        self.add = FloatFunctional()

    def forward(self, x):
        x = self.quant(x)
        parts = [ff.mul(branch(x), x) for ff, branch in zip(self.product, self.branches, strict=True)]
        return self.dequant(self.add.add(self.sum.add(parts[0], parts[1]), parts[2]))

    def fuse_model(self, is_qat=False): ...


@pytest.mark.parametrize(("kind", "macs"), [(Weighed, 3 * CONV + 3 * VALUES), (Summed, 4 * CONV)])
def test_products_by_hand_that_ran_as_int8_count_as_int8(kind, macs):
    model, backend = kind().eval(), EagerBackend(default_engine())
    recipe = RECIPES.create("static_int8_per_channel", "here", {})
    int8 = measure_coverage(backend.quantize_module(model, recipe, lambda: [IMAGES]).model, IMAGES)
    fp32 = measure_coverage(model, IMAGES)
    assert (int8.int8_macs, int8.float_macs, int8.uncounted) == (macs, 0, ())
    assert (fp32.int8_macs, fp32.float_macs, fp32.uncounted) == (0, macs, ())


def test_arithmetic_on_indices_is_no_work():
    index = torch.arange(64).reshape(8, 8)
    assert count_macs(lambda: (index * 8 + index * 64 + index * 512 + index.pow(2) * index).sum()) == 0


# A matrix of each sample's own, which no other uses, is a gate.
def test_a_gate_that_is_averaged_is_no_convolution():
    coverage = coverage_of(lambda m, x: (m.conv(x) * torch.sigmoid(m.conv(x))).mean((2, 3), keepdim=True), conv=conv())
    assert (coverage.float_macs, coverage.uncounted) == (2 * CONV + HEAD, ())


def test_the_work_of_any_call_includes_products_by_hand():
    taps = torch.ones(9, CHANNELS, 1, 1)
    assert count_macs(lambda: sum(s * taps[i] for i, s in enumerate(shifts(IMAGES)))) == 9 * VALUES


def smoothed(m, x):
    """A recursive filter over columns: every product depends on the one before."""
    state = x[..., 0]
    for i in range(1, EDGE):
        state = state * m.taps[0, :, :, 0] + x[..., i]
    return state[..., None]


LOOSE = {
    "a recursive filter": smoothed,
    "two products": lambda m, x: x * m.plane + x.flip(3) * m.plane,
    "a gate and a sum": lambda _, x: x + torch.addmm(x[:, 0, 0], x[:, 0, 0], x[0, 0])[:, None, None] * x.flip(1),
    "a norm of differences": lambda _, x: (
        (x.flatten(1)[:, None] - x.flatten(1)[None]).pow(2).sum(-1)[:, None, None] + x[:, :, :1, :N]
    ),
    "a distance": lambda _, x: (
        functional.pairwise_distance(x.flatten(1)[:, None], x.flatten(1)[None])[:, None, None] + x[:, :, :1, :N]
    ),
    "a scattered sum": lambda m, x: torch.zeros_like(x).index_add(3, torch.arange(EDGE) // 2, (x * m.plane)),
}


@pytest.mark.parametrize("compute", LOOSE.values(), ids=LOOSE)
def test_many_products_that_may_or_may_not_be_a_convolution_are_named(compute):
    coverage = coverage_of(compute)
    assert any(each.startswith("pointwise products in floating point in Headed (") for each in coverage.uncounted)


def attended(m, x):
    weights = m.conv(x).softmax(3)
    return m.conv(x * weights + x)


def normalized(m, x):
    x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()
    return x * m.taps[0] + m.taps[1]


def rescaled_branches(m, x):
    for i in range(4):
        x = x + m.taps[i] * m.conv(x)
    return x


ORDINARY = {
    "batch norm by hand": (lambda m, x: normalized(m, m.conv(x)), 1),
    "a norm of each value": (lambda m, x: m.conv(x) * torch.rsqrt(m.conv(x).pow(2).mean(1, keepdim=True) + 1e-5), 2),
    "squeeze and excitation": (lambda m, x: x + m.conv(x) * m.conv(x).mean((2, 3), keepdim=True).sigmoid(), 2),
    "attention over places": (attended, 2),
    "branches with scales of their own": (rescaled_branches, 4),
    "a scaled shortcut": (lambda m, x: m.conv(x) * 0.1 + x, 1),
    "a scaled map that is added up by its parts": (
        lambda m, x: sum(part.contiguous() for part in (m.conv(x) * 0.1).unbind(2))[:, :, None],
        1,
    ),
    "a mean of two": (lambda m, x: (m.conv(x) + x) * 0.5, 1),
    "activations by hand": (lambda m, x: (y := m.conv(x)) * torch.sigmoid(1.702 * y) + functional.gelu(y), 1),
    "codes": (lambda m, x: torch.round(m.conv(x) / m.taps[0].abs().clamp(1)).clamp(-8, 7) * m.taps[0] + x, 1),
    "a mask": (lambda m, x: m.conv(x) * (x > 0), 1),
}


@pytest.mark.parametrize(("compute", "convolutions"), ORDINARY.values(), ids=ORDINARY)
def test_scales_gates_and_norms_of_ordinary_networks_are_neither_counted_nor_named(compute, convolutions):
    coverage = coverage_of(compute, conv=conv())
    assert coverage.uncounted == ()
    assert coverage.float_macs == convolutions * CONV + HEAD
