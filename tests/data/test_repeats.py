"""A sample that repeats is counted once where anything is judged, and one under two labels is refused."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from quantbench.config.schema import DataConfig
from quantbench.data.checks import without_repeats
from quantbench.data.opening import open_splits
from quantbench.data.splits import Split
from quantbench.errors import DataError

WHERE = "configs/a.yaml: workload.data"
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


def opened(root, calibration=1, search=0):
    config = DataConfig(name="image_folder", root=str(root), size=8, calibration_pool=calibration, search_pool=search)
    return open_splits(config, WHERE)


def repeated(folder, times):
    for path in sorted(folder.glob("*.png")):
        for i in range(times):
            shutil.copy(path, path.with_name(f"{path.stem}_{i}.png"))


def test_without_repeats_the_test_split_is_the_whole_side_and_nothing_is_told(root):
    splits = opened(root)
    assert splits.test.indices is None
    assert splits.repeats == ()


def test_repeats_of_the_test_side_are_counted_once_and_told(root):
    alone = opened(root).test
    for label in "ab":
        repeated(root / "test" / label, 9)
    splits = opened(root)
    assert len(splits.test) == N_TEST
    assert splits.test.sha256 == alone.sha256, "the same samples, and so the same figures"
    assert splits.repeats == (
        f"split 'test': 100 samples, 10 different; {root}/test/a/00_0.png repeats {root}/test/a/00.png; each is "
        "counted once, since a repeat is no further evidence",
    )


def test_one_sample_of_many_copies_widens_no_interval_and_narrows_none(root):
    from quantbench.stats.paired import PairedOutcomes, tango_interval

    for label in "ab":
        repeated(root / "test" / label, 9)
    n = len(opened(root).test)
    honest, flattered = (tango_interval(PairedOutcomes(each, 0, 0)) for each in (n, 10 * n))
    assert n == N_TEST
    assert honest.high > 5 * flattered.high


def test_the_first_of_each_is_kept_in_the_order_of_the_files(root):
    shutil.copy(root / "test/a/00.png", root / "test/a/99.png")
    shutil.copy(root / "test/a/04.png", root / "test/a/01.png")
    test = opened(root).test
    assert [test.path_of(i).rpartition("/")[2] for i in range(5)] == ["00.png", "01.png", "02.png", "06.png", "08.png"]


def test_repeats_to_learn_from_stay_and_are_told(root):
    shutil.copy(root / "train/a/00.png", root / "train/a/99.png")
    splits = opened(root)
    assert len(splits.train) == N_TRAIN
    (told,) = splits.repeats
    assert told == f"split 'train': 24 samples, 23 different; {root}/train/a/99.png repeats {root}/train/a/00.png"


def test_a_search_split_counts_each_sample_once(root):
    side = opened(root, search=6).search.side
    digests = np.array(side.digests)
    positions = np.array([3, 5, 3 + 4, 9])
    digests[7] = digests[3]
    found, told = without_repeats(Split("search", replace(side, digests=digests), positions, None))
    assert found.indices.tolist() == [3, 5, 9]
    assert told.startswith("split 'search': 4 samples, 3 different; ")


@pytest.mark.parametrize("side", ["train", "test"])
def test_one_sample_under_two_labels_is_refused_with_both_paths(root, side):
    shutil.copy(root / side / "a/04.png", root / side / "b/copy.png")
    with pytest.raises(DataError) as caught:
        opened(root)
    assert str(caught.value) == (
        f"{WHERE}: one sample has two labels: {root}/{side}/a/04.png is 'a', and the same content in "
        f"{root}/{side}/b/copy.png is 'b'; remove the wrong one"
    )


def test_of_many_samples_under_two_labels_one_is_named_and_the_rest_counted(root):
    for path in (root / "test/a").iterdir():
        shutil.copy(path, root / "test/b" / f"copy_{path.name}")
    with pytest.raises(DataError, match=r"is 'b' \(and 4 more such\); remove the wrong one$"):
        opened(root)
