"""Named inputs and targets of an `.npz` file reach a model as they are stored, or are refused by name."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from quantbench.config.schema import DataConfig
from quantbench.data.opening import open_splits
from quantbench.errors import ConfigError, DataError, DataMissingError

WHERE = "configs/a.yaml: workload.data"
N = 5
RANDOM = np.random.RandomState(0)
IDS, MASK = RANDOM.randint(0, 99, (N, 4)), np.ones((N, 4), np.bool_)
VALUES = RANDOM.rand(N, 3).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "samples.npz"


def opened(path, **params):
    return open_splits(DataConfig(name="npz", path=str(path), **({"calibration_pool": 2} | params)), WHERE)


def refusal(path, error=DataError, **params):
    with pytest.raises(error) as caught:
        opened(path, **params)
    told = str(caught.value)
    assert "\n" not in told
    assert told.isprintable()
    return told.removeprefix(f"{path}: ")


@pytest.mark.parametrize("kept", [True, False])
def test_several_inputs_reach_the_model_by_name_as_they_are_stored(path, kept):
    np.savez(path, ids=IDS, mask=MASK, targets=np.arange(N))
    test = opened(path, cache=kept).test
    batches = list(test.batches(2))
    assert [len(batch["ids"]) for batch in batches] == [2, 2, 1]
    assert {name: array.dtype for name, array in batches[0].items()} == {"ids": IDS.dtype, "mask": MASK.dtype}
    np.testing.assert_array_equal(np.concatenate([batch["ids"] for batch in batches]), IDS)
    assert test.labels.tolist() == list(range(N))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16", "int64", "bool", ">f4"])
def test_numbers_of_any_type_are_read_with_their_values(path, save, dtype):
    values = (VALUES * 9).astype(dtype)
    values[:, 0] = np.arange(N) % 2
    values[:, 1] = np.arange(N) // 2 % 2
    values[:, 2] = np.arange(N) // 4
    save(path, x=np.asfortranarray(values), labels=np.zeros(N, np.int32))
    (batch,) = opened(path).test.batches(99)
    np.testing.assert_array_equal(batch["x"], values)
    assert batch["x"].dtype == np.dtype(dtype).newbyteorder("=")


def test_each_input_has_a_part_in_the_identity_of_a_sample(path):
    first = np.zeros((N, 2), np.float32)
    np.savez(path, a=first, b=np.arange(N), targets=np.zeros(N, int))
    assert len(opened(path).test) == N, "they differ in one of their inputs"
    np.savez(path, a=first, b=np.zeros(N), targets=np.zeros(N, int))
    splits = opened(path)
    assert len(splits.test) == 1, "repeats are no further evidence"
    assert splits.repeats[0].startswith("split 'test': 5 samples, 1 different; ")


def test_the_training_side_lies_in_a_file_of_its_own_and_may_be_absent(path, tmp_path):
    np.savez(path, x=VALUES, targets=np.arange(N))
    alone = opened(path)
    assert [len(each) for each in (alone.train, alone.calibration, alone.search)] == [0, 0, 0]
    with pytest.raises(DataError) as caught:
        next(alone.calibration.batches(2))
    assert str(caught.value) == (
        f"{WHERE}: there are no training samples to calibrate with; put some into an .npz file with the same arrays, "
        "and name it with data.train"
    )
    np.savez(tmp_path / "train.npz", x=VALUES + 1, targets=np.arange(N))
    splits = opened(path, train=str(tmp_path / "train.npz"))
    assert [len(each) for each in (splits.train, splits.calibration)] == [3, 2]
    assert splits.test.sha256 == alone.test.sha256
    np.savez(tmp_path / "train.npz", x=VALUES, targets=np.arange(N))
    assert "share" in refusal(path, train=str(tmp_path / "train.npz"))
    np.savez(tmp_path / "train.npz", z=VALUES, targets=np.arange(N))
    assert refusal(path, train=str(tmp_path / "train.npz")) == (
        f"{tmp_path}/train.npz: has z float32 [3], but {path} has x float32 [3]; give both the same inputs"
    )


def test_targets_are_classes_by_number_or_by_name_or_values_of_their_own(path):
    np.savez(path, x=VALUES, targets=np.arange(N))
    assert opened(path).classes == ("0", "1", "2", "3", "4")
    assert opened(path, classes=tuple("abcdef")).classes == tuple("abcdef")
    assert refusal(path, ConfigError, classes=("a", "b")) == (
        f"{WHERE}.classes: 2 names, but the targets are no numbers from 0 to 1"
    )
    np.savez(path, x=VALUES, targets=np.arange(N), classes=np.array(list("vwxyz")))
    assert opened(path).classes == tuple("vwxyz")
    np.savez(path, x=VALUES, targets=VALUES[:, :2])
    splits = opened(path)
    assert splits.classes == ()
    np.testing.assert_array_equal(splits.test.labels, VALUES[:, :2])
    other = VALUES[:, :2].copy()
    other[0, 0] += 1
    before = splits.test.sha256
    np.savez(path, x=VALUES, targets=other)
    assert opened(path).test.sha256 != before


def test_a_file_that_is_changed_is_read_anew(path):
    np.savez(path, x=VALUES, targets=np.arange(N))
    before = opened(path).test.sha256
    np.savez(path, x=VALUES + 1, targets=np.arange(N))
    assert opened(path).test.sha256 != before


def test_a_missing_file_is_named_with_how_to_get_it(path):
    told = refusal(path, DataMissingError, obtain="ask me")
    assert told == "no such file. To get it: ask me"
    assert refusal("$NOWHERE/a.npz", DataMissingError).startswith("data.path: $NOWHERE is not set")


def test_without_targets_what_is_there_is_listed(path):
    np.savez(path, x=VALUES, truth=np.arange(N))
    there = f"it holds x float32 [{N}, 3], truth int64 [{N}]. Add them, or name them with data.targets"
    assert refusal(path) == f"has no targets, 'targets' or 'labels' or 'y' or 'label'; {there}"
    assert refusal(path, targets="tuth") == f"has no targets, 'tuth'; {there}"
    assert len(opened(path, targets="truth").test) == N
    np.savez(path, x=VALUES, labels=np.arange(N), y=np.arange(N))
    assert refusal(path) == "holds labels and y; say which are the targets with data.targets"
    np.savez(path, y=np.arange(N))
    assert refusal(path) == "holds targets ('y') and no input; add the model's inputs by their names"


WRONG = {
    "lengths": ({"x": VALUES[:3], "y": np.arange(N)}, "arrays of different lengths: 'x' 3, 'y' 5; each holds one"),
    "single": ({"x": np.float32(1), "y": np.arange(N)}, "'x' is a single value; give one for each sample"),
    "empty": ({"x": VALUES[:0], "y": np.arange(0)}, "holds no sample; its arrays are empty"),
    "nan": ({"x": np.where(np.arange(15).reshape(5, 3) == 7, np.nan, VALUES), "y": np.arange(N)},
            "input 'x' of sample 2 holds NaN or infinity; repair or remove the sample"),
    "infinite": ({"x": VALUES, "y": np.array([0, 1, np.inf, 0, 0])}, "the targets of sample 2 holds NaN or infinity"),
    "complex": ({"x": VALUES * 1j, "y": np.arange(N)}, "'x' holds values of type complex64; give numbers"),
    "text": ({"x": np.array(["a"] * N), "y": np.arange(N)}, "'x' holds values of type <U1; give numbers"),
    "objects": ({"x": np.array([None] * N), "y": np.arange(N)},
                "'x' holds Python objects, which could run code when they are read; give numbers"),
    "classes": ({"x": VALUES, "y": np.arange(N), "classes": np.arange(N)},
                "'classes' is int64 [5]; give a list of names"),
    "fewer classes": ({"x": VALUES, "y": np.arange(N), "classes": np.array(["a", "b"])},
                      "names 2 classes, but its targets are no numbers from 0 to 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_are_no_samples_are_refused_by_name(path, name):
    arrays, told = WRONG[name]
    np.savez(path, **arrays)
    assert refusal(path).startswith(told)


def member(shape, dtype="<f4", content=b""):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


class Spy:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


HOSTILE = {
    "no zip": (b"Dear diary", "not a readable .npz file (File is not a zip file); write it with numpy.savez"),
    "empty": (b"", "not a readable .npz file ("),
    "a claim of terabytes": ({"x.npy": member((1 << 40,))}, f"'x' claims [{1 << 40}] of float32, which is more than"),
    "a negative size": ({"x.npy": member((-1, 3))}, "'x' claims [-1, 3] of float32, which is more than"),
    "a pickle": ({"x.npy": member((1,), "|O", pickle.dumps([Spy()]))}, "'x' holds Python objects, which could run"),
    "no array": ({"x.txt": b"hello"}, "'x.txt' is no array; write the file with numpy.savez"),
    "no header": ({"x.npy": b"hello"}, "not a readable .npz file ("),
    "a future format": ({"x.npy": b"\x93NUMPY\x03\x00" + b"\0" * 99}, "'x' is of format 3.0; write plain numbers"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line_and_run_nothing(path, name):
    content, told = HOSTILE[name]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as file:
            for each, data in content.items():
                file.writestr(each, data)
    assert refusal(path).startswith(told)


def test_what_would_fill_the_memory_is_refused_before_it_is_inflated(path, monkeypatch):
    from quantbench.data import npz

    np.savez_compressed(path, x=np.zeros((1_000, 100)), y=np.zeros(1_000))
    monkeypatch.setattr(npz, "LARGEST_BYTES", 100_000)
    monkeypatch.setattr(npz, "_array", lambda *_: pytest.fail("it was inflated"))
    assert refusal(path) == "would take 0.0 GB of memory; at most 0.0 GB are read: give fewer samples"
    monkeypatch.setattr(npz, "LARGEST_BYTES", 1 << 30)
    monkeypatch.setattr(npz, "MOST_ARRAYS", 1)
    assert refusal(path) == "holds 2 arrays; at most 1 are read"


def test_a_file_with_one_bit_changed_is_refused(path):
    np.savez(path, x=VALUES, y=np.arange(N))
    content = bytearray(path.read_bytes())
    at = content.index(VALUES.tobytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))
    assert "not a readable .npz file (Bad CRC-32 for file 'x.npy')" in refusal(path)


def test_a_name_that_is_there_twice_is_refused(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", member((0,)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("x.npy", member((0,)))
    assert refusal(path) == "'x.npy' is there twice; write the file with numpy.savez"


def test_training_refuses_samples_of_several_inputs(path):
    np.savez(path, ids=IDS, mask=MASK, targets=np.arange(N))
    with pytest.raises(
        DataError, match=r"split 'test' has 2 inputs \(ids, mask\); training and search need data of one"
    ):
        opened(path).test.take(np.arange(2))
