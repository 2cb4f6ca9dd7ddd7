"""Memory of this process."""

import ctypes
import os
from functools import cache

import psutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt` (malloc.h)."""
_LARGEST = 32 * 2**20
"""The largest threshold that `mallopt` takes for pieces that are mapped on their own."""
_KEPT = 256 * 2**20
"""How much free memory at the end of the heap stays with the process."""


def keep_freed() -> None:
    """Has the C library keep what is freed, for the next allocation.

    A round allocates what the round before freed. By default large pieces go back to the system, and each page of the
    next one costs a fault, which took a fifth of the time of a small round. Where the C library is not glibc, nothing
    changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)


def resident_bytes() -> int:
    """Resident memory of this process."""
    return _process(os.getpid()).memory_info().rss


@cache
def _process(pid: int) -> psutil.Process:
    return psutil.Process(pid)
