"""Memory kept warm, as a server's is after its first requests: what a forward costs must not depend on page faults.

By default glibc gives large freed blocks back to the system and faults them in again, page by page, at the next
allocation; whether it does depends on what the process allocated before. `benchmarks/kept_memory.py` shows how far that
moves the speed-up of one and the same model from measurement to measurement (figures in docs/performance.md).
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# Parameters of mallopt(3): blocks below the first size come from the heap, which is trimmed only above the second.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
KEPT_BYTES = 1 << 30
# Where glibc starts. Setting it, to whatever value, also ends that it grows with what the process frees.
RETURNED_BYTES = 128 << 10
# prctl(2): no huge pages for this process, which would round every block up to 2 MiB.
PR_SET_THP_DISABLE = 41


@cache
def keep_freed_memory() -> bool:
    """Tells the C library, for the rest of the process, not to return freed blocks of up to 1 GiB to the system.

    Returns:
        True if it follows: glibc does; other allocators are left as they are.
    """
    return _set_thresholds(KEPT_BYTES)


def return_freed_memory() -> bool:
    """Makes what is resident what is in use, for the rest of the process: the C library returns freed blocks of 128 KiB
    and more to the system at once, and the system gives no huge pages.

    Returns:
        True if it follows, and can return the rest (`malloc_trim`).
    """
    if not _set_thresholds(RETURNED_BYTES):
        return False
    library = ctypes.CDLL(None)
    library.prctl(PR_SET_THP_DISABLE, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0)))
    return hasattr(library, "malloc_trim")


def _set_thresholds(size: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, size)) and bool(mallopt(M_TRIM_THRESHOLD, size))
