"""The revision of the user's project, as git tells it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# A repository on a disk that does not answer is no reason to wait.
TIMEOUT_S = 10


def revision_of(folder: Path) -> str | None:
    """The commit that a folder is at, and whether files differ from it; None where git knows nothing of it."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}, with changes" if changes else commit


def _git(folder: Path, *arguments: str) -> str:
    if (git := shutil.which("git")) is None:
        return ""
    command = [git, "-C", str(folder), *arguments]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
