"""Files are whole or not there, hashes depend on content alone, and folders follow the environment."""

import hashlib
import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from quantbench.errors import CacheError
from quantbench.files import (
    append_text,
    cache_dir,
    data_dir,
    is_inside,
    open_file,
    printable,
    read_bytes,
    read_text,
    replacing,
    sha256_of_file,
    sha256_of_json,
    write_json,
    write_text,
)
from quantbench.temporary import temporary_prefix


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename is atomic only within one folder"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_write_that_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path, end):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(end), replacing(path) as temporary:  # noqa: PT012 — the write is part of what is interrupted
        temporary.write_text("half")
        raise end
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_was_written(tmp_path):
    write_text(tmp_path / "a.txt", "×")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644
    assert (tmp_path / "a.txt").read_bytes() == "×".encode()


def test_json_with_nan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_is_indented_and_ends_its_last_line(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'


def test_a_files_hash_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\1" * 100_000)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"\0\1" * 100_000).hexdigest()


def test_equal_values_have_equal_hashes_and_others_not():
    assert sha256_of_json({"a": 1, "b": [2]}) == sha256_of_json({"b": [2], "a": 1})
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": 1.5})
    assert sha256_of_json({"a": [1, 2]}) != sha256_of_json({"a": [2, 1]})


def test_the_environment_names_the_folders(monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", "/one")
    monkeypatch.setenv("QUANTBENCH_DATA", "/two")
    assert (cache_dir(), data_dir()) == (Path("/one"), Path("/two"))


@pytest.mark.parametrize("unset", [None, ""])
def test_without_it_data_lies_in_the_cache_and_the_cache_where_users_keep_theirs(monkeypatch, unset):
    for name in ("QUANTBENCH_CACHE", "QUANTBENCH_DATA"):
        monkeypatch.delenv(name) if unset is None else monkeypatch.setenv(name, unset)
    assert data_dir() == cache_dir() / "raw"
    assert cache_dir().name == "quantbench"


@pytest.mark.parametrize("kind", ["named pipe", "socket", "folder", "device"])
@pytest.mark.parametrize("read", [open_file, read_bytes, read_text, sha256_of_file])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path, read, kind):
    path = tmp_path / "a"
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, 0o140644)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=f"is a {kind}, not a file") as refused:
        read(path)
    assert refused.value.strerror == f"is a {kind}, not a file"
    assert refused.value.filename == str(path)


@pytest.mark.parametrize("write", [lambda path: write_text(path, "a"), lambda path: write_json(path, [1])])
@pytest.mark.parametrize("kind", ["named pipe", "socket", "device"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path, write, kind):
    path, there = tmp_path / "a", {"named pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK, "device": stat.S_IFCHR}[kind]
    if kind == "device":
        path.symlink_to("/dev/null")
    else:
        os.mknod(path, there | 0o644)
    with pytest.raises(OSError, match=f"is a {kind}, not a file") as refused:
        write(path)
    assert refused.value.filename == str(path)
    assert stat.S_IFMT(path.stat().st_mode) == there
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_that_nobody_reads_is_not_waited_for_by_who_appends(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError, match="No such device or address"):
        append_text(tmp_path / "a", "text")
    append_text(tmp_path / "b", "one ")
    append_text(tmp_path / "b", "two")
    assert (tmp_path / "b").read_text() == "one two"


def test_a_pipe_that_takes_the_place_of_a_file_after_it_was_looked_at_is_refused_too(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("1")
    found = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda _: found)
    with pytest.raises(OSError, match="is a named pipe, not a file"):
        open_file(path)


def test_a_name_that_no_file_has_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="its name holds a NUL character"):
        open_file(tmp_path / "a\0b")
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "a")


def test_a_file_is_read_up_to_its_limit_and_no_further(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a") == read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="is larger than 4 bytes"):
        read_bytes(tmp_path / "a", 4)
    (tmp_path / "a").write_bytes(b"")
    assert read_bytes(tmp_path / "a", 0) == b""


def test_a_small_file_takes_no_memory_for_all_that_it_might_hold(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "a", 1 << 31) == b"12345"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_text_has_the_line_ends_of_this_system(tmp_path):
    (tmp_path / "a").write_bytes("é\r\nb\rc\n".encode())
    assert read_text(tmp_path / "a") == (tmp_path / "a").read_text(encoding="utf-8") == "é\nb\nc\n"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "a\0b", "a\\..\\b"])
def test_a_name_that_leaves_its_folder_is_seen(name):
    assert not is_inside(name)
    assert is_inside("model/weights.bin")
    assert is_inside("a..b")


def test_a_text_of_any_bytes_is_printed_as_one_line():
    assert printable("a\x1b[2J\n\udcff×") == "a\\x1b[2J\\n\\xff×"


def test_the_longest_names_are_written_and_told_apart(tmp_path):
    first, second = (tmp_path / f"{'é' * 120}{i}.json" for i in range(2))
    write_text(first, "1")
    write_text(second, "2")
    assert (first.read_text(), second.read_text()) == ("1", "2")
    assert temporary_prefix(first.name) != temporary_prefix(second.name)


def test_a_full_disk_is_told_with_the_file_that_was_to_be_written(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space left") as error, replacing(path):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_home_is_asked_for_a_folder(monkeypatch):
    monkeypatch.delenv("QUANTBENCH_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    # As Python leaves it where the user has no account either.
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: f"~/.cache/{name}")
    with pytest.raises(
        CacheError, match=r"^the cache has no place: HOME is not set, .*; set QUANTBENCH_CACHE=<folder>$"
    ):
        cache_dir()
