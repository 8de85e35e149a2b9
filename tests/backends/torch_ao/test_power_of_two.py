"""Power-of-two observers in place of torch's: what they observe, the scales that follow, and what they refuse."""

import math

import pytest
import torch
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.power_of_two import OBSERVERS
from quantbench.errors import QuantizationError
from quantbench.quant.power_of_two import Codes, power_of_two_qparams
from quantbench.upstream import silenced

EVERY_OBSERVER = pytest.mark.parametrize("name", OBSERVERS)


def schemes(name):
    kind = "per_channel" if "PerChannel" in name else "per_tensor"
    return [getattr(torch, f"{kind}_{each}") for each in ("affine", "symmetric")]


def shown(observer, x):
    observer(x[: len(x) // 2])
    observer(x[len(x) // 2 :])
    return observer


def is_power_of_two(scale):
    return math.frexp(float(scale))[0] == 0.5


@EVERY_OBSERVER
def test_an_observer_sees_what_its_parent_sees_and_rounds_the_scale_that_follows(name):
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(2)) * torch.tensor([[0.1], [2.0], [1e-4], [900.0]])
    for qscheme in schemes(name):
        dtype = torch.qint8 if qscheme in (torch.per_tensor_symmetric, torch.per_channel_symmetric) else torch.quint8
        ours, theirs = (kind(dtype=dtype, qscheme=qscheme) for kind in (OBSERVERS[name], getattr(ao, name)))
        for observer in (ours, theirs):
            observer(x)
            observer(2 * x)
        assert torch.equal(ours.min_val, theirs.min_val)
        assert torch.equal(ours.max_val, theirs.max_val)
        scale, zero_point = ours.calculate_qparams()
        exact, exact_zero_point = theirs.calculate_qparams()
        assert scale.shape == exact.shape == zero_point.shape
        clamped = exact.clamp(2.0**-8, 1.0)
        assert all(is_power_of_two(each) for each in scale)
        # torch divides symmetric ranges by 127.5 codes, the formula by 127.
        assert ((scale / clamped).log2().abs() <= 0.5 + math.log2(127.5 / 127)).all()
        if dtype == torch.quint8:
            assert torch.equal(zero_point, exact_zero_point.long()), "of the exact scale"
        else:
            assert zero_point.eq(0).all()


@EVERY_OBSERVER
def test_a_finer_scale_can_be_allowed(name):
    x = torch.linspace(-1e-3, 1e-3, 64).reshape(2, 32)
    for max_shift in (0, 8, 12, 30):
        observer = OBSERVERS[name](dtype=torch.qint8, qscheme=schemes(name)[1], max_shift=max_shift)
        scale, _ = shown(observer, x).calculate_qparams()
        assert scale.tolist() == [2.0 ** -min(max_shift, 17)] * len(scale)


# A histogram looks for its range for half a second.
@pytest.mark.parametrize(
    ("name", "bits"),
    [(name, bits) for name in OBSERVERS for bits in range(2, 9) if name != "HistogramObserver" or bits in (2, 5, 8)],
)
@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8])
def test_fewer_bits_can_be_asked_for(name, bits, dtype):
    observer = OBSERVERS[name](bits=bits, dtype=dtype, qscheme=schemes(name)[0], max_shift=20)
    codes = Codes.of(bits, signed=dtype == torch.qint8)
    assert (observer.quant_min, observer.quant_max) == (codes.low, codes.high)
    observer(torch.tensor([[-1.0, 2.0]]))
    scale, zero_point = observer.calculate_qparams()
    low, high = (value.reshape(-1) for value in (observer.min_val, observer.max_val))
    if name != "HistogramObserver":
        expected = power_of_two_qparams(low, high, codes, symmetric=False, max_shift=20)
        assert (scale.tolist(), zero_point.tolist()) == (expected.scale.tolist(), expected.zero_point.tolist())
    assert codes.low <= int(zero_point) <= codes.high


@EVERY_OBSERVER
def test_a_reduced_range_is_that_of_the_parent(name):
    with silenced():
        observer = OBSERVERS[name](dtype=torch.quint8, qscheme=schemes(name)[0], reduce_range=True)
    assert (observer.quant_min, observer.quant_max) == (0, 127)
    observer(torch.tensor([[0.0, 2**-3 * 127]]))
    assert float(observer.calculate_qparams()[0]) == 2**-3


@EVERY_OBSERVER
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan], ids=str)
def test_a_tensor_that_is_not_finite_is_refused_when_it_is_shown(name, bad):
    observer = OBSERVERS[name](qscheme=schemes(name)[0])
    with pytest.raises(QuantizationError, match=r"^the observer was shown NaN or infinity in .* shape \[1, 2\]: no "):
        observer(torch.tensor([[1.0, bad]]))


@EVERY_OBSERVER
def test_a_range_loaded_from_a_damaged_file_is_refused_when_it_is_used(name):
    observer = shown(OBSERVERS[name](qscheme=schemes(name)[0]), torch.randn(4, 4))
    observer.max_val.fill_(math.nan)
    with pytest.raises(QuantizationError, match=r"^the range.* is \[.*nan\]: no scale fits it"):
        observer.calculate_qparams()


@EVERY_OBSERVER
def test_an_observer_that_saw_nothing_gives_upstream_s_default_and_its_warning(name):
    with pytest.warns(UserWarning, match="must run observer before calling calculate_qparams"):
        scale, zero_point = OBSERVERS[name](qscheme=schemes(name)[0]).calculate_qparams()
    assert (scale.tolist(), zero_point.tolist()) == ([1.0], [0])


@EVERY_OBSERVER
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_shift": -1}, r"^max_shift: -1 is not possible; allowed: 0 to 30, the finest scale being 2\^-max_shift"),
        ({"max_shift": 31}, r"^max_shift: 31 is not possible"),
        ({"bits": 1}, r"^bits: 1 is not possible for a power-of-two scale; allowed: 2 to 8"),
        ({"bits": 9}, r"^bits: 9 is not possible"),
        ({"quant_min": 0, "quant_max": 1}, r"^bits: 1 is not possible"),
        ({"quant_min": 0, "quant_max": 511}, r"^bits: 9 is not possible"),
        ({"quant_min": 0, "quant_max": 3, "reduce_range": True}, r"^bits: 1 is not possible"),
        ({"dtype": torch.qint32}, r"^dtype: torch\.qint32 cannot have power-of-two scales; allowed: qint8, int8, "),
        ({"qscheme": torch.per_channel_affine_float_qparams}, r"^qscheme: torch\.per_channel_affine_float_qparams ca"),
    ],
)
def test_what_an_observer_cannot_be_made_with_is_refused(name, params, message):
    with silenced(), pytest.raises(QuantizationError, match=message):
        OBSERVERS[name](**{"qscheme": schemes(name)[0], **params})
