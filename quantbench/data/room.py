"""Room of decoded data in the cache: a limit, kept by removing the sets that were not used for longest."""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from quantbench.cache import META, CacheEntry
from quantbench.errors import CacheError
from quantbench.files import cache_dir, printable

# Folder of the cache, and the variable that limits it.
KIND, VARIABLE = "data", "QUANTBENCH_DATA_CACHE_GB"
# Enough for what is decoded in the time of a coffee; a larger set is quicker decoded again than read back and checked.
DEFAULT_GB = 5.0
GB = 1_000_000_000


def limit_bytes() -> int:
    """Most that decoded data may take in the cache.

    Raises:
        CacheError: if the variable holds no number.
    """
    given = os.environ.get(VARIABLE, "")
    try:
        limit = float(given) if given else DEFAULT_GB
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise CacheError(
            f"{VARIABLE}: '{printable(given)}' is no size; set it to gigabytes, such as 20, or to 0 for none"
        )
    return int(limit * GB)


def fits(n_bytes: int) -> bool:
    """Tells whether a decoded set of that size may be kept."""
    return n_bytes <= limit_bytes()


def used(entry: CacheEntry) -> None:
    """Notes that an entry was used now."""
    # Where the cache may only be read, nothing is ever removed.
    with suppress(OSError):
        os.utime(entry.folder / META)


def make_room(n_bytes: int) -> None:
    """Removes the sets that were not used for longest, until a new one of that size fits; each is told.

    Sets that another process is making or opening stay.
    """
    folder, limit = cache_dir() / KIND, limit_bytes()
    found = sorted(_entries(folder))
    total = sum(size for _, size, _ in found)
    for last_use, size, entry in found:
        if total + n_bytes <= limit:
            return
        lock = FileLock(folder / f"{entry.name}.lock")
        with suppress(OSError, Timeout):
            with lock.acquire(timeout=0):
                CacheEntry(KIND, entry.name).forget()
            total -= size
            then = time.strftime("%Y-%m-%d", time.localtime(last_use))
            print(
                f"{printable(entry)}: removed ({size / GB:.1f} GB, last used {then}), since decoded data may take "
                f"{limit / GB:g} GB ({VARIABLE})",
                file=sys.stderr,
            )


def _entries(folder: Path) -> list[tuple[float, int, Path]]:
    """Time of the last use, bytes and folder of each set that is kept."""
    found = []
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):
                if not entry.name.startswith(".") and entry.is_dir():
                    last_use = (entry / META).stat().st_mtime
                    found.append((last_use, sum(file.stat().st_size for file in entry.iterdir()), entry))
    return found
