"""A data set is decoded once per machine, whole or not at all, whoever asks first and whatever was killed before."""

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

from quantbench.data.cache import open_cached
from quantbench.data.source import Arrays, Decoded, Normalization, Source
from quantbench.errors import CacheError, DataError
from quantbench.registry import DATA

IMPORTS = """
import os, sys
import numpy as np
from quantbench.data.cache import open_cached
from quantbench.data.source import Arrays, Decoded, Normalization, Source
"""
# Run after the source of `Counted`; it decodes when told to on stdin, so that a test decides what happens when.
CHILD = """
class Waiting(Counted):
    def decode(self, progress):
        print("decoding", flush=True)
        sys.stdin.readline()
        return super().decode(progress)

if sys.argv[1] == "killed":
    written = []
    save = np.save
    def save_two(path, array):
        if len(written) == 2:
            os._exit(9)
        written.append(path)
        save(path, array)
    np.save = save_two
print("opening", flush=True)
data = open_cached("tiny", Waiting())
print("opened", int(data.train.inputs.sum()), "torch" in sys.modules, flush=True)
"""


class Counted(Source):
    """Four images, and how often they were decoded."""

    normalization = Normalization(255.0, (0.0,) * 3, (1.0,) * 3)

    def __init__(self, content="a", classes=("x", "y"), fails=None):
        self.content = content
        self.classes = classes
        self.fails = fails
        self.decoded = 0

    def fingerprint(self):
        return self.content

    def decode(self, progress):
        self.decoded += 1
        progress(1, 2)
        if self.fails:
            raise self.fails
        inputs = np.random.RandomState(len(self.content)).randint(0, 256, (4, 3, 8, 8)).astype(np.uint8)
        labels = np.array([0, 1, 0, 1])
        return Decoded(Arrays(inputs, labels), Arrays(255 - inputs, labels), self.classes)


@pytest.fixture
def cache(tmp_path):
    """Where the decoded sets lie."""
    return tmp_path / "cache" / "data"


def only_folder(cache):
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    return folder


def start(mode=""):
    command = [sys.executable, "-c", IMPORTS + inspect.getsource(Counted) + CHILD, mode]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_what_is_opened_is_what_was_decoded_with_a_hash_per_sample(cache):
    source = Counted()
    data, decoded = open_cached("tiny", source), source.decode(lambda *_: None)
    for side in ("train", "test"):
        np.testing.assert_array_equal(getattr(data, side).inputs, getattr(decoded, side).inputs)
        np.testing.assert_array_equal(getattr(data, side).labels, getattr(decoded, side).labels)
        assert len(np.unique(getattr(data, side).digests, axis=0)) == 4
    assert data.classes == ("x", "y")


def test_the_hash_of_a_sample_depends_on_its_content_alone(cache):
    first, second = open_cached("one", Counted()), open_cached("another", Counted())
    np.testing.assert_array_equal(first.train.digests, second.train.digests)
    assert not np.array_equal(first.train.digests, first.test.digests)


def test_a_set_is_decoded_once(cache):
    source = Counted()
    open_cached("tiny", source)
    open_cached("tiny", source)
    assert source.decoded == 1


def test_other_content_is_decoded_anew_beside_the_first(cache):
    open_cached("tiny", Counted("a"))
    other = Counted("bb")
    open_cached("tiny", other)
    assert other.decoded == 1
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2


def test_samples_are_memory_mapped_and_a_write_to_them_never_reaches_the_file(cache):
    inputs = open_cached("tiny", Counted()).train.inputs
    mapped = inputs.base
    assert isinstance(mapped, np.memmap)
    before = (only_folder(cache) / "train_inputs.npy").read_bytes()
    inputs[:] = 0
    mapped.flush()
    assert (only_folder(cache) / "train_inputs.npy").read_bytes() == before


DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one bit changed": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "empty": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
}
FILES = ["train_inputs.npy", "train_labels.npy", "test_digests.npy"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_made_again_with_a_notice(cache, capsys, file, damage):
    before = np.array(open_cached("tiny", Counted()).train.inputs)
    folder = only_folder(cache)
    damage(folder / file)
    source = Counted()
    np.testing.assert_array_equal(open_cached("tiny", source).train.inputs, before)
    assert source.decoded == 1
    assert capsys.readouterr().err == f"{folder}: {file} is cut short or changed; making it again\n"
    open_cached("tiny", source)
    assert source.decoded == 1, "the repaired cache is used"


METAS = {
    "cut short": '{"classes": ["x", ',
    "no hashes": "{}",
    "hashes in a list": '{"classes": [], "sha256": []}',
    "list": "[]",
}


@pytest.mark.parametrize("text", METAS.values(), ids=METAS)
def test_a_damaged_description_is_made_again_with_a_notice(cache, capsys, text):
    open_cached("tiny", Counted())
    meta = only_folder(cache) / "meta.json"
    meta.write_text(text)
    assert open_cached("tiny", Counted()).classes == ("x", "y")
    assert "unreadable meta.json (" in capsys.readouterr().err


def test_a_description_that_names_fewer_files_than_there_must_be_is_made_again(cache, capsys):
    open_cached("tiny", Counted())
    meta = only_folder(cache) / "meta.json"
    content = json.loads(meta.read_text())
    del content["sha256"]["test_labels.npy"]
    meta.write_text(json.dumps(content))
    (meta.parent / "test_labels.npy").unlink()
    assert len(open_cached("tiny", Counted()).test.labels) == 4
    assert "making it again" in capsys.readouterr().err


@pytest.mark.parametrize("error", [DataError("image broken"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_decoding_that_ends_early_leaves_nothing_and_the_next_one_works(cache, error):
    with pytest.raises(type(error)):
        open_cached("tiny", Counted(fails=error))
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    assert len(open_cached("tiny", Counted()).train.labels) == 4


def test_a_full_disk_is_told_with_what_to_do_and_nothing_half_written_stays(cache, monkeypatch):
    save = np.save

    def full_at_the_labels(path, array):
        if "labels" in path.name:
            raise OSError(28, "No space left on device")
        save(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full_at_the_labels)
        with pytest.raises(
            CacheError, match=r"cannot be written \(No space left on device\); free some space, or name"
        ):
            open_cached("tiny", Counted())
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    assert len(open_cached("tiny", Counted()).train.labels) == 4


def test_a_set_with_one_class_is_refused_and_not_kept(cache):
    with pytest.raises(DataError, match=r"^tiny: 1 class\(es\); a classification data set needs at least two"):
        open_cached("tiny", Counted(classes=("x",)))
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_what_a_killed_process_left_half_written_is_swept_away_by_the_next(cache):
    child = start("killed")
    child.communicate("go\n")
    assert child.returncode == 9
    (left,) = [path for path in cache.iterdir() if path.is_dir()]
    assert left.name.startswith("."), "half a set must not lie under the name of a whole one"
    # Of the same code, which is part of a set's identity.
    assert start().communicate("go\n")[0].splitlines()[-1].startswith("opened ")
    assert not only_folder(cache).name.startswith(".")


def test_two_processes_that_need_a_set_at_once_build_it_once_and_without_torch(cache):
    first = start()
    assert [first.stdout.readline(), first.stdout.readline()] == ["opening\n", "decoding\n"]
    second = start()
    assert second.stdout.readline() == "opening\n"
    told, _ = first.communicate("go\n")
    waited, _ = second.communicate("go\n")
    assert told == waited, "the second must not have decoded"
    assert told.startswith("opened ")
    assert told.endswith("False\n")
    assert (first.returncode, second.returncode) == (0, 0)


@pytest.mark.parametrize("other", [1.0, True, "1", 0])
def test_parameters_of_ones_own_data_set_tell_it_apart_with_their_types(other):
    sources = {}
    for value in (1, other, 1):
        source = sources.setdefault(repr(value), Counted())
        open_cached("tiny", source, {"gain": value, "root": "x"})
    assert [source.decoded for source in sources.values()] == [1, 1]


def test_parameters_of_our_data_sets_are_told_apart_by_what_they_decode(monkeypatch):
    monkeypatch.setitem(DATA.table, "tiny", "nowhere:nothing")
    monkeypatch.setattr(Counted, "__module__", "quantbench.data.tiny")
    first, second = Counted(), Counted()
    open_cached("tiny", first, {"root": "here"})
    open_cached("tiny", second, {"root": "there"})
    assert (first.decoded, second.decoded) == (1, 0)
