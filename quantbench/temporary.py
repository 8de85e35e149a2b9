"""Names of temporary files and folders, which tell who writes them, so that what killed processes left is swept."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

# A temporary name: the place it is for, and the machine and process that write it.
TEMPORARY = re.compile(r"\..*\.(?P<kind>\w+)-(?P<machine>[0-9a-f]{8})-(?P<process>[1-9]\d*)-\w+")
# Characters of the place's own name in it, since no file system takes more than 255 bytes.
SHOWN_NAME = 40
# `<cache>/<kind>` holds entries; `golden/<kind>/<workload>` holds facts.
CACHE_LEVELS, GOLDEN_LEVELS = 2, 3
# Seconds after which whoever writes on another machine is taken for dead.
ABANDONED_S = 24 * 60 * 60.0


def temporary_name(name: str, kind: str = "tmp") -> str:
    """Name of a temporary file for a place of that name, by which it is swept once this process was killed."""
    return f"{temporary_prefix(name)}{kind}-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def temporary_prefix(name: str) -> str:
    """Beginning of all temporary names for a place of that name."""
    if len(name) > SHOWN_NAME:
        name = f"{name[:SHOWN_NAME]}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return f".{name}."


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of the system's temporary ones, swept by a later run if this process is killed."""
    return tempfile.TemporaryDirectory(prefix=f"{temporary_name('quantbench')}_")


def sweep(folder: Path, depth: int = 1) -> None:
    """Removes what killed writers left in a folder, and in those below it.

    Args:
        folder: need not exist.
        depth: levels of folders, this one included.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        found = TEMPORARY.fullmatch(entry.name)
        if found and found["kind"] == "tmp":
            if is_abandoned(Path(entry.path)):
                _remove(Path(entry.path))
        elif depth > 1 and entry.is_dir(follow_symlinks=False):
            sweep(Path(entry.path), depth - 1)


def sweep_all(cache: Path, golden: Path | None = None) -> None:
    """Sweeps the cache, the folder of goldens, and the system's folder of temporary files, once a run."""
    sweep(cache, CACHE_LEVELS)
    sweep(Path(tempfile.gettempdir()))
    if golden is not None:
        sweep(golden, GOLDEN_LEVELS)


def is_abandoned(path: Path) -> bool:
    """True if whoever wrote under a temporary name is gone: ended on this machine, or silent for a day elsewhere."""
    found = TEMPORARY.fullmatch(path.name)
    if found is None:
        return False
    if found["machine"] == _machine() and sys.platform != "win32":
        return not _is_running(int(found["process"]))
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED_S
    except OSError:
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # Of another user.
    except OSError:
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][:1]
    except OSError:
        return True
    # Killed, and nobody has asked how it ended, as in containers.
    return state not in ("Z", "X")


@functools.cache
def _machine() -> str:
    """Hash of this machine's name and of the space in which its process numbers count."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()}:{space}".encode()).hexdigest()[:8]


@functools.cache
def sweep_once(folder: Path) -> None:
    """Sweeps a folder the first time that this process writes there."""
    sweep(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
