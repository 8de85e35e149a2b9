"""The journal of a search on disk: each finished step is safe there before the next begins.

It lies beside the cache entry of the finished search, under the same name and lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from quantbench.cache import CODE, CacheEntry
from quantbench.errors import CacheError
from quantbench.experiment.artifact import content_of
from quantbench.experiment.run import Run
from quantbench.files import cache_dir, read_bytes, sha256_of_file, sha256_of_json
from quantbench.provenance import changed_code, loaded_code
from quantbench.search.problem import Entry
from quantbench.strict_json import parse


class FileJournal:
    """Steps as lines of JSON, written through to the disk one by one.

    Each line begins with a hash of its step and of all before it. A line that a kill cut short is dropped, and so is
    everything after a line that is not as it was written. The first line holds the user's modules that were loaded
    after its step; where one of them has changed since, all steps are dropped.

    Args:
        path: whose name tells all else that decides the result; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._last = ""
        self._entries = self._read()
        if self._entries and (changed := changed_code(self._entries[0].pop(CODE, {}))):
            print(f"{path}: was begun by other code ({', '.join(changed)}); beginning again", file=sys.stderr)
            self.forget()

    def entries(self) -> list[Entry]:
        """See `Journal.entries`."""
        return list(self._entries)

    def append(self, entry: Entry) -> None:
        """See `Journal.append`.

        Raises:
            CacheError: if it cannot be written.
        """
        noted = entry if self._entries else {**entry, CODE: loaded_code()}
        step = json.dumps(noted, allow_nan=False).encode()
        chained = self._chained(step)
        try:
            with self.path.open("ab") as file:
                file.write(chained.encode() + b" " + step + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CacheError(
                f"{self.path}: cannot be written ({error.strerror}); the steps before are kept: free some space, or "
                "name another folder with QUANTBENCH_CACHE, and go on with the same command"
            ) from None
        self._last = chained
        self._entries.append(entry)

    def forget(self) -> None:
        """Removes it."""
        self.path.unlink(missing_ok=True)
        self._entries, self._last = [], ""

    def _chained(self, step: bytes) -> str:
        """Hash of a step and of all before it, so that none can be changed, left out or moved."""
        return hashlib.sha256(self._last.encode() + step).hexdigest()

    def _read(self) -> list[Entry]:
        try:
            content = read_bytes(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CacheError(f"{self.path}: cannot be read ({error.strerror}); remove it to begin again") from None
        found, whole = [], 0
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            stated, _, step = line.removesuffix(b"\n").partition(b" ")
            if stated != self._chained(step).encode() or not line.endswith(b"\n"):
                print(
                    f"{self.path}: line {number} is cut short or damaged; going on from the one before", file=sys.stderr
                )
                break
            found.append(dict(parse(step)))
            self._last = stated.decode()
            whole += len(line)
        # Cut off, so that the next step does not continue a broken line; a whole one may lie where nothing is written.
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)
        return found


# The kind of cache entry.
SEARCHES = "searches"


def searches_dir() -> Path:
    """Folder of the journals and the finished searches."""
    return cache_dir() / SEARCHES


def journal_of(run: Run, settings: dict[str, Any]) -> FileJournal:
    """The journal whose name is a hash of everything that decides what is found.

    Args:
        run: its weights, checkpoint, data, machine, code and library versions.
        settings: whatever else, as JSON has it.
    """
    decides = {
        "content": content_of(run.opened, run.experiment, run.backend),
        "checkpoint": sha256_of_file(run.artifact.path),
        "settings": settings,
    }
    name = f"{run.experiment.id.replace('/', '-')}-{sha256_of_json(decides)[:16]}"
    return FileJournal(searches_dir() / f"{name}.jsonl")


def entry_of(journal: FileJournal) -> CacheEntry:
    """The cache entry of the finished search; its lock is the journal's too."""
    return CacheEntry(SEARCHES, journal.path.stem, "searching again", by_users_code=True)
