"""Ranges of activations from batches, by each of the neutral methods."""

import numpy as np
import pytest

from quantbench.backends.onnx_runtime.calibration import BINS, Histogram, ranges_of
from quantbench.errors import QuantizationError


def batches(*arrays):
    return lambda: [{"a": np.asarray(each, np.float32)} for each in arrays]


def test_the_smallest_and_the_largest_value_of_all_batches():
    assert ranges_of(batches([-1, 2], [0, 5], [-3, 1]), "minmax") == {"a": (-3.0, 5.0)}


def test_zero_is_in_every_range():
    assert ranges_of(batches([2, 3]), "minmax") == {"a": (0.0, 3.0)}
    assert ranges_of(batches([-3, -2]), "minmax") == {"a": (-3.0, 0.0)}


def test_moving_averages_begin_with_the_first_batch_and_take_a_hundredth_of_each_other_one():
    ((low, high),) = ranges_of(batches([-1, 1], [-2, 3], [-2, 3]), "moving_average").values()
    assert low == pytest.approx(-1 - 0.01 - 0.01 * 0.99)
    assert high == pytest.approx(1 + 0.02 + 0.02 * 0.99)


def test_empty_activations_are_passed_over():
    assert ranges_of(batches([], [1, 2]), "minmax") == {"a": (0.0, 2.0)}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_no_scale_fits_are_refused(value):
    with pytest.raises(QuantizationError, match=r"^'a' holds NaN or infinity in calibration"):
        ranges_of(batches([0, value]), "minmax")


def test_no_batch_is_refused():
    with pytest.raises(QuantizationError, match="there is no calibration batch"):
        ranges_of(list, "minmax")


def squared_error(values, low, high):
    """Of 256 codes, computed on the values themselves."""
    scale = (high - low) / 255
    codes = np.clip(np.round(values / scale) - round(low / scale), 0, 255)
    return float(((values - (codes + round(low / scale)) * scale) ** 2).mean())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("is_relu", [True, False])
def test_the_histogram_clips_outliers_where_that_lessens_the_squared_error(seed, is_relu):
    values = np.random.RandomState(seed).standard_t(3, 200_000).astype(np.float32)
    values = np.maximum(values, 0) if is_relu else values
    ((low, high),) = ranges_of(batches(values[:100_000], values[100_000:]), "histogram").values()
    assert high < values.max()
    assert (low == 0) == is_relu
    found, whole = (squared_error(values, *ends) for ends in ((low, high), (min(values.min(), 0), values.max())))
    assert found < 0.95 * whole
    # No other pair of ends is better by much.
    for factor in (0.8, 0.9, 1.1, 1.25):
        assert found < 1.02 * squared_error(values, low * factor, high * factor)


def test_the_histogram_keeps_what_has_no_outliers():
    values = np.linspace(-1, 1, 10_000)
    ((low, high),) = ranges_of(batches(values), "histogram").values()
    assert (low, high) == pytest.approx((-1, 1), abs=16 / BINS)


def test_a_tensor_of_zeros_has_the_range_of_zero():
    assert ranges_of(batches([0, 0]), "histogram") == {"a": (0.0, 0.0)}


def test_counts_are_those_of_all_values_but_zeros():
    seen = Histogram(-1.0, 1.0)
    for each in ([0, 0.5, -0.5], [1, -1, 0]):
        seen.add(np.asarray(each, np.float32))
    assert seen.counts.sum() == 4
