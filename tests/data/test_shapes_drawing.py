"""The drawn shapes are the same bits everywhere, balanced and independent, and nonsense is refused."""

import hashlib
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from quantbench.data import shapes_drawing
from quantbench.data.shapes_drawing import CLASSES, EXPECTED_SHA256, draw_shapes
from quantbench.errors import DataError

Drawn = tuple[NDArray[np.uint8], NDArray[np.int64]]
FULL = 10_000
PREFIX = 64
ROUNDING = 2  # shifts round down: up to two 64ths of a pixel between a shape and its mirror image


@pytest.fixture(scope="module")
def for_training() -> Drawn:
    return draw_shapes(FULL, 0)


@pytest.fixture(scope="module")
def for_testing() -> Drawn:
    return draw_shapes(FULL, 1)


def _digest(drawn: Drawn) -> str:
    images, labels = drawn
    return hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()


def test_every_bit_of_both_streams_is_the_expected_one(for_training: Drawn, for_testing: Drawn) -> None:
    assert {"train": _digest(for_training), "test": _digest(for_testing)} == EXPECTED_SHA256


def test_a_short_stream_is_the_start_of_a_long_one(for_training: Drawn, for_testing: Drawn) -> None:
    for stream, (images, labels) in enumerate((for_training, for_testing)):
        few_images, few_labels = draw_shapes(PREFIX, stream)
        np.testing.assert_array_equal(few_images, images[:PREFIX])
        np.testing.assert_array_equal(few_labels, labels[:PREFIX])


@pytest.mark.parametrize("chunk", [1, 7, PREFIX])
def test_chunking_changes_nothing(chunk: int, for_training: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes_drawing, "CHUNK", chunk)
    images, labels = draw_shapes(PREFIX, 0)
    np.testing.assert_array_equal(images, for_training[0][:PREFIX])
    np.testing.assert_array_equal(labels, for_training[1][:PREFIX])


def test_images_and_labels_have_the_documented_dtype_and_shape(for_training: Drawn) -> None:
    images, labels = for_training
    assert (images.dtype, images.shape) == (np.dtype(np.uint8), (FULL, 3, 32, 32))
    assert (labels.dtype, labels.shape) == (np.dtype(np.int64), (FULL,))


def test_a_single_image_can_be_drawn() -> None:
    images, labels = draw_shapes(1, 0)
    assert images.shape == (1, 3, 32, 32)
    assert labels.shape == (1,)


def test_every_ten_labels_in_a_row_hold_each_class_once(for_training: Drawn, for_testing: Drawn) -> None:
    for _, labels in (for_training, for_testing):
        assert (np.sort(labels.reshape(-1, 10), axis=1) == np.arange(10)).all()


def test_labels_do_not_follow_the_position_in_the_stream(for_training: Drawn) -> None:
    every_tenth = np.bincount(for_training[1][::10], minlength=10)
    assert every_tenth.min() > FULL // 10 // 10 * 0.6


def test_no_image_occurs_twice_within_or_between_streams(for_training: Drawn, for_testing: Drawn) -> None:
    contents = {image.tobytes() for images, _ in (for_training, for_testing) for image in images}
    assert len(contents) == 2 * FULL


def test_every_class_has_a_name_and_a_distance() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == len(shapes_drawing.DISTANCES) == 10


def test_the_sine_table_is_the_rounded_sine() -> None:
    angles = [math.radians(3 * step) for step in range(shapes_drawing.TURN)]
    assert shapes_drawing.SINE.tolist() == [round(1024 * math.sin(angle)) for angle in angles]


@pytest.mark.parametrize("name", CLASSES)
def test_a_shape_has_area_inside_its_radius_and_none_far_outside(name: str) -> None:
    centre = (np.arange(32, dtype=np.int32) - 16) * 64 + 32
    u, v = np.broadcast_arrays(centre[None, None, :], centre[None, :, None])
    formula = shapes_drawing.DISTANCES[CLASSES.index(name)]
    distance = formula(u, v, np.full((1, 1, 1), 10 * 64, dtype=np.int32))
    radius = np.hypot(u, v) / 64
    assert 0.15 < (distance[radius < 10] < 0).mean() <= 1
    assert (distance[radius > 13] > 0).all()


@pytest.mark.parametrize("name", CLASSES)
def test_a_shape_is_its_own_mirror_image(name: str) -> None:
    centre = (np.arange(32, dtype=np.int32) - 16) * 64 + 32
    u, v = np.broadcast_arrays(centre[None, None, :], centre[None, :, None])
    mirrored = (-u, v) if name == "tee" else (u, -v)  # the tee stands upright, the others point along u
    radius = np.full((1, 1, 1), 10 * 64, dtype=np.int32)
    formula = shapes_drawing.DISTANCES[CLASSES.index(name)]
    np.testing.assert_allclose(formula(u, v, radius), formula(*mirrored, radius), atol=ROUNDING)


@pytest.mark.parametrize("count", [0, -3])
def test_a_count_below_one_is_refused_with_the_count_named(count: int) -> None:
    with pytest.raises(DataError, match=rf"count: {count} .*least is 1"):
        draw_shapes(count, 0)


def test_a_negative_stream_is_refused() -> None:
    with pytest.raises(DataError, match="stream: -1"):
        draw_shapes(1, -1)
