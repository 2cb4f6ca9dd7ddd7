"""Something that goes on beside a measurement, in a thread."""

import threading
from types import TracebackType
from typing import Self


class Watching:
    """Runs `_watch` in a thread while it is open; `_watch` ends soon after `_closed` is set."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        raise NotImplementedError
