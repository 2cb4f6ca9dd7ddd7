"""Whether the driver's process lives: it answers, or it computes."""

import contextlib
import time
from typing import Any

import psutil
import ray

from fedray.runtime.answers import RayRef
from fedray.runtime.lost import ActorDied

_LOOK_S = 0.1
_LONGEST_LOOK_S = 1.0
"""Time between two looks counts up to this: what is more, this process itself stood still, and knows nothing."""
_COMPUTING = 0.05
"""Part of a processor from which on a process computes; a worker of Ray at rest takes 0.01."""
_GONE_S = 10.0
"""How long a killed process may take to be gone."""


class Silent(ActorDied):
    """The driver's process gave no sign of life."""


class Pulse:
    """The signs of life of an actor on this machine.

    An answer is one. It may be late where a long call of a library holds Python's lock, but then the process computes,
    which is one too. A process that was stopped, or waits with that lock in hand, gives neither.

    Args:
        start_timeout_s: How long the actor may be silent until `found` is told its process.
    """

    def __init__(self, start_timeout_s: float) -> None:
        self._limit_s: float | None = start_timeout_s
        self._setting = "actors.start_timeout_s"
        self._process: psutil.Process | None = None
        self._sign()

    def found(self, pid: int, limit_s: float | None) -> None:
        """Told which process it is, and how many seconds it may be silent; None: for ever."""
        self._limit_s, self._setting = limit_s, "failures.driver_silence_s"
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            self._process = process if process.name().startswith("ray::") else None
        self._sign()

    def wait(self, ref: RayRef) -> Any:
        """An answer of the actor, waited for as long as there are signs of life.

        Raises:
            Silent: There was none for too long.
        """
        self._looked_at = time.monotonic()
        while not ray.wait([ref], timeout=_LOOK_S)[0]:
            self._look()
        self._sign()
        return ray.get(ref)

    def kill(self) -> None:
        """Ends the process, be it stopped or not, and waits until it can write nothing more."""
        if self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                self._process.kill()
                self._process.wait(_GONE_S)

    def _sign(self) -> None:
        self._silent_s, self._computed_s = 0.0, self._processor_s()
        self._looked_at = time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        self._silent_s += min(now - self._looked_at, _LONGEST_LOOK_S)
        self._looked_at = now
        if self._limit_s is None or self._silent_s < self._limit_s:
            return
        if self._processor_s() - self._computed_s < _COMPUTING * self._limit_s:
            raise Silent(f"it gave no sign of life for {self._limit_s:g} s; see {self._setting}")
        self._sign()

    def _processor_s(self) -> float:
        if self._process is None:
            return 0.0
        try:
            times = self._process.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return times.user + times.system
