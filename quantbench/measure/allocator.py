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


@cache
def keep_freed_memory() -> bool:
    """Tells the C library, for the rest of the process, not to return freed blocks of up to 1 GiB to the system.

    Returns:
        Whether it could be told: glibc can; other allocators are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
