"""Files of a revision beside the working tree, without a trace in the repository, also where this process is killed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.files import cache_dir
from quantbench.temporary import temporary_name

OPTION = "--against"
# Folder of the cache.
KIND = "revisions"
# Beginning of what stands in the place of a file that Git LFS keeps elsewhere, which is at most that large.
POINTER, POINTER_BYTES = b"version https://git-lfs.github.com/spec/", 1024
# In the index, of a submodule.
GITLINK = "160000"
# Names that a line shows; the rest is counted.
SHOWN = 3
# Of a hook that runs this: they would lead to another repository or index.
UNSET = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
WHOLE = "fetch all of it: fetch-depth: 0 for actions/checkout, or git fetch --unshallow"


@dataclass(frozen=True)
class Revision:
    """A revision whose files lie in a folder of their own.

    Attributes:
        name: as it was asked for.
        commit: its hash.
        root: folder with all its files.
        top: the working tree's.
        prefix: the project's place in both.
        notes: lines about what it lacks, and about the working tree.
    """

    name: str
    commit: str
    root: Path
    top: Path
    prefix: Path
    notes: tuple[str, ...] = ()

    @property
    def project(self) -> Path:
        """The project in it."""
        return self.root / self.prefix

    def counterpart(self, path: Path) -> Path:
        """A path of the working tree as this revision has it; one that lies elsewhere is the same for both."""
        absolute = plain(path)
        return self.root / absolute.relative_to(self.top) if absolute.is_relative_to(self.top) else absolute

    def told(self, words: object) -> str:
        """A message on one line, with the revision's name in the place of its folder."""
        text = " ".join(str(words).split("\n")[0].split())
        return text.replace(f"{self.root}{os.sep}", f"{self.name}:").replace(str(self.root), self.name)


@contextmanager
def checked_out(name: str) -> Iterator[Revision]:
    """A revision of the repository that the current folder lies in, for as long as it is needed.

    Its files are written by way of an index of their own. The repository is only read, no hook of it runs, and what a
    killed process leaves lies in the cache, where later runs sweep it.

    Args:
        name: as `git` reads it, such as `origin/main` or `HEAD~3`.

    Raises:
        ConfigError: if there is no git, no repository, no such revision, or it does not have the project.
    """
    top = Path(_asked(name, "rev-parse", "--show-toplevel"))
    prefix = Path(_asked(name, "rev-parse", "--show-prefix"))
    commit = _commit(name)
    place = cache_dir().absolute() / KIND
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=f"{temporary_name('base')}_") as folder:
        root, index = Path(folder).resolve() / "files", Path(folder) / "index"
        root.mkdir()
        _written(name, commit, root, index)
        if not (root / prefix).is_dir():
            raise ConfigError(f"{OPTION} {name}: has no folder {prefix}; name a revision that has the project")
        notes = [*_working_tree(name, commit), *_submodules(name, index), *_pointers(name, root)]
        yield Revision(name, commit, root, top, prefix, tuple(notes))


def plain(path: Path | str) -> Path:
    """An absolute path without `..`, links left as they are."""
    return Path(os.path.normpath(Path(path).absolute()))


def _commit(name: str) -> str:
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found.returncode == 0 and name:
        return found.stdout.strip()
    is_shallow = _asked(name, "rev-parse", "--is-shallow-repository") == "true"
    reason = f"; this clone is shallow: {WHOLE}" if is_shallow else "; name one that git rev-parse knows"
    raise ConfigError(f"{OPTION} {name}: no such revision{reason}")


def _written(name: str, commit: str, root: Path, index: Path) -> None:
    """Writes all files of a commit; those that Git LFS cannot get stay pointers."""
    _asked(name, "read-tree", "--no-sparse-checkout", commit, GIT_INDEX_FILE=str(index), at_top=True)
    write = ("checkout-index", "--all", "--force", "--quiet", f"--prefix={root}{os.sep}")
    found = _git(*write, GIT_INDEX_FILE=str(index), at_top=True)
    if found.returncode:
        found = _git(*write, GIT_INDEX_FILE=str(index), GIT_LFS_SKIP_SMUDGE="1", at_top=True)
    if found.returncode:
        raise ConfigError(f"{OPTION} {name}: its files cannot be written: {_first_line(found.stderr)}")


def _working_tree(name: str, commit: str) -> list[str]:
    changed = _asked(name, "status", "--porcelain", "--untracked-files=normal").splitlines()
    if changed:
        files = f"{len(changed)} changed {'file' if len(changed) == 1 else 'files'}"
        return [f"head is the working tree, with {files} that nobody has committed; base is {name}"]
    if _commit("HEAD") == commit:
        return [f"{name} is what is checked out, so that both are the same"]
    return []


def _submodules(name: str, index: Path) -> list[str]:
    staged = _asked(name, "ls-files", "--stage", GIT_INDEX_FILE=str(index), at_top=True).splitlines()
    found = [line.partition("\t")[2] for line in staged if line.startswith(GITLINK)]
    return [f"submodules are empty at {name}: {_few(found)}"] if found else []


def _pointers(name: str, root: Path) -> list[str]:
    found = []
    for folder, _, files in os.walk(root):
        for path in (Path(folder, each) for each in files):
            if path.is_symlink() or path.stat().st_size > POINTER_BYTES:
                continue
            with path.open("rb") as stream:
                if stream.read(len(POINTER)) == POINTER:
                    found.append(str(path.relative_to(root)))
    if not found:
        return []
    return [f"Git LFS keeps files of {name} elsewhere: {_few(sorted(found))}; get them: git lfs fetch origin {name}"]


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _asked(name: str, *arguments: str, at_top: bool = False, **environment: str) -> str:
    """The answer of git.

    Raises:
        ConfigError: with the first line that it says instead.
    """
    found = _git(*arguments, at_top=at_top, **environment)
    if found.returncode == 0:
        return found.stdout.rstrip("\n")
    said = _first_line(found.stderr)
    if "not a git repository" in said or "must be run in a work tree" in said:
        raise ConfigError(f"{OPTION} {name}: {Path.cwd()} is in no checkout of a git repository; run it in one")
    raise ConfigError(f"{OPTION} {name}: git says: {said}")


def _git(*arguments: str, at_top: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if key not in UNSET}
    # Paths of an index count from the top of the working tree.
    folder = Path(_git("rev-parse", "--show-toplevel").stdout.rstrip("\n")) if at_top else None
    try:
        return subprocess.run(  # noqa: S603
            ["git", "-c", "core.quotePath=false", *arguments],  # noqa: S607 — as on PATH
            env={**own, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", **environment},
            cwd=folder, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise ConfigError(f"{OPTION}: git is not installed, or not on PATH; install it") from None


def _first_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[0] if lines else "nothing").removeprefix("fatal: ").removeprefix("error: ")
