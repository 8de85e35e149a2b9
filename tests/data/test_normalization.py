"""Stored integers become the same bits of model input, with torch imported or not."""

import numpy as np
import pytest
import torch

from quantbench.data.audio import AUDIO_NORMALIZATION
from quantbench.data.image_folder import DEFAULT_MEAN, DEFAULT_STD
from quantbench.data.shapes import ShapesSource
from quantbench.data.source import IDENTITY, Normalization

IMAGES = np.random.RandomState(0).randint(0, 256, (5, 3, 17, 9)).astype(np.uint8)
SOUNDS = np.random.RandomState(0).randint(-32_768, 32_768, (5, 1, 99)).astype(np.int16)
CASES = {
    "images": (Normalization(255.0, DEFAULT_MEAN, DEFAULT_STD), IMAGES),
    "shapes": (ShapesSource.normalization, IMAGES),
    "sounds": (AUDIO_NORMALIZATION, SOUNDS),
    "every value": (Normalization(255.0, (0.3,), (0.7,)), np.arange(256).astype(np.uint8).reshape(256, 1, 1)),
}


def by_definition(norm, stored):
    """`torch`'s arithmetic, one operation at a time."""
    shape = (1, -1) + (1,) * (stored.ndim - 2)
    scale = torch.tensor([1.0 / (norm.full_scale * std) for std in norm.std]).view(shape)
    shift = torch.tensor([mean / std for mean, std in zip(norm.mean, norm.std, strict=True)]).view(shape)
    return torch.from_numpy(stored).to(torch.float32).mul(scale).sub(shift).numpy()


def bits(array):
    assert array.dtype == np.float32
    return np.ascontiguousarray(array).view(np.uint32)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("imported", [True, False], ids=["with torch", "without torch"])
def test_the_bits_are_those_of_the_definition(monkeypatch, name, imported):
    norm, stored = CASES[name]
    expected = by_definition(norm, stored)
    tensor = norm(torch.from_numpy(stored)).numpy()
    if not imported:
        monkeypatch.setitem(__import__("sys").modules, "torch", None)
    found = norm(stored)
    np.testing.assert_array_equal(bits(found), bits(expected))
    np.testing.assert_array_equal(bits(tensor), bits(expected))


def test_what_is_stored_is_left_as_it_was():
    before = IMAGES.copy()
    CASES["images"][0](IMAGES)
    np.testing.assert_array_equal(IMAGES, before)


def test_samples_that_cannot_be_written_to_are_normalized_without_a_warning(recwarn):
    norm, stored = CASES["images"][0], IMAGES.copy()
    stored.flags.writeable = False
    np.testing.assert_array_equal(norm(stored), by_definition(norm, IMAGES))
    assert not recwarn.list


def test_the_identity_gives_samples_as_they_are_stored():
    assert IDENTITY(SOUNDS) is SOUNDS
