"""Files are decoded when somebody asks for their samples, and what is given then is what a decoding of all gives."""

import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image

from quantbench.config.schema import DataConfig
from quantbench.data import cache as cache_module
from quantbench.data import decoding, ledger, pools, room
from quantbench.data.image_folder import ImageFolderSource
from quantbench.data.opening import open_splits
from quantbench.errors import DataError, DataMissingError

WHERE = "configs/a.yaml: workload.data"
NAMES = ("train", "calibration", "search", "test")
N_TRAIN, N_TEST = 24, 10


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    """Two classes of 8×8 images, all different."""
    for side, count in (("train", N_TRAIN), ("test", N_TEST)):
        for i in range(count):
            write(tmp_path / "images" / side / "ab"[i % 2] / f"{i:02}.png", i + 100 * (side == "test"))
    return tmp_path / "images"


@pytest.fixture(autouse=True)
def decoded(monkeypatch):
    """Files that were decoded, in chunks of three."""
    monkeypatch.setattr(decoding, "CHUNK_FILES", 3)
    found, decode = [], ImageFolderSource._decoded

    def noted(self, files, progress, is_known):
        found.extend(file.place for file in files)
        return decode(self, files, progress, is_known)

    monkeypatch.setattr(ImageFolderSource, "_decoded", noted)
    return found


def opened(root, as_used=True, calibration=6, search=4, **params):
    config = DataConfig(
        name="image_folder", root=str(root), size=8, calibration_pool=calibration, search_pool=search, **params
    )
    return open_splits(config, WHERE, as_used=as_used)


def passed(split, size=4, limit=None):
    return [batch["input"] for batch in split.batches(size, limit)]


def refusal(call, *args, error=DataError):
    with pytest.raises(error) as caught:
        call(*args)
    told = str(caught.value)
    assert "\n" not in told
    return told


def kept(tmp_path):
    folder = tmp_path / "cache/data"
    return [path for path in folder.iterdir() if path.is_dir()] if folder.exists() else []


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("params", [{}, {"cache": False}], ids=["kept", "not kept"])
@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]], ids=["train first", "test first"])
def test_splits_are_those_of_a_decoding_of_all_in_samples_order_labels_and_hash(root, params, order):
    whole = opened(root, as_used=False)
    for _ in range(2):
        splits = opened(root, **params)
        for name in order:
            one, other = getattr(splits, name), getattr(whole, name)
            same(passed(one), passed(other))
            assert (one.sha256, len(one), one.path_of(2)) == (other.sha256, len(other), other.path_of(2))
            same([one.labels, *one.take(np.array([3, 1]))], [other.labels, *other.take(np.array([3, 1]))])
        assert splits.repeats == whole.repeats


def test_a_pass_over_the_test_split_decodes_no_training_file(root, decoded):
    splits = opened(root)
    assert decoded == []
    passed(splits.test)
    assert sorted(decoded) == sorted(f"test/{'ab'[i % 2]}/{i:02}.png" for i in range(N_TEST))


def test_calibration_draws_its_pool_by_path_and_decodes_nothing_else(root, decoded):
    expected = passed(opened(root, as_used=False).calibration)
    decoded.clear()
    calibration = opened(root).calibration
    assert len(calibration) == 6
    assert decoded == [], "a pool is drawn before anything is decoded"
    same(passed(calibration), expected)
    assert len(decoded) == 6


def test_the_first_batch_is_there_before_the_last_file_is_decoded(root, decoded, monkeypatch):
    monkeypatch.setattr(decoding.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(decoding, "AHEAD_BYTES", 1)
    batches = opened(root).test.batches(2)
    next(batches)
    assert len(decoded) < N_TEST


def test_no_more_files_are_decoded_ahead_than_there_is_room_for():
    begun = []

    def work(task):
        begun.append(task)
        return task

    with decoding.ahead_of(work, range(100), 3) as results:
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        assert len(begun) <= 5 + 3 + 1
    assert len(begun) < 100, "whoever stops taking ends the work"


def test_an_abandoned_pass_leaves_nothing_and_the_next_one_is_whole(root, tmp_path):
    batches = opened(root).test.batches(2)
    next(batches)
    batches.close()
    assert kept(tmp_path) == []
    same(passed(opened(root).test), passed(opened(root, as_used=False).test))


def test_a_few_samples_are_those_of_the_whole_split_and_decode_no_more_than_they_need(root, decoded, monkeypatch):
    shutil.copy(root / "test/a/00.png", root / "test/a/01.png")
    expected = passed(opened(root, as_used=False).test, 3, 5)
    splits = opened(root)
    same(passed(splits.test, 3, 5), expected)
    assert splits.test.settle is not None, "nothing was settled"


def test_repeats_of_the_test_side_are_left_out_of_every_batch_and_told(root):
    for i in range(3):
        shutil.copy(root / "test/a/04.png", root / "test/a" / f"9{i}.png")
        shutil.copy(root / "test/b/05.png", root / "test/b" / f"00{i}.png")
    whole = opened(root, as_used=False)
    splits = opened(root)
    same(passed(splits.test), passed(whole.test))
    assert len(splits.test) == N_TEST
    assert splits.repeats == whole.repeats
    assert "split 'test': 16 samples, 10 different" in splits.repeats[0]
    same(passed(splits.test), passed(whole.test))


def test_a_file_on_both_sides_is_refused_at_the_end_of_the_pass_though_it_is_never_decoded(root, decoded):
    shutil.copy(root / "train/a/00.png", root / "test/b/copy.png")
    splits = opened(root)
    told = refusal(passed, splits.test)
    assert told == (
        f"{WHERE}: splits 'train' and 'test' share 1 sample(s): for example {root}/train/a/00.png is "
        f"{root}/test/b/copy.png; accuracy measured on them would be flattered. Remove the duplicates from the data"
    )
    assert not [place for place in decoded if place.startswith("train")]
    assert refusal(len, splits.test) == told, "whoever asks again is told again"


def test_the_same_pixels_in_another_format_are_found_where_both_are_decoded(root):
    Image.open(root / "train/a/02.png").save(root / "test/a/99.bmp")
    splits = opened(root)
    passed(splits.test)
    assert f"share 1 sample(s): for example {root}/train/a/02.png is {root}/test/a/99.bmp" in refusal(splits.checked)


def test_a_calibration_sample_that_is_in_the_test_split_is_refused_whichever_comes_first(root):
    place = opened(root).calibration.path_of(0)
    Image.open(place).save(root / "test/a/99.bmp")
    for first, second in (("calibration", "test"), ("test", "calibration")):
        splits = opened(root)
        passed(getattr(splits, first))
        assert "share 1 sample(s)" in refusal(passed, getattr(splits, second))


def test_one_sample_under_two_labels_is_refused_at_the_end_of_the_pass(root):
    shutil.copy(root / "test/a/04.png", root / "test/b/copy.png")
    assert refusal(passed, opened(root).test).startswith(f"{WHERE}: one sample has two labels: {root}/test/a/04.png is")


def test_the_comparison_with_the_training_side_is_made_once_as_long_as_nothing_changes(root, monkeypatch):
    passed(opened(root).test)
    hashes = ledger.hashes_of
    monkeypatch.setattr(ledger, "hashes_of", lambda *_: pytest.fail("it was compared"))
    passed(opened(root).test)
    monkeypatch.setattr(ledger, "hashes_of", hashes)
    shutil.copy(root / "test/a/00.png", root / "train/b/copy.png")
    assert "share 1 sample(s)" in refusal(passed, opened(root).test)


def test_only_training_files_of_the_size_of_a_test_file_are_read(root, monkeypatch):
    read, hashes = [], ledger.hashes_of
    monkeypatch.setattr(ledger, "hashes_of", lambda source, files, _: read.extend(files) or hashes(source, files))
    sizes = {path.stat().st_size for path in (root / "test").glob("*/*")}
    passed(opened(root).test)
    assert {file.path for file in read} == {
        str(path) for path in (root / "train").glob("*/*") if path.stat().st_size in sizes
    }


def test_a_damaged_training_file_is_named_when_somebody_asks_for_it_and_not_before(root):
    (root / "train/a/00.png").write_bytes(b"?")
    splits = opened(root)
    passed(splits.test)
    told = refusal(splits.checked)
    assert told.startswith(f"{root}/train/a/00.png: not a readable image (")


def test_a_damaged_test_file_is_named_in_the_pass_and_the_repaired_folder_works(root, tmp_path):
    (root / "test/b/09.png").write_bytes(b"?")
    assert refusal(passed, opened(root).test).startswith(f"{root}/test/b/09.png: not a readable image (")
    assert kept(tmp_path) == []
    write(root / "test/b/09.png", 109)
    assert len(passed(opened(root).test, 99)[0]) == N_TEST


@pytest.mark.parametrize("params", [{}, {"cache": False}], ids=["kept", "not kept"])
def test_a_file_that_is_changed_after_it_was_listed_is_refused(root, params, monkeypatch):
    monkeypatch.setattr(pools, "IN_MEMORY_BYTES", 0)
    splits = opened(root, **params)
    write(root / "test/b/09.png", 997)
    told = refusal(passed, splits.test)
    assert told == f"{root}/test/b/09.png: was changed while it was read; run again when it is at rest"
    splits = opened(root, cache=False)
    passed(splits.test)
    write(root / "test/b/09.png", 998)
    assert "was changed while it was read" in refusal(passed, splits.test)


def test_pools_that_leave_nothing_are_refused_when_somebody_asks_for_them(root):
    splits = opened(root, calibration=24)
    passed(splits.test)
    assert refusal(lambda: splits.calibration) == (
        f"{WHERE}: calibration_pool + search_pool = 28, but the training side has 24 samples; set aside fewer"
    )


def test_what_was_decoded_is_not_decoded_again_also_of_a_copied_folder(root, tmp_path, decoded):
    passed(opened(root).test)
    decoded.clear()
    passed(opened(root).test)
    shutil.copytree(root, tmp_path / "copied")
    splits = opened(tmp_path / "copied")
    passed(splits.test)
    assert decoded == []
    assert splits.test.path_of(0) == f"{tmp_path}/copied/test/a/00.png"


def test_files_of_the_same_places_and_sizes_with_other_contents_are_decoded(root, tmp_path, decoded):
    for path in (root / "test").glob("*/*"):
        path.write_bytes(path.read_bytes().ljust(2_000, b"\0"))
    before = opened(root).test.sha256
    first, second = (root / "test" / place for place in ("a/00.png", "b/01.png"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    decoded.clear()
    assert opened(root).test.sha256 != before
    assert len(decoded) == N_TEST


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_damaged_entry_of_the_cache_is_made_again(root, tmp_path, capsys, damage):
    expected = passed(opened(root).test)
    (entry,) = kept(tmp_path)
    damage(entry / "inputs.npy")
    same(passed(opened(root).test), expected)
    assert f"{entry}: inputs.npy is cut short or changed; making it again" in capsys.readouterr().err
    same(passed(opened(root).test), expected)
    assert capsys.readouterr().err == ""


def test_an_entry_that_was_removed_is_made_again(root, tmp_path):
    splits = opened(root)
    expected = passed(splits.test)
    (entry,) = kept(tmp_path)
    shutil.rmtree(entry)
    again = opened(root)
    assert again.test.sha256 == splits.test.sha256, "what it holds is known"
    same(passed(again.test), expected)
    assert kept(tmp_path) == [entry]


@pytest.mark.parametrize("in_memory", [True, False])
def test_without_the_cache_nothing_is_kept_and_each_pass_gives_the_same(
    root, tmp_path, decoded, monkeypatch, in_memory
):
    monkeypatch.setattr(pools, "IN_MEMORY_BYTES", 1 << 20 if in_memory else 0)
    splits = opened(root, cache=False)
    first = passed(splits.test)
    decoded.clear()
    same(passed(splits.test), first)
    assert len(decoded) == (0 if in_memory else N_TEST)
    same(passed(opened(root, cache=False).test), first)
    assert kept(tmp_path) == []


def test_a_set_with_no_room_in_the_cache_is_decoded_in_each_pass_with_a_notice(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_DATA_CACHE_GB", "0.000001")
    expected = passed(opened(root, cache=False).test)
    same(passed(opened(root).test), expected)
    assert kept(tmp_path) == []
    assert capsys.readouterr().err == (
        "image_folder: 10 decoded samples have no room in the cache; they are decoded anew in each pass\n"
    )
    whole = opened(root, as_used=False)
    same(passed(whole.test), expected)
    assert [entry for entry in kept(tmp_path) if len(np.load(entry / "digests.npy")) == N_TEST] == []


def test_a_disk_that_is_full_is_told_and_the_pass_goes_on(root, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    expected = passed(opened(root, cache=False).test)
    monkeypatch.setattr(pools.ArrayFile, "append", full)
    same(passed(opened(root).test), expected)
    assert capsys.readouterr().err == (
        f"{tmp_path}/cache/data: cannot be written (No space left on device); samples are decoded anew in each pass\n"
    )
    assert kept(tmp_path) == []


def test_a_source_of_a_users_own_is_decoded_whole(root, monkeypatch):
    monkeypatch.setattr(cache_module, "is_users", lambda _: True)
    monkeypatch.setattr("quantbench.data.opening.is_users", lambda _: True)
    assert opened(root).test.settle is None


def test_every_bad_sound_of_a_pool_is_named_and_nothing_else_is_looked_at(tmp_path):
    for seed, place in enumerate(("train/a/0", "train/a/1", "train/b/0", "test/a/0", "test/b/0", "test/b/1")):
        path = tmp_path / "sounds" / f"{place}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.RandomState(seed).uniform(-0.5, 0.5, 99), 8_000)
    for place in ("train/a/0", "test/a/0", "test/b/1"):
        (tmp_path / "sounds" / f"{place}.wav").write_bytes(b"?")
    config = DataConfig(name="audio_folder", root=str(tmp_path / "sounds"), clip_samples=99, calibration_pool=1)
    told = refusal(lambda: open_splits(config, WHERE, as_used=True).test.sha256)
    assert told.startswith(f"2 of 3 sound files cannot be used: {tmp_path}/sounds/test/a/0.wav: not a readable")
    assert f"{tmp_path}/sounds/test/b/1.wav: not a readable" in told


def only_test(root):
    shutil.rmtree(root / "train")
    return root


def bare(root):
    only_test(root)
    for path in list((root / "test").iterdir()):
        path.rename(root / path.name)
    (root / "test").rmdir()
    return root


@pytest.mark.parametrize("as_used", [True, False])
@pytest.mark.parametrize("layout", [only_test, bare])
def test_a_test_side_needs_no_training_side(root, layout, as_used):
    expected = opened(root, as_used=False).test
    labels, samples = expected.labels, passed(expected)
    splits = opened(layout(root), as_used=as_used)
    same(passed(splits.test), samples)
    assert splits.test.labels.tolist() == labels.tolist()
    assert splits.test.sha256 == expected.sha256
    assert splits.classes == ("a", "b")
    for name in NAMES[:-1]:
        assert len(getattr(splits, name)) == 0
    splits.checked()


USES = {"calibration": "to calibrate with", "train": "to train on", "search": "to search on"}


@pytest.mark.parametrize("name", USES)
def test_whoever_needs_training_samples_is_told_what_is_missing_and_where_to_put_it(root, name):
    split = getattr(opened(only_test(root)), name)
    told = f"{WHERE}: there are no training samples {USES[name]}; put some into {root}/train/<class>/"
    assert refusal(passed, split) == told
    assert refusal(split.take, np.arange(1)) == told


def test_class_folders_alone_are_the_test_side_which_is_told(root):
    for i in range(3):
        write(root / "more" / "c" / f"{i}.png", 50 + i)
    splits = opened(bare(root))
    assert splits.repeats == (
        f"{root}: has no test/, so its folders are taken for the classes of the test side: a, b, more",
    )
    assert refusal(passed, splits.calibration).endswith(
        f"put some into {root}/train/<class>/ and the others into test/"
    )


def test_files_beside_class_folders_without_a_side_are_refused(root):
    write(bare(root) / "x.png", 1)
    assert refusal(opened, root) == (f"{root}/x.png: is not in a class's folder; put it into {root}/<class>/")


@pytest.mark.parametrize("as_used", [True, False])
def test_a_folder_of_training_samples_alone_is_told_what_it_lacks(root, as_used):
    shutil.rmtree(root / "test")
    told = refusal(lambda: opened(root, as_used=as_used), error=DataMissingError)
    assert told.startswith(f"{root}/test: no such folder. To get it: ")


def test_the_sets_that_were_not_used_for_longest_make_room_for_a_new_one(root, tmp_path, capsys, monkeypatch):
    import os

    opened(root).test.sha256  # noqa: B018
    (first,) = kept(tmp_path)
    opened(bare(root)).test.sha256  # noqa: B018 — the same samples in other places
    (second,) = [path for path in kept(tmp_path) if path != first]
    os.utime(first / "meta.json", (1, 1))
    size = sum(path.stat().st_size for path in first.iterdir())
    monkeypatch.setattr(room, "limit_bytes", lambda: 2 * size + 1_000)
    write(root / "a/99.png", 999)
    opened(root).test.sha256  # noqa: B018
    assert first not in kept(tmp_path)
    assert second in kept(tmp_path)
    assert capsys.readouterr().err.startswith(
        f"{first}: removed (0.0 GB, last used 1970-01-01), since decoded data may"
    )


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch, given):
    from quantbench.errors import CacheError

    monkeypatch.setenv("QUANTBENCH_DATA_CACHE_GB", given)
    with pytest.raises(CacheError) as caught:
        room.limit_bytes()
    assert str(caught.value) == (
        f"QUANTBENCH_DATA_CACHE_GB: '{given}' is no size; set it to gigabytes, such as 20, or to 0 for none"
    )
