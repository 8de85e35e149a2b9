"""CIFAR-10 is read as torchvision stores it, checked by md5, and never downloaded unless that was asked for."""

import hashlib
import pickle

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from quantbench.data.cache import open_cached
from quantbench.data.cifar10 import cifar10
from quantbench.errors import DataError, DataMissingError

NAMES = ["airplane", "automobile", "bird"]
PER_FILE = 4


def content(name):
    """Rows of 3,072 values, channels first, as the original files hold them."""
    random = np.random.RandomState(sum(name.encode()))
    return {"data": random.randint(0, 256, (PER_FILE, 3072)).astype(np.uint8), "labels": [0, 1, 2, 0]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small file set in the original layout, and a torchvision that expects its md5; downloading is an error."""
    folder = tmp_path / "data" / CIFAR10.base_folder
    folder.mkdir(parents=True)

    def written(name, value):
        (folder / name).write_bytes(pickle.dumps(value))
        return hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()

    for files in ("train_list", "test_list"):
        monkeypatch.setattr(
            CIFAR10, files, [[name, written(name, content(name))] for name, _ in getattr(CIFAR10, files)]
        )
    meta = CIFAR10.meta | {"md5": written("batches.meta", {"label_names": NAMES})}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(CIFAR10, "download", lambda _: pytest.fail("nobody asked for a download"))
    return folder


def refusal(error=DataError):
    with pytest.raises(error) as caught:
        open_cached("cifar10", cifar10())
    return str(caught.value)


def test_both_sides_are_read_channels_first_in_the_order_of_the_files(folder):
    data = open_cached("cifar10", cifar10())
    assert data.train.inputs.shape == (5 * PER_FILE, 3, 32, 32)
    np.testing.assert_array_equal(
        data.train.inputs[PER_FILE : 2 * PER_FILE], content("data_batch_2")["data"].reshape(-1, 3, 32, 32)
    )
    np.testing.assert_array_equal(data.test.inputs, content("test_batch")["data"].reshape(-1, 3, 32, 32))
    assert data.test.labels.tolist() == [0, 1, 2, 0]
    assert data.classes == tuple(NAMES)


def test_missing_data_is_told_with_the_option_that_downloads_it_and_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR10, "download", lambda _: pytest.fail("nobody asked for a download"))
    assert refusal(DataMissingError) == (
        f"{tmp_path}/data/cifar-10-batches-py: no such folder. To get it: --real-data, "
        "which lets torchvision download CIFAR-10 (170 MB)"
    )


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", ["cut short", "changed", "removed"])
def test_a_damaged_file_is_refused_with_the_way_to_get_a_whole_set(folder, name, damage):
    path = folder / name
    whole = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(whole[:-10] if damage == "cut short" else whole[:-10] + b"0123456789")
    told = refusal()
    assert told.startswith(f"{folder}: CIFAR-10 cannot be read: a file is missing or its md5 is wrong (")
    assert told.endswith(". Remove the folder and download it again with --real-data")
    assert "\n" not in told
    path.write_bytes(whole)
    assert len(open_cached("cifar10", cifar10()).test.labels) == PER_FILE


def test_a_download_that_was_asked_for_and_fails_is_told_as_that(tmp_path, monkeypatch):
    def unreachable(self):
        raise OSError("the network is unreachable")

    monkeypatch.setenv("QUANTBENCH_DOWNLOAD", "1")
    monkeypatch.setattr(CIFAR10, "download", unreachable)
    assert "it could not be downloaded (the network is unreachable). " in refusal()


def test_a_pickle_with_code_is_refused_before_it_is_opened(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (folder / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    assert "its md5 is wrong" in refusal()
    assert not (tmp_path / "exploded").exists()
