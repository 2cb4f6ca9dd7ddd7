"""When a signal ends a study: at once while a point is measured, elsewhere before the next point."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Somebody asked to stop.

    A KeyboardInterrupt in the middle of a line that is written or printed would leave it half done, and a rich console
    that waits for ever for the end of a line prints nothing more. So it is raised only inside `at_once`.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once = False

    def ask(self, number: int = signal.SIGINT, frame: Any = None) -> None:
        """Asks to stop; a handler of signals.

        Raises:
            KeyboardInterrupt: Inside `at_once`.
        """
        self.asked = True
        if self._at_once:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Generator[None]:
        """While it lasts, and if somebody asked before, a stop is a KeyboardInterrupt."""
        self._at_once = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    @contextmanager
    def on_signals(self) -> Generator[None]:
        """SIGTERM and Ctrl-C ask to stop; in the main thread only. Enter it after `ray.init`, which has its own."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
