"""Files are whole or not there, hashes depend on content alone, and folders follow the environment."""

import hashlib
import stat
from pathlib import Path

import pytest

from quantbench.files import (
    cache_dir,
    data_dir,
    replacing,
    sha256_of_file,
    sha256_of_json,
    write_json,
    write_text,
)


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
