"""Artifacts in the content cache: files, what decides them, and what their model gave before it was saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import quantbench
from quantbench.arrays import Outputs
from quantbench.backends.interface import Artifact, Observers
from quantbench.cache import CODE, HASHES, CacheEntry, Meta
from quantbench.files import sha256_of_file, sha256_of_json
from quantbench.provenance import Code

# Test samples whose outputs are compared bit by bit after an artifact was loaded again.
PROBE_N = 64
PROBE = "probe.npz"


@dataclass(frozen=True)
class BuiltArtifact:
    """An artifact on disk.

    Attributes:
        artifact: its files.
        probe: outputs `[≤ PROBE_N, …]` of the model that was saved, before it was saved.
        code: the user's modules that were loaded when it was made; empty where it is not in the cache.
        kept: the entry of the cache that it was read from; None where it was made now.
    """

    artifact: Artifact
    probe: Outputs
    code: Code = field(default_factory=dict)
    kept: CacheEntry | None = None


def cached(
    entry: CacheEntry,
    content: dict[str, Any],
    at: Callable[[Sequence[Path], Observers], Artifact],
    make: Callable[[Path], BuiltArtifact],
    again: bool,
) -> BuiltArtifact:
    """The artifact in an entry of the cache, made there if it is not.

    Args:
        entry: whose name tells the content.
        content: everything that decides the bytes.
        at: files and observers → the artifact.
        make: makes the artifact in a folder.
        again: whatever is there.
    """

    def fill(folder: Path) -> Meta:
        built = make(folder)
        np.savez(folder / PROBE, **built.probe)  # type: ignore[arg-type]
        files = [path.relative_to(folder).as_posix() for path in built.artifact.files]
        return {"content": content, "observers": built.artifact.observers, "files": files}

    with entry.locked():
        kept = None if again else entry.read(_check_meta)
        meta = kept or entry.write(fill)
        with np.load(entry.folder / PROBE) as probe:
            outputs = dict(probe)
        artifact = at([entry.folder / name for name in meta["files"]], meta["observers"])
        return BuiltArtifact(artifact, outputs, meta[CODE], entry if kept else None)


def _check_meta(meta: Meta) -> None:
    """Raises KeyError or TypeError unless observers are noted, and a hash of each file."""
    _ = meta["observers"], [meta[HASHES][name] for name in (*meta["files"], PROBE)]


def entry_of(kind: str, name: str, content: dict[str, Any], again: str) -> CacheEntry:
    """The entry of the cache for such content.

    Args:
        kind: of entries, such as `quantized`.
        name: for people.
        content: everything that decides the bytes and is known before they are made.
        again: what is done where the entry is damaged, for messages.
    """
    return CacheEntry(kind, f"{name}-{sha256_of_json(content)[:16]}", again, by_users_code=True)


@cache
def source_digest() -> str:
    """Hash of our own code: quantizing again costs seconds, an artifact made by other code costs trust."""
    root = Path(quantbench.__file__).parent
    files = sorted(root.rglob("*.py"))
    return sha256_of_json({str(file.relative_to(root)): sha256_of_file(file) for file in files})
