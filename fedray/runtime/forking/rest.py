"""Idle workers that sleep: without it, 400 of them keep two processors busy with nothing.

The main loop of a Ray 2.60 worker asks every 10 ms whether Python has a signal to handle, and begins by asking
`sys.is_finalizing`. Here that question waits, while nothing comes in on any of the process's sockets, where calls come
from. Everything that is not the main loop is answered as ever; in a Ray that does not ask, this does nothing.
"""

import inspect
import os
import select
import stat
import sys
import time
from collections.abc import Callable

_LOOP = "main_loop"
"""The Python function below which Ray's main loop runs."""
_AWAKE_S = 0.1
"""How long the loop runs at its own pace after something came in: the time for it to become a call."""
_REST_S = 1.0
"""How long a rest is at most: a connection that opens meanwhile is not watched yet."""
_ANYTHING = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
"""Every arrival, at its edge. A socket is nearly always writable: asking for that too makes the kernel report an
arrival that another thread has read before this one woke."""


class Rest:
    """Takes the place of `sys.is_finalizing`."""

    def __init__(self, is_finalizing: Callable[[], bool]) -> None:
        self._is_finalizing = is_finalizing
        self._sockets = select.epoll()
        self._watched: dict[int, int] = {}
        self._awake_until = time.monotonic() + _REST_S

    def __call__(self) -> bool:
        """Whether the interpreter is finalizing; asked by the main loop, after a rest."""
        if time.monotonic() > self._awake_until and _asked_by() == _LOOP:
            self._rest()
        return self._is_finalizing()

    def _rest(self) -> None:
        self._watch_sockets()
        if self._sockets.poll(_REST_S):  # at once, where something came in since the last rest
            self._awake_until = time.monotonic() + _AWAKE_S

    def _watch_sockets(self) -> None:
        """Watches the sockets that are new; the kernel forgets those that are closed."""
        for name in os.listdir("/proc/self/fd"):
            try:
                status = os.fstat(int(name))
                if stat.S_ISSOCK(status.st_mode) and self._watched.get(int(name)) != status.st_ino:
                    self._sockets.register(int(name), _ANYTHING)
                    self._watched[int(name)] = status.st_ino
            except OSError:
                continue  # closed meanwhile


def _asked_by() -> str:
    """The Python function below which the question was asked."""
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame and frame.f_back else None
    return caller.f_code.co_name if caller else ""


def rest_when_idle() -> None:
    """Lets this worker rest."""
    sys.is_finalizing = Rest(sys.is_finalizing)
