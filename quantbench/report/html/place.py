"""The place of a page: an older page may be replaced, and nothing else."""

from __future__ import annotations

from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.files import check_replaceable, open_file

# In the head of each page of ours.
GENERATOR = "quantbench"
MARK = f'<meta name="generator" content="{GENERATOR}">'
# Bytes of a file in which the mark stands.
HEAD = 2_000


def check_page(path: Path) -> None:
    """Refuses a place where something else than a page of ours is, before anything is read or drawn.

    Raises:
        ConfigError: naming what is there.
    """
    if path.is_dir():
        raise ConfigError(f"--html {path}: is a folder; name a file in it")
    try:
        check_replaceable(path)
        if not path.exists():
            return
        with open_file(path) as file:
            head = file.read(HEAD).decode("utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"--html {path}: {error.strerror}; name another file") from None
    if MARK not in head and head:
        raise ConfigError(f"--html {path}: exists, and is no report of quantbench; name another file, or remove it")
