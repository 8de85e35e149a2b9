"""Products outside of convolutions and linear layers: counted by hand-made figures, or named; never left out."""

import warnings

import pytest
import torch
from torch import nn
from torch.ao import quantization as ao
from torch.nn import functional

from quantbench.backends.kernels import measure_coverage
from quantbench.upstream import silenced

# 5 time steps of 8 features; the head of each model is an int8 linear layer from 8 to 4 features.
STEPS, WIDTH = 5, 8
SAMPLE = torch.linspace(-1, 1, STEPS * WIDTH).reshape(1, STEPS, WIDTH)
HEAD = 8 * 4


class Headed(nn.Module):
    """Some computation on `[1, steps, 8]`, followed by a linear layer."""

    def __init__(self, compute, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.compute, self.fc = compute, nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.fc(self.compute(self, x))


def weight(*shape):
    return nn.Parameter(torch.ones(*shape))


def coverage_of(model, kinds=(nn.Linear,), dtype=torch.qint8, sample=SAMPLE):
    with silenced():
        quantized = ao.quantize_dynamic(model.eval(), set(kinds), dtype=dtype)
    return measure_coverage(quantized, sample)


class Multiplies(torch.autograd.Function):
    @staticmethod
    def forward(_, x, weight):
        return x @ weight


def in_bf16(model, x):
    with torch.autocast("cpu", torch.bfloat16):
        return model.inner(x).float()


@torch.inference_mode()
def in_inference_mode(model, x):
    return functional.linear(x, model.w)


ATTENTION = 4 * STEPS * WIDTH * WIDTH + 2 * STEPS * STEPS * WIDTH  # four projections, scores, values
CELL = 4 * WIDTH * (WIDTH + WIDTH)  # four gates, each of the input and of the state
LINEAR = STEPS * WIDTH * WIDTH
FLOATS = {
    "lstm": (lambda m, x: m.r(x)[0], {"r": nn.LSTM(WIDTH, WIDTH, 2, batch_first=True)}, 2 * STEPS * CELL),
    "lstm both ways": (
        lambda m, x: m.r(x)[0],
        {"r": nn.LSTM(WIDTH, 4, batch_first=True, bidirectional=True)},
        2 * STEPS * 4 * 4 * (WIDTH + 4),
    ),
    "gru": (lambda m, x: m.r(x)[0], {"r": nn.GRU(WIDTH, WIDTH, batch_first=True)}, STEPS * CELL * 3 // 4),
    "rnn": (lambda m, x: m.r(x)[0], {"r": nn.RNN(WIDTH, WIDTH, batch_first=True)}, STEPS * CELL // 4),
    "lstm cell": (lambda m, x: m.r(x[:, 0])[0], {"r": nn.LSTMCell(WIDTH, WIDTH)}, CELL),
    "multi-head attention": (
        lambda m, x: m.a(x, x, x, need_weights=False)[0],
        {"a": nn.MultiheadAttention(WIDTH, 2, batch_first=True)},
        ATTENTION,
    ),
    "scaled dot product": (
        lambda _, x: functional.scaled_dot_product_attention(x[None], x[None], x[None])[0],
        {},
        2 * STEPS * STEPS * WIDTH,
    ),
    "bilinear": (lambda m, x: m.b(x, x), {"b": nn.Bilinear(WIDTH, WIDTH, WIDTH)}, STEPS * WIDTH**3),
    "einsum": (lambda m, x: torch.einsum("ntd,de->nte", x, m.w), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "mv": (lambda m, x: torch.mv(m.w, x[0, 0])[None], {"w": weight(WIDTH, WIDTH)}, WIDTH**2),
    "addmv": (lambda m, x: torch.addmv(x[0, 1], m.w, x[0, 0])[None], {"w": weight(WIDTH, WIDTH)}, WIDTH**2),
    "dot": (lambda m, x: x * torch.dot(x[0, 0], m.w), {"w": weight(WIDTH)}, WIDTH),
    "vdot": (lambda m, x: x * torch.vdot(x[0, 0], m.w), {"w": weight(WIDTH)}, WIDTH),
    "inner": (lambda m, x: torch.inner(x, m.w), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "outer": (lambda m, x: torch.outer(x[0, 0], m.w), {"w": weight(WIDTH)}, WIDTH**2),
    "addr": (lambda m, x: torch.addr(x[0, :1], x[0, :, 0], m.w), {"w": weight(WIDTH)}, STEPS * WIDTH),
    "kron": (lambda m, x: torch.kron(x[0], m.w)[:STEPS, :WIDTH], {"w": weight(2, 2)}, STEPS * WIDTH * 4),
    "addbmm": (lambda m, x: torch.addbmm(x[0], x, m.w[None]), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "baddbmm": (lambda m, x: torch.baddbmm(x, x, m.w[None]), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "tensordot": (lambda m, x: torch.tensordot(x, m.w, 1), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "a sum of products": (lambda m, x: (x[:, 0, None] * m.w).sum(-1), {"w": weight(WIDTH, WIDTH)}, WIDTH**2),
    "many of them": (lambda m, x: (x[:, :, None] * m.w).sum(-1), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "an own autograd function": (lambda m, x: Multiplies.apply(x, m.w), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "vmap": (lambda m, x: torch.vmap(lambda row: m.w @ row)(x[0]), {"w": weight(WIDTH, WIDTH)}, LINEAR),
    "bf16 by autocast": (in_bf16, {"inner": nn.Conv1d(STEPS, STEPS, 1)}, STEPS * STEPS * WIDTH),
    "inference mode": (in_inference_mode, {"w": weight(WIDTH, WIDTH)}, LINEAR),
}


@pytest.mark.parametrize(("compute", "parts", "macs"), FLOATS.values(), ids=FLOATS)
def test_products_in_floating_point_are_counted_as_such(compute, parts, macs):
    coverage = coverage_of(Headed(compute, **parts))
    assert (coverage.float_macs, coverage.uncounted) == (macs, ())
    assert coverage.int8_macs in (HEAD, STEPS * HEAD, WIDTH * HEAD)


def test_the_layers_of_a_transformer_are_counted_one_by_one():
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2)
    coverage = coverage_of(Headed(lambda m, x: m.t(x), t=encoder))
    assert coverage.float_layers == {f"t.layers.{i}.self_attn": ATTENTION for i in range(2)}
    feed_forward = {f"t.layers.{i}.linear{j}": STEPS * WIDTH * 16 for i in range(2) for j in (1, 2)}
    assert coverage.int8_layers == {**feed_forward, "fc": STEPS * HEAD}
    assert coverage.uncounted == ()


def test_fast_paths_are_on_again_after_listening():
    assert torch.backends.mha.get_fastpath_enabled()
    coverage_of(Headed(lambda _, x: x))
    assert torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        coverage_of(Headed(lambda _, x: x))
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


RECURRENT = {
    "lstm": (nn.LSTM, lambda m, x: m.r(x)[0], {"num_layers": 2, "batch_first": True}, 2 * STEPS * CELL),
    "gru": (nn.GRU, lambda m, x: m.r(x)[0], {"batch_first": True}, STEPS * CELL * 3 // 4),
    "lstm cell": (nn.LSTMCell, lambda m, x: m.r(x[:, 0])[0], {}, CELL),
}


@pytest.mark.parametrize(("kind", "compute", "params", "macs"), RECURRENT.values(), ids=RECURRENT)
def test_recurrent_layers_in_int8_count_as_int8(kind, compute, params, macs):
    coverage = coverage_of(Headed(compute, r=kind(WIDTH, WIDTH, **params)), (kind, nn.Linear))
    assert coverage.int8_layers["r"] == macs
    assert (coverage.float_macs, coverage.uncounted) == (0, ())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_dynamic_quantization_to_float16_is_not_int8(kind):
    model = Headed(lambda m, x: m.r(x)[0], r=kind(WIDTH, WIDTH, batch_first=True))
    coverage = coverage_of(model, (kind, nn.Linear), torch.float16)
    assert (coverage.int8_macs, coverage.uncounted) == (0, ())
    assert set(coverage.float_layers) == {"r", "fc"}


def test_an_integer_product_counts_as_int8():
    codes = torch.ones(WIDTH, WIDTH, dtype=torch.int8)
    model = Headed(lambda _, x: torch._int_mm(torch.ones(32, WIDTH, dtype=torch.int8), codes).float()[:1] + x[:, 0])
    assert coverage_of(model).int8_macs == 32 * WIDTH**2 + HEAD


class InNumpy(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = weight(WIDTH, WIDTH)

    def forward(self, x):
        return torch.from_numpy(x.numpy() @ self.w.detach().numpy())


@pytest.fixture(scope="module", autouse=True)
def library():
    """An operator of somebody's own, with weights that nobody sees."""
    found = torch.library.Library("quantbench_test", "DEF")
    found.define("sealed(Tensor x) -> Tensor")
    found.impl("sealed", lambda x: x.clone(), "CPU")
    yield found
    found._destroy()


UNKNOWN = {
    "cdist": (lambda m, x: torch.cdist(x, m.w), {"w": weight(WIDTH, WIDTH)}, "aten::_cdist_forward in Headed"),
    "embedding bag": (
        lambda m, x: m.e(x[:, :, 0].abs().long()),
        {"e": nn.EmbeddingBag(10, WIDTH)},
        "aten::_embedding_bag in e",
    ),
    "fft": (
        lambda m, x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(m.w)),
        {"w": weight(WIDTH)},
        "aten::_fft_r2c in Headed",
    ),
    "sparse": (
        lambda m, x: torch.sparse.mm(m.w.to_sparse(), x[0].T).T,
        {"w": weight(WIDTH, WIDTH)},
        "aten::_sparse_addmm in Headed",
    ),
    "sparse rows": (
        lambda m, x: (m.w.to_sparse_csr() @ x[0].T).T,
        {"w": weight(WIDTH, WIDTH)},
        "aten::mm in Headed",
    ),
    "matrix exponential": (
        lambda m, x: x @ torch.matrix_exp(m.w),
        {"w": weight(WIDTH, WIDTH)},
        "aten::linalg_matrix_exp in Headed",
    ),
    "a library of somebody's own": (
        lambda _, x: torch.ops.quantbench_test.sealed(x),
        {},
        "quantbench_test::sealed in Headed",
    ),
    "numpy": (
        lambda m, x: m.outside(x),
        {"outside": InNumpy()},
        "outside (InNumpy), whose weights went into no operator that was seen",
    ),
}


@pytest.mark.parametrize(("compute", "parts", "named"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_counted_is_named(compute, parts, named):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        assert named in coverage_of(Headed(compute, **parts)).uncounted


HARMLESS = {
    "norms": (
        lambda m, x: m.layer(m.group(m.instance(m.batch(x)))),
        {
            "batch": nn.BatchNorm1d(STEPS),
            "instance": nn.InstanceNorm1d(STEPS, affine=True),
            "group": nn.GroupNorm(STEPS, STEPS),
            "layer": nn.Sequential(nn.LayerNorm(WIDTH), nn.RMSNorm(WIDTH)),
        },
    ),
    "scales and biases": (
        lambda m, x: m.prelu(x) * m.scale + m.positions,
        {"prelu": nn.PReLU(), "scale": weight(WIDTH), "positions": weight(STEPS, WIDTH)},
    ),
    "a mask of weights": (lambda m, x: x * m.mask, {"mask": weight(STEPS, WIDTH)}),
    "a table": (lambda m, x: m.table(x.abs().long()[..., 0]), {"table": nn.Embedding(10, WIDTH)}),
    "a gate by channel": (lambda _, x: x * x.mean(1, keepdim=True).sigmoid(), {}),
    "joins and pads": (
        lambda m, x: functional.pad(torch.cat([m.first.expand(1, 1, -1), x], 1), (0, 0, 1, 0))[:, :STEPS],
        {"first": weight(1, 1, WIDTH)},
    ),
    "a parameter for training alone": (
        lambda m, x: x + m.positions,
        {"positions": weight(STEPS, WIDTH), "hidden": weight(1, 1, WIDTH)},
    ),
}


@pytest.mark.parametrize(("compute", "parts"), HARMLESS.values(), ids=HARMLESS)
def test_what_multiplies_no_matrix_is_neither_counted_nor_named(compute, parts):
    coverage = coverage_of(Headed(compute, **parts))
    assert (coverage.float_macs, coverage.int8_share, coverage.uncounted) == (0, 1.0, ())


def test_a_weight_that_is_normalized_first_was_used():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv1d(STEPS, STEPS, 1))
    coverage = measure_coverage(Headed(lambda m, x: m.c(x), c=layer).eval(), SAMPLE)
    assert coverage.float_layers["c"] == STEPS * STEPS * WIDTH
    assert coverage.uncounted == ()


def test_a_compiled_function_is_listened_to_as_it_was_written():
    compiled = torch.compile(lambda x, w: torch.relu(x @ w), backend="eager")
    model = Headed(lambda m, x: compiled(x, m.w), w=weight(WIDTH, WIDTH))
    assert coverage_of(model).float_macs == LINEAR


def test_a_scripted_model_is_counted():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")
        scripted = torch.jit.script(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()).eval())
    coverage = measure_coverage(scripted, SAMPLE)
    assert (coverage.float_macs, coverage.uncounted) == (LINEAR, ())


class Coded(torch.Tensor):
    """A weight in another form, as quantization libraries have them: it takes products apart itself."""

    @staticmethod
    def __new__(cls, codes):
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)

    def __init__(self, codes):
        self.codes = codes

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        values = [each.codes.float() if isinstance(each, cls) else each for each in args]
        return func(*values, **(kwargs or {}))


def test_a_weight_that_takes_products_apart_is_counted_by_what_it_runs():
    coded = Coded(torch.ones(WIDTH, WIDTH, dtype=torch.int8))
    assert coverage_of(Headed(lambda _, x: x @ coded)).float_macs == LINEAR


def test_an_int8_layer_that_does_not_run_is_no_unknown_work():
    with silenced():
        spare = torch.ao.nn.quantized.Conv1d(WIDTH, WIDTH, 1)
    coverage = coverage_of(Headed(lambda _, x: x[:, 0], spare=spare))
    assert (coverage.int8_macs, coverage.uncounted) == (HEAD, ())
