"""Four splits that share no sample: what is measured on is never what was trained, calibrated or chosen on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from quantbench.arrays import INPUT
from quantbench.config.schema import DataConfig
from quantbench.data.checks import check_disjoint
from quantbench.data.opening import open_splits
from quantbench.errors import DataError

WHERE = "configs/a.yaml: workload.data"
SPLITS = ("train", "calibration", "search", "test")
N_TRAIN, N_TEST = 24, 10


@pytest.fixture
def root(tmp_path):
    """Two classes of 8×8 images, all different."""
    random = np.random.RandomState(0)
    for side, count in (("train", N_TRAIN), ("test", N_TEST)):
        for i in range(count):
            path = tmp_path / "images" / side / "ab"[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.randint(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    return tmp_path / "images"


def opened(root, calibration=6, search=4):
    config = DataConfig(name="image_folder", root=str(root), size=8, calibration_pool=calibration, search_pool=search)
    return open_splits(config, WHERE)


def contents(split):
    return {bytes(row) for row in np.asarray(split.digests)}


def refusal(root, **pools):
    with pytest.raises(DataError) as error:
        opened(root, **pools)
    return str(error.value)


def test_the_splits_are_disjoint_and_together_the_whole_set(root):
    splits = opened(root)
    parts = [contents(getattr(splits, name)) for name in SPLITS]
    assert [len(part) for part in parts] == [14, 6, 4, 10]
    assert len(set.union(*parts)) == N_TRAIN + N_TEST


def test_calibration_and_search_come_from_the_training_side_and_never_from_the_test_side(root):
    splits = opened(root)
    assert splits.test.side is not splits.train.side
    assert splits.calibration.side is splits.search.side is splits.train.side
    assert not contents(splits.calibration) & contents(splits.test)


def test_what_is_set_aside_does_not_depend_on_the_callers_random_numbers(root):
    # The global generators, on purpose.
    np.random.seed(1)
    torch.manual_seed(1)
    first = opened(root)
    np.random.seed(2)
    torch.manual_seed(2)
    second = opened(root)
    for name in SPLITS:
        assert getattr(first, name).sha256 == getattr(second, name).sha256


def test_a_larger_calibration_pool_begins_with_the_smaller_one(root):
    small, large = opened(root, calibration=4).calibration, opened(root, calibration=8).calibration
    np.testing.assert_array_equal(large.digests[:4], small.digests)


def test_calibration_is_a_random_draw_and_not_the_first_class(root):
    assert set(opened(root).calibration.labels.tolist()) == {0, 1}


def test_an_image_that_is_in_train_and_test_under_other_names_is_refused_loudly(root):
    shutil.copy(root / "train/a/00.png", root / "test/b/copy.png")
    told = refusal(root)
    assert told.startswith(f"{WHERE}: splits '")
    assert f"share 1 sample(s): for example {root}/train/a/00.png is {root}/test/b/copy.png; accuracy" in told
    assert told.endswith("accuracy measured on them would be flattered. Remove the duplicates from the data")


def test_the_same_pixels_in_another_file_format_are_found_too(root):
    Image.open(root / "train/a/02.png").save(root / "test/a/99.bmp")
    assert f"share 1 sample(s): for example {root}/train/a/02.png is {root}/test/a/99.bmp; accuracy" in refusal(root)


def test_every_image_of_the_training_side_is_checked_against_the_test_side(root):
    for i in range(N_TRAIN):
        shutil.copy(root / "train" / "ab"[i % 2] / f"{i:02}.png", root / "test/a/copy.png")
        assert "'test' share 1 sample(s)" in refusal(root)


def test_copies_within_the_training_side_that_part_train_from_calibration_are_refused(root):
    for path in sorted((root / "train/a").iterdir()):
        shutil.copy(path, path.with_name(f"copy_of_{path.name}"))
    told = refusal(root, calibration=12, search=0)
    assert "splits 'train' and 'calibration' share " in told
    first, _, second = told.split("for example ")[1].split("; accuracy")[0].partition(" is ")
    assert Path(first).parent == Path(second).parent == root / "train/a"
    assert Path(first).name.removeprefix("copy_of_") == Path(second).name.removeprefix("copy_of_")


@pytest.mark.parametrize("first", SPLITS)
@pytest.mark.parametrize("second", SPLITS)
def test_no_two_splits_may_share_a_sample(root, first, second):
    splits = opened(root)
    one, other = getattr(splits, first), getattr(splits, second)
    if first == second:
        check_disjoint([one], WHERE)
        return
    taken = replace(one, name=second, indices=np.arange(len(one.side.labels)) if one.indices is None else one.indices)
    with pytest.raises(DataError, match=rf"splits '{first}' and '{second}' share {len(one):,} sample"):
        check_disjoint([one, taken], WHERE)
    check_disjoint([one, other], WHERE)


@pytest.mark.parametrize(("calibration", "search"), [(N_TRAIN, 0), (20, 4), (1024, 0), (1, 100)])
def test_pools_that_leave_nothing_to_train_on_are_refused_with_both_numbers(root, calibration, search):
    assert refusal(root, calibration=calibration, search=search) == (
        f"{WHERE}: calibration_pool + search_pool = {calibration + search:,}, but the training side has 24 samples; "
        "set aside fewer"
    )


def test_pools_that_leave_one_sample_are_accepted(root):
    assert len(opened(root, calibration=20, search=3).train) == 1


def test_batches_are_in_order_normalized_and_end_at_the_limit(root):
    calibration = opened(root).calibration
    batches = list(calibration.batches(4, limit=5))
    assert [len(batch[INPUT]) for batch in batches] == [4, 1]
    found = np.concatenate([batch[INPUT] for batch in batches])
    np.testing.assert_array_equal(found, calibration.normalization(calibration.stored(0, 5)))
    assert found.dtype == np.float32


def test_the_same_calibration_batch_is_given_every_time_since_it_is_never_augmented(root):
    calibration = opened(root).calibration
    first, second = next(calibration.batches(6)), next(calibration.batches(6))
    np.testing.assert_array_equal(first[INPUT], second[INPUT])


def test_a_splits_hash_follows_its_samples_their_order_and_their_labels(root):
    split = opened(root).calibration
    assert replace(split).sha256 == split.sha256
    assert replace(split, indices=split.indices[::-1].copy()).sha256 != split.sha256
    assert replace(split, indices=split.indices[:-1]).sha256 != split.sha256
    relabelled = replace(split.side, labels=1 - np.asarray(split.side.labels))
    assert replace(split, side=relabelled).sha256 != split.sha256


@pytest.mark.parametrize(
    ("statistics", "told"),
    [
        ({"mean": (127.5, 0.5, 0.5)}, "a mean of 127.5 is not within 0..1"),
        ({"std": (0.25, 0.0, 0.25)}, "a standard deviation of 0 is no scale"),
        ({"std": (0.25, float("nan"), 0.25)}, "a standard deviation of nan is no scale"),
    ],
)
def test_statistics_of_ones_own_data_set_that_hide_its_pictures_are_refused(root, monkeypatch, statistics, told):
    from quantbench.data.image_folder import ImageFolderSource
    from quantbench.data.source import Normalization

    given = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)} | statistics
    make = ImageFolderSource.__init__

    def own(self, *args):
        make(self, *args)
        self.normalization = Normalization(255.0, **given)

    monkeypatch.setattr(ImageFolderSource, "__init__", own)
    assert told in refusal(root)
