"""Folders of all trials, and what is found in them: files by their content, damaged ones, and those that were left."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kills_processes import Kill, become, end
from kills_project import PASSED_OVER, make_project

# Keys of JSON that differ from run to run: times, and what depends on them.
VOLATILE = {
    "duration_s", "seconds", "latency", "memory", "memory_bytes", "code", "command", "verdicts", "sha256_of_this",
    "speedups", "machine",
}  # fmt: skip
# In the system's folder of temporary files: what `multiprocessing` and `tempfile` leave when they are killed.
PYTHONS_OWN = re.compile(r"pymp-\w{8}|[a-z0-9_]{8}")


class Place:
    """Folders of all trials: each begins with a copy of one state, at the same path.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.states, self.temporary = folder / "project", folder / "states", folder / "tmp"
        # The same files in all trials, since a data set is known by how the system describes them.
        self.data = folder / "data"
        self.temporary.mkdir(parents=True)
        make_project(self.root, self.data)
        self.keep("made")

    def keep(self, name: str) -> None:
        """Keeps the project as it is now."""
        shutil.copytree(self.root, self.states / name)

    def begin(self, name: str) -> None:
        """Makes the project what it was when it was kept."""
        for each in (self.root, self.temporary):
            shutil.rmtree(each)
        shutil.copytree(self.states / name, self.root)
        self.temporary.mkdir()

    def run(self, command: Sequence[str], kill: Kill | None = None) -> tuple[int, int]:
        """Runs a command in a session of its own.

        Returns:
            Its number, and its exit status, negative where a signal ended it.
        """
        with warnings.catch_warnings():
            # Threads of whoever runs this are not used in the fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            become(command, self, kill)
        if kill and kill.after_s is not None:
            time.sleep(kill.after_s)
            end(process, kill.group)
        return process, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def state(self) -> dict[str, str]:
        """Hash of each file of the project but locks, of JSON without what differs from run to run."""
        return {
            str(path.relative_to(self.root)): _hash(path) for path in self._files(self.root) if path.suffix != ".lock"
        }

    def damaged(self) -> list[str]:
        """Accepted facts and results that whoever reads them right now would refuse."""
        from quantbench.errors import QuantbenchError
        from quantbench.golden.baselines import load_card, weights_path

        found = []
        for path in self._files(self.root):
            if path.suffix == ".json" and "cache" not in path.relative_to(self.root).parts:
                try:
                    json.loads(path.read_text(encoding="utf-8"))
                except ValueError as error:
                    found.append(f"{path}: {error}")
        # In a copy, since a reader completes what it finds.
        copy = self.states / "read"
        shutil.rmtree(copy, ignore_errors=True)
        if (self.root / "golden").is_dir():
            shutil.copytree(self.root / "golden", copy)
            try:
                load_card(weights_path(copy, "tiny"), "")
            except QuantbenchError as error:
                found.append(str(error))
        return found

    def left(self) -> list[Path]:
        """Temporary files, but for two of Python's own: the socket of its fork server, and its look for a folder."""
        from quantbench.temporary import TEMPORARY

        in_project = [path for path in self._files(self.root) if any(map(TEMPORARY.fullmatch, path.parts))]
        return in_project + [path for path in self.temporary.iterdir() if not PYTHONS_OWN.fullmatch(path.name)]

    def names(self) -> frozenset[str]:
        """Names in the system's folder of temporary files."""
        return frozenset(path.name for path in self.temporary.iterdir())

    def _files(self, root: Path) -> Iterator[Path]:
        for path in sorted(root.rglob("*")):
            if path.is_file() and not set(path.relative_to(root).parts) & set(PASSED_OVER):
                yield path


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(_steady(json.loads(content)), sort_keys=True).encode()
    elif path.suffix == ".md":
        # Pages name the command and its times.
        content = b"".join(line for line in content.splitlines(keepends=True) if b"took" not in line)
    return hashlib.sha256(content).hexdigest()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        # Of files of JSON a cache entry has hashes, which change with what is left out of them.
        return {key: _steady(each) for key, each in value.items() if key not in VOLATILE and not key.endswith(".json")}
    return [_steady(each) for each in value] if isinstance(value, list) else value
