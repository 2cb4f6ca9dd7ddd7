"""Saving beside the rounds: one save at a time, and none of them fails unnoticed."""

from collections.abc import Callable
from concurrent.futures import Executor, Future


class Saving:
    """The save that goes on, if one does. After one has failed there are no more: what it had taken is on no disk.

    Args:
        executor: Runs it.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._current: Future[None] | None = None

    def begin(self, save: Callable[[], None]) -> None:
        """Begins a save when the one before has ended.

        Raises:
            Exception: What the one before raised, or one before that.
        """
        self.wait()
        self._current = self._executor.submit(save)

    @property
    def is_busy(self) -> bool:
        """Whether a save goes on."""
        return self._current is not None and not self._current.done()

    def wait(self) -> None:
        """Waits for the save that goes on.

        Raises:
            Exception: What it raised, or one before it.
        """
        if self._current is not None:
            self._current.result()
            self._current = None
