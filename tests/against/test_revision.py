"""A revision beside the working tree: what it holds, what it leaves behind, and the ways in which there is none."""

import os
import shutil
import subprocess
import sys

import pytest
from versioned import git

from quantbench.against.revision import checked_out
from quantbench.errors import ConfigError
from quantbench.temporary import sweep_all

WORKLOAD = "configs/w.yaml"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of two commits, the current folder."""
    root = tmp_path / "team"
    (root / "configs").mkdir(parents=True)
    (root / WORKLOAD).write_text("one")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    (root / WORKLOAD).write_text("two")
    git(root, "commit", "-qam", "two")
    monkeypatch.chdir(root)
    return root


def refused(name="HEAD"):
    """The line that a revision is refused with."""
    with pytest.raises(ConfigError) as caught, checked_out(name):
        pass
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_files_are_those_of_the_revision_and_the_repository_stays_as_it_is(repository):
    before = git(repository, "worktree", "list"), git(repository, "status", "--porcelain")
    with checked_out("HEAD~1") as revision:
        assert (revision.project / WORKLOAD).read_text() == "one"
        assert (repository / WORKLOAD).read_text() == "two"
        assert revision.counterpart(repository / WORKLOAD) == revision.root / WORKLOAD
        assert revision.notes == ()
        kept = revision.root
    assert not kept.parent.exists()
    assert (git(repository, "worktree", "list"), git(repository, "status", "--porcelain")) == before


def test_the_project_may_lie_below_the_top(repository, monkeypatch):
    monkeypatch.chdir(repository / "configs")
    with checked_out("main~1") as revision:
        assert (revision.project / "w.yaml").read_text() == "one"


def test_hooks_do_not_run_and_variables_of_one_do_not_mislead(repository, monkeypatch):
    hook = repository / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_INDEX_FILE", "elsewhere")
    with checked_out("HEAD~1") as revision:
        assert not list(revision.root.parent.rglob("ran"))
    assert not (repository / "ran").exists()
    assert not (repository / "elsewhere").exists()


def test_what_a_killed_process_left_is_swept(repository, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with checked_out("HEAD") as revision:
        folder = revision.root.parent
        left = folder.with_name(folder.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
        shutil.copytree(folder, left)
        sweep_all(tmp_path / "cache")
        assert folder.exists()
        assert not left.exists()


def test_changes_that_nobody_committed_are_said(repository):
    (repository / WORKLOAD).write_text("three")
    with checked_out("HEAD~1") as revision:
        assert revision.notes == (
            "head is the working tree, with 1 changed file that nobody has committed; base is HEAD~1",
        )


def test_a_revision_that_is_checked_out_is_said_to_be_the_same(repository):
    with checked_out("main") as revision:
        assert revision.notes == ("main is what is checked out, so that both are the same",)


def test_submodules_and_pointers_of_lfs_are_named(repository):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (repository / "model.onnx").write_text(pointer)
    git(repository, "add", "-A")
    commit = git(repository, "rev-parse", "HEAD").strip()
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/nets")
    git(repository, "commit", "-qm", "three")
    with checked_out("HEAD") as revision:
        submodules, files = revision.notes[-2:]
    assert submodules == "submodules are empty at HEAD: vendor/nets"
    assert files == "Git LFS keeps files of HEAD elsewhere: model.onnx; get them: git lfs fetch origin HEAD"


@pytest.mark.parametrize("name", ["nowhere", "", "--all", "HEAD:configs"])
def test_a_revision_that_does_not_exist_is_one_line(repository, name):
    assert refused(name) == f"--against {name}: no such revision; name one that git rev-parse knows"


def test_a_shallow_clone_is_told_to_fetch_the_rest(repository, tmp_path, monkeypatch):
    git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    assert refused("HEAD~1") == (
        "--against HEAD~1: no such revision; this clone is shallow: fetch all of it: fetch-depth: 0 for "
        "actions/checkout, or git fetch --unshallow"
    )


def test_a_folder_without_a_repository_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert refused() == f"--against HEAD: {tmp_path} is in no checkout of a git repository; run it in one"


def test_no_git_is_one_line(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused() == "--against: git is not installed, or not on PATH; install it"


def test_a_revision_without_the_project_is_one_line(repository, monkeypatch):
    (repository / "new").mkdir()
    monkeypatch.chdir(repository / "new")
    assert refused("HEAD") == "--against HEAD: has no folder new; name a revision that has the project"


def test_whatever_git_says_else_is_its_first_line(repository):
    (repository / ".git/config").write_text("[core\n")
    assert refused().startswith("--against HEAD: git says: bad config line 1 in file")
