"""The embedded set checks that it drew the expected bits, says so when it did not, and opens as four splits."""

import hashlib

import numpy as np
import pytest

from quantbench.config.schema import DataConfig
from quantbench.data import shapes as module
from quantbench.data.cache import open_cached
from quantbench.data.opening import open_splits
from quantbench.data.shapes_drawing import CLASSES, draw_shapes
from quantbench.errors import DataError

FEW = 60


@pytest.fixture
def few(monkeypatch):
    """The first images of each side, with the digests that they must have."""
    expected = {}
    for side, stream in module.STREAMS.items():
        images, labels = draw_shapes(FEW, stream)
        expected[side] = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    monkeypatch.setattr(module, "SIDE_N", FEW)
    monkeypatch.setattr(module, "EXPECTED_SHA256", expected)
    return expected


def test_each_side_is_its_own_stream_with_the_ten_classes(few):
    data = open_cached("shapes", module.shapes())
    for side, stream in module.STREAMS.items():
        images, labels = draw_shapes(FEW, stream)
        np.testing.assert_array_equal(getattr(data, side).inputs, images)
        np.testing.assert_array_equal(getattr(data, side).labels, labels)
    assert data.classes == CLASSES


@pytest.mark.parametrize("side", ["train", "test"])
def test_other_bits_than_expected_are_refused_with_both_hashes_and_not_kept(few, side, tmp_path):
    right = few[side]
    few[side] = "0" * 64
    with pytest.raises(DataError) as error:
        open_cached("shapes", module.shapes())
    assert str(error.value) == (
        f"shapes: the {side} side has sha256 {right[:16]}…, expected 0000000000000000…: this machine or numpy "
        f"{np.__version__} computes integers differently; please report it"
    )
    assert [path for path in (tmp_path / "cache" / "data").iterdir() if path.suffix != ".lock"] == []


def test_shapes_open_as_four_disjoint_splits_of_the_asked_sizes(few):
    splits = open_splits(DataConfig(name="shapes", calibration_pool=20, search_pool=10), "here")
    sizes = {name: len(getattr(splits, name)) for name in ("train", "calibration", "search", "test")}
    assert sizes == {"train": FEW - 30, "calibration": 20, "search": 10, "test": FEW}
    (batch,) = splits.test.batches(FEW)
    assert batch["input"].shape == (FEW, 3, 32, 32)


def test_the_stored_statistics_normalize_the_training_side():
    import torch

    images, _ = draw_shapes(1_000, module.STREAMS["train"])
    values = module.shapes().normalization(torch.from_numpy(images))
    assert values.mean((0, 2, 3)).tolist() == pytest.approx([0.0] * 3, abs=0.1)
    assert values.std((0, 2, 3)).tolist() == pytest.approx([1.0] * 3, abs=0.1)
