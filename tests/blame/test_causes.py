"""Each cause is found where it was planted, as the largest one, and told with figures; a sound layer has none."""

import numpy as np
import pytest
from blame_layers import INPUTS, OUTPUTS, Layer, inputs, per_channel, per_tensor, results, weights

from quantbench.backends.insides import Grid
from quantbench.blame.causes import CHECKERS, KINDS, causes_of
from quantbench.recipes.spec import LowBit, WeightOnly
from quantbench.recipes.static_int8 import static_int8_histogram

# Of results that are hardly rounded.
FINE = Grid.of(1e-4, 0, 0, 1 << 20)


def first(facts):
    found = causes_of(facts)
    return found[0].kind, found[0].words, found[0].advice


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("relu", [True, False])
def test_a_sound_layer_has_no_cause_but_rounding(seed, relu):
    found = causes_of(Layer(weights(seed), relu=relu).facts(shown=inputs()))
    assert [each.kind for each in found] == ["rounding"]
    assert found[0].share == 0.0
    assert "dB of signal to noise" in found[0].words


def test_results_beyond_the_range_of_their_own_calibration_samples():
    kind, words, advice = first(Layer(high=1.0).facts(shown=inputs()))
    assert kind == "clipped"
    assert "16 % of its results are clipped (range 0…1, needed 0…4.66, by its own calibration samples 0…4.66)" in words
    assert "static_int8_per_channel" in advice


def test_a_range_of_a_few_samples():
    seen = inputs(2, times=0.3)
    layer = Layer(high=float(Layer().run(seen, reference=True).max()))
    kind, words, advice = first(layer.facts(shown=seen, calibration=inputs(96, seed=3)))
    assert kind == "few_samples"
    assert "; calibrated on 2 samples" in words
    assert advice == "calibration_n: 256"


def test_a_range_of_other_samples():
    seen = inputs(96, seed=3, times=0.3)
    layer = Layer(high=float(Layer().run(seen, reference=True).max()))
    kind, words, _ = first(layer.facts(shown=seen, calibration=seen))
    assert kind == "other_samples"
    assert "they are others than the test samples" in words


def test_a_range_that_is_hardly_used():
    kind, words, advice = first(Layer(high=20.0).facts(recipe=static_int8_histogram()))
    assert kind == "unused_range"
    assert "% of the range of its results is not used (range 0…20" in words
    assert advice == "recipe: static_int8_full_range, which uses all 8 bits"


def test_the_same_on_a_processor_whose_products_would_saturate():
    advice = first(Layer(high=20.0).facts(recipe=static_int8_histogram(), has_vnni=False))[2]
    assert "on a processor with VNNI" in advice


def test_a_channel_that_takes_the_range_for_itself():
    reference = weights()
    reference[3] *= 40
    kind, words, _ = first(Layer(reference).facts())
    assert kind == "outlier_channel"
    assert words.startswith("channel 3 of 16 reaches 0…")


@pytest.mark.parametrize("few", [1, 2, 3])
def test_one_or_a_few_such_channels_of_many(few):
    reference = np.concatenate([weights(seed) for seed in range(4)])
    reference[5 : 5 + few] *= 40
    assert first(Layer(reference).facts())[1].startswith(
        f"channel {', '.join(map(str, range(5, 5 + few)))} of 64 reaches"
    )


def test_such_a_channel_is_told_before_a_bit_that_is_left_free():
    reference = weights()
    reference[3] *= 40
    high = 2 * float(Layer(reference).run(inputs(), reference=True).max())
    kinds = [each.kind for each in causes_of(Layer(reference, high=high).facts())]
    assert kinds[:2] == ["outlier_channel", "unused_range"]


def test_a_zero_point_in_the_wrong_place():
    layer = Layer(relu=False)
    good = layer.results[0]
    shifted = Grid(good.scale, good.zero_point - 60, 0, 255)
    kind, words, _ = first(Layer(relu=False, given=shifted).facts())
    assert kind == "zero_point"
    assert "as wide, with the zero point" in words


def test_a_zero_that_no_code_stands_for():
    good = Layer().results[0]
    off = Grid(good.scale * 4, good.zero_point + 0.5, 0, 255)
    kinds = [each.kind for each in causes_of(Layer(given=off).facts())]
    assert "zero_off_grid" in kinds


def test_results_that_are_rounded_twice():
    kind, words, _ = first(Layer(more=(results(4.4 * 8),)).facts())
    assert kind == "double_quantization"
    assert "its results are rounded twice, with scales" in words


def test_channels_that_give_one_value():
    reference = weights()
    candidate = per_channel(reference).rounded(reference)
    candidate[[2, 5]] = 0
    kind, words, _ = first(Layer(reference, candidate=candidate).facts())
    assert kind == "dead_channel"
    assert words == "channels 2, 5 of 16 give one value for every sample"


def test_one_scale_for_weights_of_other_ranges():
    reference = weights() * np.geomspace(0.01, 1, OUTPUTS)[:, None]
    kind, words, advice = first(Layer(reference, per_tensor(reference), high=40.0, given=FINE).facts())
    assert kind == "weight_spread"
    assert "its weights share one scale, and channel 14 reaches 0.254 where" in words
    assert advice == "recipe: static_int8_per_channel"


def test_scales_along_the_wrong_axis():
    reference = weights() * np.geomspace(0.01, 1, OUTPUTS)[:, None]
    grid = Grid.of(np.abs(reference).max(axis=0) / 127, 0, -128, 127, 1, 2)
    kind, words, _ = first(Layer(reference, grid, given=FINE).facts())
    assert kind == "wrong_axis"
    assert f"{INPUTS} scales along axis 1" in words


def test_scales_of_other_channels():
    reference = weights() * np.geomspace(0.1, 1, OUTPUTS)[:, None]
    good = per_channel(reference)
    grid = Grid(good.scale[::-1].copy(), good.zero_point, -128, 127, 0)
    kind, words, _ = first(Layer(reference, grid).facts())
    assert kind == "wrong_axis"
    assert "belong to other output channels" in words


def test_weights_that_are_clipped():
    good = per_channel(weights())
    kind, words, _ = first(Layer(grid=Grid(good.scale / 3, good.zero_point, -128, 127, 0)).facts())
    assert kind == "weight_clipped"
    assert "% of its weights are clipped" in words


def test_weights_of_which_most_of_the_range_is_not_used():
    good = per_channel(weights())
    kind, words, _ = first(Layer(grid=Grid(good.scale * 16, good.zero_point, -128, 127, 0)).facts())
    assert kind == "weight_unused_range"
    assert "its weights use 6.3 % of their range" in words or "its weights use 6.2 % of their range" in words


def test_weights_with_a_wrong_zero_point():
    grid = per_channel(weights())
    candidate = grid.rounded(weights()) + 9 * grid.scale
    kind, words, _ = first(Layer(grid=grid, candidate=candidate).facts())
    assert kind == "weight_zero_point"
    assert "by the same number of codes (+9)" in words


def test_weights_that_were_rounded_before():
    grid = per_channel(weights())
    coarse = Grid(grid.scale * 16, grid.zero_point, -8, 7, 0)
    kind, words, _ = first(Layer(candidate=grid.rounded(coarse.rounded(weights()))).facts())
    assert kind == "double_quantization"
    assert "its weights were rounded before" in words


def test_weights_of_another_model():
    kind, words, _ = first(Layer(candidate=per_channel(weights()).rounded(weights() + 0.3 * weights(9))).facts())
    assert kind == "other_weights"
    assert "are not the reference's, rounded" in words


def test_a_bias_of_another_model():
    bias = np.zeros(OUTPUTS)
    bias[4] = 2.0
    kind, words, _ = first(Layer(bias=bias).facts())
    assert kind == "bias"
    assert "2 instead of 0 in channel 4" in words


@pytest.mark.parametrize(("has_vnni", "told"), [(False, "saturates"), (True, "computes something else")])
def test_a_kernel_that_cuts_sums_off(has_vnni, told):
    kind, words, _ = first(Layer(kernel=lambda given: np.minimum(given, 2.0)).facts(has_vnni=has_vnni))
    assert kind == "saturation"
    assert told in words


def test_every_cause_says_what_it_explains():
    assert len(KINDS) == 19
    assert all(each.explains and each.kind in KINDS for each in CHECKERS)


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (LowBit(4, 4, "lsq", 1, 0.1, 0), "weight_bits: 5, or more epochs"),
        (LowBit(8, 4, "lsq", 1, 0.1, 0), "more epochs"),
        (WeightOnly(4, ("Linear",), 32), "recipe: weight_only_int8"),
        (WeightOnly(8, ("Linear",)), "leaving it in floating point"),
    ],
)
def test_a_recipe_of_a_few_bits_is_advised_what_it_can_do(recipe, told):
    good = per_channel(weights())
    layer = Layer(grid=Grid(good.scale / 3, good.zero_point, -128, 127, 0))
    assert first(layer.facts(recipe=recipe))[2] == told
