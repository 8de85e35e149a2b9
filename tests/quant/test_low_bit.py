"""Quantizers with a learned range: their codes and values, their first range, and other widths after training."""

import pytest
import torch

from quantbench.errors import QuantizationError
from quantbench.quant.learned_step import LearnedStep
from quantbench.quant.low_bit import (
    Coding,
    LearnedClipping,
    NormalizedClipping,
    least_squares_clip,
    to_codes,
)

MAKE = {
    "clipping": lambda bits: LearnedClipping(bits),
    "signed clipping": lambda bits: LearnedClipping(bits, signed=True),
    "normalized": lambda bits: NormalizedClipping(bits),
    "step": lambda bits: LearnedStep(bits, signed=False, is_weight=False),
    "signed step": lambda bits: LearnedStep(bits, signed=True, is_weight=True),
}
EVERY = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
WIDTHS = pytest.mark.parametrize("bits", range(2, 9))


def values(n=4000, seed=0):
    """Gaussian ones, their mean not zero."""
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)) + 0.1


def started(make, bits, x):
    quantizer = make(bits).train()
    quantizer(x)
    return quantizer.eval()


@EVERY
@WIDTHS
def test_values_are_codes_times_the_scale_to_the_last_bit(make, bits):
    x = values()
    quantizer = started(make, bits, x)
    codes = quantizer.codes_of(x)
    assert torch.equal(quantizer(x), quantizer.scale_of(x) * codes)
    assert torch.equal(codes, codes.round())
    allowed = quantizer.codes
    assert allowed.low <= codes.min() <= codes.max() <= allowed.high
    assert allowed.bits == bits
    # The published first step leaves high codes of wide ranges unused.
    assert codes.max() == allowed.high or isinstance(quantizer, LearnedStep)


@pytest.mark.parametrize("name", ["clipping", "signed clipping", "normalized"])
def test_more_bits_lose_less(name):
    x = values()
    target = {"clipping": x.relu(), "signed clipping": x, "normalized": x - x.mean()}[name]
    quantized = [started(MAKE[name], bits, x)(x).detach() for bits in range(2, 9)]
    errors = [float((each - target).square().mean()) for each in quantized]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3


def test_clipping_at_1_with_two_bits_gives_thirds():
    quantizer = LearnedClipping(2).eval()
    x = torch.tensor([-1.0, 0.1, 0.2, 0.4, 0.6, 0.9, 5.0])
    assert quantizer.codes_of(x).tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert quantizer(x).tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1, 1])


def test_signed_clipping_is_symmetric():
    quantizer = LearnedClipping(3, signed=True).eval()
    x = torch.tensor([-9.0, -1.0, -0.4, 0.0, 0.4, 1.0, 9.0])
    assert quantizer.codes_of(x).tolist() == [-3, -3, -1, 0, 1, 3, 3]


def test_normalized_weights_are_clipped_at_deviations_from_their_mean():
    quantizer = NormalizedClipping(4).eval()
    quantizer.alpha.data.fill_(2.0)
    weight = values()
    deviation = weight.std(correction=0) + 1e-5
    expected = ((weight - weight.mean()) / deviation).clamp(-2, 2) * 7 / 2
    assert (quantizer.codes_of(weight) - expected).abs().max() <= 0.5 + 1e-4
    assert float(quantizer.scale_of(weight)) == pytest.approx(float(deviation) * 2 / 7)


def test_scaled_weights_have_the_same_codes_and_scaled_values():
    weight = values() * 4
    quantizer = started(MAKE["normalized"], 4, weight)
    assert torch.equal(quantizer.codes_of(weight / 4), quantizer.codes_of(weight))
    assert quantizer(weight / 4).tolist() == pytest.approx((quantizer(weight) / 4).tolist(), rel=1e-3)


def test_a_step_holds_one_more_code_below_zero():
    quantizer = LearnedStep(3, signed=True, is_weight=True).eval()
    assert quantizer.codes_of(torch.tensor([-9.0, -3.4, 0.6, 2.4, 9.0])).tolist() == [-4, -3, 1, 2, 3]


@EVERY
def test_at_another_width_the_range_stays_and_is_divided_anew(make):
    x = values()
    quantizer = started(make, 4, x)
    clip, end = quantizer.clip.clone(), quantizer.scale_of(x) * quantizer.codes.high
    for bits in (2, 3, 8):
        quantizer.bits = bits
        assert quantizer.bits == bits
        assert torch.equal(quantizer.clip, clip)
        assert quantizer.scale_of(x) * quantizer.codes.high == pytest.approx(end)
    quantizer.bits = 4
    assert torch.equal(quantizer.clip, clip)


def test_the_first_range_is_chosen_once_in_train_mode_only():
    quantizer, x = LearnedClipping(4), values()
    quantizer.eval()(x)
    assert float(quantizer.alpha.detach()) == 1.0, "not in eval mode"
    quantizer.train()(x)
    first = quantizer.alpha.detach().clone()
    assert torch.equal(first, least_squares_clip(x, quantizer.codes))
    quantizer(100 * x)
    assert torch.equal(quantizer.alpha.detach(), first)


def test_a_first_range_survives_saving():
    trained = started(MAKE["clipping"], 4, values())
    loaded = LearnedClipping(4).train()
    loaded.load_state_dict(trained.state_dict())
    loaded(100 * values())
    assert torch.equal(loaded.alpha, trained.alpha)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_clip_of_those_tried_loses_less_than_the_chosen_one(bits):
    x, codes = values(), Coding(signed=True).of(bits)
    chosen = least_squares_clip(x, codes)

    def lost(clip):
        return float((to_codes(x, clip / codes.high, codes) * clip / codes.high - x).square().sum())

    tried = x.abs().max() * torch.arange(1, 65) / 64
    assert lost(chosen) == pytest.approx(min(lost(clip) for clip in tried), rel=1e-4)
    assert chosen < x.abs().max() or bits == 8, "few bits are worth clipping for"


def test_the_first_step_is_that_of_the_paper():
    x = values().abs()
    quantizer = started(MAKE["step"], 4, x)
    assert float(quantizer.step.detach()) == pytest.approx(2 * float(x.mean()) / 15**0.5)


@EVERY
@pytest.mark.parametrize("x", [torch.zeros(5), torch.full((5,), float("nan")), -torch.ones(5)], ids=str)
def test_values_that_tell_nothing_of_a_range_leave_it_positive(make, x):
    quantizer = make(4).train()
    quantizer(x)
    assert quantizer.clip > 0


# Weights with NaN have no mean; they are refused where they are loaded.
@pytest.mark.parametrize("name", [name for name in MAKE if name != "normalized"])
def test_nan_stays_nan_and_infinity_is_clipped(name):
    quantizer = started(MAKE[name], 4, values())
    codes = quantizer.codes_of(torch.tensor([float("nan"), float("inf"), float("-inf")]))
    assert codes.isnan().tolist() == [True, False, False]
    assert codes[1:].tolist() == [quantizer.codes.high, quantizer.codes.low]


@EVERY
@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 32])
def test_widths_beyond_2_to_8_are_refused(make, bits):
    message = rf"^bits: {bits} is not possible for a low-bit layer; allowed: 2 to 8$"
    with pytest.raises(QuantizationError, match=message):
        make(bits)
    quantizer = make(4)
    with pytest.raises(QuantizationError, match=message):
        quantizer.bits = bits
    assert quantizer.bits == 4


def test_half_precision_values_are_quantized_in_float32():
    x = values().bfloat16()
    quantizer = started(MAKE["clipping"], 8, x)
    assert quantizer(x).dtype == torch.float32
    assert torch.equal(quantizer(x), quantizer(x.float()))


def test_a_quantizer_prints_its_width_and_codes():
    assert str(LearnedClipping(4)) == "LearnedClipping(4 bits, 0..15)"
    assert str(LearnedStep(3, signed=True, is_weight=True)) == "LearnedStep(3 bits, -4..3)"
