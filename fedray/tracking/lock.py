"""The lock that keeps two deliveries of one run apart."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fedray.errors import TrackingError

LOCK_S = 60.0


@contextmanager
def locked(folder: Path, limit_s: float = LOCK_S) -> Generator[None]:
    """Holds the folder for this process; the lock goes with the process, however it ends.

    Args:
        folder: An existing folder. File systems without locks are used unlocked.
        limit_s: Longest wait in seconds.

    Raises:
        TrackingError: Another process held it all that time.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _acquire(descriptor, folder, time.monotonic() + limit_s)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TrackingError(f"{folder} is being delivered by another process; try again later") from None
            time.sleep(0.05)
        except OSError:
            return None
