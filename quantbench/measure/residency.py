"""Resident memory of this process by the kernel's own account, and a check of that account on this machine."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantbench.errors import MeasurementError

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEMINFO = Path("/proc/meminfo")
# proc(5): the value that makes the peak what is resident now.
RESET_PEAK = "5"
# A block of known size is seen to come and go, or nothing is measured.
PROBE_BYTES = 32 << 20
PROBE_TOLERANCE = 0.1
# Pages are counted loosely: each processor may keep max(32, 2 × processors) of them to itself before it adds them to
# the sum (Linux, lib/percpu_counter.c). Of figures below four such lots no ratio is taken.
RESOLUTION_BYTES = 4 * max(32, 2 * (os.cpu_count() or 1)) * mmap.PAGESIZE


@dataclass(frozen=True)
class Resident:
    """Bytes of this process: resident now, at most since the last reset, and swapped out."""

    now: int
    peak: int
    swapped: int


def resident(status: Path = STATUS) -> Resident:
    """Reads the kernel's account.

    Args:
        status: the file in which it says it, as proc(5) describes.

    Raises:
        MeasurementError: if it says nothing, as other systems than Linux.
    """
    try:
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii", errors="replace").splitlines())
        return Resident(*(int(lines[key].split()[0]) << 10 for key in ("VmRSS", "VmHWM", "VmSwap")))
    except OSError as error:
        raise MeasurementError(f"peak memory: {status} cannot be read ({error.strerror})") from None
    except (KeyError, ValueError, IndexError) as error:
        raise MeasurementError(f"peak memory: {status} does not tell what is resident ({error})") from None


def available_bytes(meminfo: Path = MEMINFO) -> int:
    """Memory that processes may still take without a lack of it, by proc(5); 0 where the system does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError, IndexError):
        return 0


def reset_peak(clear_refs: Path = CLEAR_REFS) -> None:
    """Makes the peak what is resident now.

    Args:
        clear_refs: the file through which the kernel is asked.

    Raises:
        MeasurementError: if it does not let us.
    """
    try:
        # Opened for writing only: a file that is not there must not be made.
        descriptor = os.open(clear_refs, os.O_WRONLY)
        try:
            os.write(descriptor, RESET_PEAK.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise MeasurementError(f"peak memory: {clear_refs} cannot be written ({error.strerror})") from None


def resident_after_trim() -> Resident:
    """Resident memory once everything that is no longer in use was given back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def check_instrument(take: Callable[[int], object] = lambda size: np.ones(size, dtype=np.uint8)) -> None:
    """Takes a block of known size and drops it: both must be seen.

    An allocator in place of the C library's, or a sandbox whose peak is not really reset, would go unnoticed otherwise.

    Args:
        take: allocates and fills that many bytes.

    Raises:
        MeasurementError: if they are not.
    """
    # The first one faults in the code of the library that fills it, where nothing else called it before.
    take(1)
    before = resident_after_trim()
    reset_peak()
    take(PROBE_BYTES)
    after = resident_after_trim()
    seen, left = after.peak - before.now, after.now - before.now
    if abs(seen - PROBE_BYTES) > PROBE_TOLERANCE * PROBE_BYTES or left > PROBE_TOLERANCE * PROBE_BYTES:
        raise MeasurementError(
            f"peak memory: a block of {PROBE_BYTES:,} bytes was seen as {seen:,} bytes, and {left:,} stayed when it "
            "was freed; another allocator or a sandbox stands between this process and its memory"
        )
