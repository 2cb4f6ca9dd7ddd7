"""Whether the machine itself stood still: a virtual machine may be paused for seconds, and then no time counts."""

import threading
import time
from types import TracebackType

_TICK_S = 0.1
_PAUSE_S = 2.0
"""A thread that sleeps so short wakes so late only where the whole machine stood still."""


class Pauses:
    """Watches the clock while it is open.

    Attributes:
        seconds: How long the machine stood still.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Pauses":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._closed.wait(_TICK_S):
            now = time.monotonic()
            if now - before > _PAUSE_S:
                self.seconds += now - before
            before = now
