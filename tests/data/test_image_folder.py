"""People's own images are decoded as they are, and a folder that cannot be one is refused by its name."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantbench.data.cache import open_cached
from quantbench.data.image_folder import image_folder
from quantbench.errors import DataError, DataMissingError
from quantbench.registry import DATA


def pixels(seed, size=8):
    return np.random.RandomState(seed).randint(0, 256, (size, size, 3)).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two classes with two training images and one test image each."""
    root = tmp_path / "images"
    for seed, place in enumerate(
        ("train/cat/1", "train/cat/2", "train/dog/1", "train/dog/2", "test/cat/3", "test/dog/3")
    ):
        path = root / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(seed)).save(path)
    return root


@pytest.fixture
def decoded(tmp_path):
    """Where decoded sets lie."""
    return tmp_path / "cache" / "data"


def opened(root, **params):
    return open_cached("image_folder", image_folder(str(root), **({"size": 8} | params)))


def refusal(root, error=DataError):
    with pytest.raises(error) as caught:
        opened(root)
    told = str(caught.value)
    assert "\n" not in told
    return told


def test_images_are_stored_channels_first_in_the_order_of_their_names(root):
    data = opened(root)
    np.testing.assert_array_equal(data.train.inputs, [pixels(seed).transpose(2, 0, 1) for seed in range(4)])
    np.testing.assert_array_equal(data.test.inputs[1], pixels(5).transpose(2, 0, 1))
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.classes == ("cat", "dog")


def test_images_of_other_sizes_and_modes_become_rgb_squares(root):
    Image.fromarray(np.full((20, 10), 77, np.uint8)).save(root / "train/cat/1.png")
    Image.new("RGBA", (3, 3), (10, 20, 30, 255)).save(root / "train/cat/2.png")
    inputs = opened(root).train.inputs
    assert inputs.shape == (4, 3, 8, 8)
    assert (inputs[0] == 77).all()
    assert inputs[1, :, 0, 0].tolist() == [10, 20, 30]


def test_a_changed_image_and_another_size_are_decoded_anew(root):
    source = image_folder(str(root), size=8)
    before = source.fingerprint()
    assert image_folder(str(root), size=16).fingerprint() != before
    path = root / "train/cat/1.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert source.fingerprint() != before


def test_an_added_a_removed_and_a_renamed_image_change_the_fingerprint(root):
    source = image_folder(str(root), size=8)
    seen = [source.fingerprint()]
    (root / "train/cat/1.png").rename(root / "train/cat/0.png")
    seen.append(source.fingerprint())
    (root / "train/cat/0.png").unlink()
    seen.append(source.fingerprint())
    Image.fromarray(pixels(9)).save(root / "test/cat/9.png")
    seen.append(source.fingerprint())
    assert len(set(seen)) == 4


def test_a_relative_root_lies_in_the_data_folder(root, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_DATA", str(root.parent))
    assert len(opened("images").train.labels) == 4


def test_a_missing_folder_is_named_with_the_command_that_gets_it_ready_to_be_pasted(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_DATA", str(tmp_path))
    source = image_folder("photos", obtain='git clone here "$QUANTBENCH_DATA/photos"')
    with pytest.raises(DataMissingError) as error:
        open_cached("image_folder", source)
    assert str(error.value) == (
        f'{tmp_path}/photos/train: no such folder. To get it: git clone here "{tmp_path}/photos"'
    )  # fmt: skip


def test_a_missing_folder_without_a_command_is_named_with_the_key_to_set(tmp_path):
    told = refusal(tmp_path / "photos", DataMissingError)
    assert told.endswith(
        "photos/train: no such folder. To get it: name the folder that holds train/ and test/ with data.root"
    )


def test_a_missing_test_side_is_named(root):
    (root / "test").rename(root / "validation")
    assert f"{root}/test: no such folder" in refusal(root, DataMissingError)


def test_an_empty_folder_is_refused_with_where_images_belong(tmp_path):
    for side in ("train", "test"):
        (tmp_path / "empty" / side).mkdir(parents=True)
    assert refusal(tmp_path / "empty") == f"{tmp_path}/empty/train: no image; put them into train/<class>/"


def test_an_empty_class_folder_is_refused_by_its_name(root):
    for path in (root / "train/dog").iterdir():
        path.unlink()
    assert refusal(root) == f"{root}/train/dog: holds no image; put some there, or remove the folder"


def test_a_folder_with_one_class_is_refused_by_its_name_before_anything_is_decoded(root):
    for side in ("train", "test"):
        for path in (root / side / "dog").iterdir():
            path.unlink()
        (root / side / "dog").rmdir()
    (root / "train/cat/1.png").write_bytes(b"no image")
    assert refusal(root) == f"{root}: one class folder only, 'cat'; a classification data set needs at least two"


def test_sides_with_different_classes_are_refused_with_the_odd_ones(root):
    (root / "test/dog").rename(root / "test/wolf")
    assert refusal(root) == (
        f"{root}: train/ and test/ have different class folders: dog, wolf; give both the same ones"
    )  # fmt: skip


DAMAGES = {
    "other bytes": lambda path: path.write_bytes(b"no image at all"),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-60]),
    "cut in its head": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "changed": lambda path: path.write_bytes(path.read_bytes()[:60] + b"\0" * 60 + path.read_bytes()[120:]),
}


# A JPEG changed in its middle is a valid picture of something else.
CASES = [(suffix, damage) for suffix in ("png", "jpg") for damage in DAMAGES if (suffix, damage) != ("jpg", "changed")]


@pytest.mark.parametrize(("suffix", "damage"), CASES)
@pytest.mark.parametrize("place", ["train/dog/2", "test/cat/3"])
def test_a_corrupt_image_is_named_nothing_is_kept_and_the_repaired_folder_works(root, decoded, damage, place, suffix):
    (root / f"{place}.png").unlink()
    path = root / f"{place}.{suffix}"
    Image.fromarray(pixels(0, 32)).save(path)
    DAMAGES[damage](path)
    told = refusal(root)
    assert told.startswith(f"{path}: not a readable image (")
    assert told.endswith("; repair or remove the file")
    assert [each for each in decoded.iterdir() if each.suffix != ".lock"] == []
    Image.fromarray(pixels(0, 32)).save(path)
    assert len(opened(root).train.labels) == 4


def test_statistics_of_the_configuration_normalize_the_stored_integers():
    import torch

    source = DATA.create("image_folder", "here", {"root": "x", "mean": [0.5, 0.0, 1.0], "std": [0.5, 1.0, 0.25]})
    values = source.normalization(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert values[0, :, 0, 0].tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert values.dtype == torch.float32


def test_a_home_folder_is_understood(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert image_folder("~/images").root == Path(root)
