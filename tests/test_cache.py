"""A result is kept whole under a hash of what decides it, or not at all; damage is told and made again."""

import json
import os
import threading

import pytest

from quantbench import cache
from quantbench.cache import META, CacheEntry
from quantbench.errors import CacheError
from quantbench.files import sha256_of_file


@pytest.fixture
def entry():
    return CacheEntry("numbers", "three-0123", "counting again")


def fill(folder):
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    return {"count": 3}


def names(entry):
    return sorted(path.name for path in entry.folder.parent.iterdir() if path.suffix != ".lock")


def test_what_was_written_is_read_with_the_hash_of_every_file(entry):
    with entry.locked():
        assert entry.read() is None, "nothing is kept at first, which is no damage"
        written = entry.write(fill)
    assert written["count"] == 3
    assert sorted(written["sha256"]) == ["a.txt", "b.txt"]
    assert CacheEntry("numbers", "three-0123").read() == written
    assert sorted(path.name for path in entry.folder.iterdir()) == ["a.txt", "b.txt", META]


def test_nothing_is_said_where_nothing_is_kept_or_all_is_whole(entry, capsys):
    with entry.locked():
        entry.read()
        entry.write(fill)
        entry.read()
    assert capsys.readouterr().err == ""


def rewrite(path, change):
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


DAMAGES = {
    "a file changed": (lambda folder: (folder / "a.txt").write_text("onE"), "a.txt is cut short or changed"),
    "a file removed": (lambda folder: (folder / "b.txt").unlink(), "b.txt is cut short or changed"),
    "no description": (lambda folder: (folder / META).unlink(), "unreadable meta.json (FileNotFoundError: "),
    "half a description": (
        lambda folder: (folder / META).write_text('{"sha'),
        "unreadable meta.json (JsonError: not valid JSON (",
    ),
    "a word of the description changed": (
        lambda folder: (folder / META).write_text((folder / META).read_text().replace('"count": 3', '"count": 4')),
        "unreadable meta.json (ValueError: is not as it was written)",
    ),
    "the hash of the description removed": (
        lambda folder: rewrite(folder / META, lambda meta: meta.pop("sha256_of_this")),
        "unreadable meta.json (ValueError: has no hash of itself)",
    ),
    "a named pipe": (
        lambda folder: [(folder / META).unlink(), os.mkfifo(folder / META)],
        "unreadable meta.json (OSError: [Errno 22] is a named pipe, not a file: ",
    ),
    "a file that is a named pipe": (
        lambda folder: [(folder / "a.txt").unlink(), os.mkfifo(folder / "a.txt")],
        "a.txt is cut short or changed",
    ),
    "a key twice": (
        lambda folder: (folder / META).write_text('{"a": 1, "a": 2}'),
        "unreadable meta.json (JsonError: the key 'a' is given twice)",
    ),
    "no hashes": (lambda folder: (folder / META).write_text("{}"), "unreadable meta.json (KeyError: 'sha256')"),
    "a list": (lambda folder: (folder / META).write_text("[]"), "unreadable meta.json (TypeError: "),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_one_line_on_stderr_and_nothing_is_read(entry, capsys, damage, told):
    with entry.locked():
        entry.write(fill)
        damage(entry.folder)
        assert entry.read() is None
        err = capsys.readouterr().err
        assert err.startswith(f"{entry.folder}: {told}")
        assert err.endswith("; counting again\n")
        assert err.count("\n") == 1
        entry.write(fill)
        assert entry.read() is not None


def test_a_description_that_lacks_what_its_reader_needs_is_damage(entry, capsys):
    with entry.locked():
        entry.write(fill)
        assert entry.read(lambda meta: meta["count"]) is not None
        assert entry.read(lambda meta: meta["colour"]) is None
    assert capsys.readouterr().err == f"{entry.folder}: unreadable meta.json (KeyError: 'colour'); counting again\n"


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_write_that_ends_early_leaves_nothing(entry, error):
    def broken(folder):
        fill(folder)
        raise error

    with entry.locked(), pytest.raises(type(error)):
        entry.write(broken)
    assert names(entry) == []


def test_a_full_disk_is_told_with_what_to_do(entry):
    def full(_):
        raise OSError(28, "No space left on device")

    with entry.locked(), pytest.raises(CacheError) as refused:
        entry.write(full)
    assert str(refused.value) == (
        f"{entry.folder}: cannot be written (No space left on device); free some space, or name another folder with "
        "QUANTBENCH_CACHE"
    )
    assert names(entry) == []


def test_an_array_that_numpy_cannot_write_whole_is_a_full_disk_too(entry):
    def full(_):
        raise OSError("28800 requested and 28544 written")

    with (
        entry.locked(),
        pytest.raises(CacheError, match=r"cannot be written \(28800 requested and 28544 written\); free"),
    ):
        entry.write(full)
    assert names(entry) == []


def test_a_cache_that_cannot_be_written_to_is_told_and_an_error_of_the_maker_is_its_own(entry, tmp_path):
    def into_nowhere(folder):
        (folder / "none" / "a.txt").write_text("one")

    def reads_elsewhere(_):
        (tmp_path / "calibration.npy").read_bytes()

    with entry.locked(), pytest.raises(CacheError, match=r"cannot be written \(No such file or directory\)"):
        entry.write(into_nowhere)
    with entry.locked(), pytest.raises(FileNotFoundError, match=r"calibration\.npy"):
        entry.write(reads_elsewhere)
    assert names(entry) == []


def test_files_in_folders_are_hashed_too(entry, capsys):
    def nested(folder):
        (folder / "model").mkdir()
        (folder / "model" / "weights.bin").write_text("one")
        return {}

    with entry.locked():
        assert list(entry.write(nested)["sha256"]) == ["model/weights.bin"]
        (entry.folder / "model" / "weights.bin").write_text("two")
        assert entry.read() is None
    assert "model/weights.bin is cut short or changed" in capsys.readouterr().err


def test_what_killed_writers_left_is_swept_by_the_next_and_nothing_of_other_results(entry):
    with entry.locked():
        (entry.folder.parent / ".three-0123.abc").mkdir()
        (entry.folder.parent / ".four-4567.abc").mkdir()
        entry.write(fill)
    assert names(entry) == [".four-4567.abc", "three-0123"]


def test_a_new_write_replaces_files_that_it_does_not_write(entry):
    def other(folder):
        (folder / "c.txt").write_text("three")
        return {}

    with entry.locked():
        entry.write(fill)
        entry.write(other)
    assert sorted(json.loads((entry.folder / META).read_text())["sha256"]) == ["c.txt"]
    assert sorted(path.name for path in entry.folder.iterdir()) == ["c.txt", META]


def test_whoever_waits_for_the_lock_finds_what_the_first_has_made(entry):
    made, entered = [], threading.Event()

    def use():
        with CacheEntry("numbers", "three-0123").locked():
            entered.set()
            if entry.read() is None:
                made.append(entry.write(fill))

    with entry.locked():
        waiting = threading.Thread(target=use)
        waiting.start()
        assert not entered.wait(0.2)
        entry.write(fill)
    waiting.join()
    assert entered.is_set()
    assert made == []


def test_what_is_forgotten_is_not_read(entry):
    with entry.locked():
        entry.write(fill)
        entry.forget()
        assert entry.read() is None
        entry.forget()


def test_files_that_a_description_names_outside_of_its_folder_are_never_read(entry, capsys, tmp_path):
    (tmp_path / "secret").write_text("x")
    with entry.locked():
        entry.write(fill)
        meta = entry._description()
        meta["sha256"]["../../../secret"] = sha256_of_file(tmp_path / "secret")
        entry._describe(entry.folder, meta)
        assert entry.read() is None
    assert "../../../secret is cut short or changed; counting again" in capsys.readouterr().err


def test_a_result_that_is_withdrawn_stays_so_and_is_told(entry, capsys):
    with entry.locked():
        entry.write(fill)
    entry.withdraw("was made by other code")
    with entry.locked():
        assert entry.read() is None
    assert capsys.readouterr().err == f"{entry.folder}: was made by other code; counting again\n"


def test_what_is_written_is_given_as_it_will_be_read(entry):
    with entry.locked():
        written = entry.write(lambda _: {"classes": ("blue", "red"), "of": {1: 2}})
        assert written == entry.read() == {"classes": ["blue", "red"], "of": {"1": 2}, "sha256": {}}


@pytest.fixture
def read_only(monkeypatch):
    """From now on no lock file can be opened, as in a folder that may only be read, or on a disk that is full."""

    def lock():
        def refused(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(cache.FileLock, "acquire", refused)

    return lock


def test_a_filled_cache_that_may_only_be_read_is_read_without_its_lock(entry, read_only, capsys):
    with entry.locked():
        written = entry.write(fill)
    read_only()
    with entry.locked():
        assert entry.read() == written
    assert capsys.readouterr().err == ""


def test_without_the_lock_nothing_is_written_and_nothing_lost(entry, read_only):
    with entry.locked():
        written = entry.write(fill)
    read_only()
    with entry.locked(), pytest.raises(CacheError) as refused:
        entry.write(fill)
    assert str(refused.value) == (
        f"{entry.folder}: cannot be written (Permission denied); free some space, or name another folder with "
        "QUANTBENCH_CACHE"
    )
    assert entry.read() == written


def test_what_was_kept_stays_until_the_next_is_whole(entry):
    def broken(folder):
        (folder / "a.txt").write_text("half")
        raise ValueError("broken")

    with entry.locked():
        written = entry.write(fill)
        with pytest.raises(ValueError, match="broken"):
            entry.write(broken)
        assert entry.read() == written
    assert names(entry) == ["three-0123"]


def test_a_kill_while_it_is_forgotten_leaves_no_part_under_its_name(entry, monkeypatch, capsys):
    with entry.locked():
        entry.write(fill)
        with monkeypatch.context() as patch:
            patch.setattr(cache.shutil, "rmtree", lambda *_, **__: None)
            entry.forget()
        assert entry.read() is None
        assert capsys.readouterr().err == ""
        entry.write(fill)
    assert names(entry) == ["three-0123"], "what was moved aside is swept"


def test_a_cache_that_eight_share_makes_each_result_once(entry):
    made, found = [], []

    def use():
        own = CacheEntry("numbers", "three-0123")
        with own.locked():
            meta = own.read()
            if meta is None:
                made.append(own)
                meta = own.write(fill)
            found.append(meta["count"])

    threads = [threading.Thread(target=use) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(made), found) == (1, [3] * 8)
