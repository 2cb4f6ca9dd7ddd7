"""Whether the machine itself stood still: a virtual machine may be paused for seconds, and that time is nobody's."""

import time

from experiments.watching import Watching

_TICK_S = 0.1
_PAUSE_S = 2.0
"""A thread that sleeps so short wakes so late only where the whole machine stood still."""


class Pauses(Watching):
    """Watches the clock while it is open.

    Attributes:
        spans: From when to when the machine stood still, in epoch seconds.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        super().__init__()

    def within(self, start: float, end: float) -> float:
        """Seconds between two moments in which the machine stood still."""
        return sum(max(0.0, min(end, until) - max(start, since)) for since, until in self.spans)

    def _watch(self) -> None:
        before = time.time()
        while not self._closed.wait(_TICK_S):
            now = time.time()
            if now - before > _PAUSE_S:
                self.spans.append((before, now))
            before = now
