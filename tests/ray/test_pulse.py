"""A process that computes or answers lives; one that is stopped, or waits with Python's lock in hand, does not."""

import ctypes
import itertools
import os
import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from runs import until

from fedray.runtime.pulse import Pulse, Silent

pytestmark = pytest.mark.usefixtures("ray_here")

LIMIT_S = 1.0


class Patient:
    """Does what keeps it from answering."""

    def pid(self) -> int:
        return os.getpid()

    def compute(self, seconds: float) -> None:
        """Computes with Python's lock in hand, in one call after another, each longer than the limit."""
        number, began = 10**7, time.thread_time()
        sum(itertools.repeat(1, number))
        number *= max(1, round(seconds / (time.thread_time() - began)))
        sum(itertools.repeat(1, number))

    def wait(self) -> None:
        """Waits with Python's lock in hand."""
        ctypes.PyDLL(None).sleep(1000)


@pytest.fixture
def patient() -> Iterator[Any]:
    actor = ray.remote(num_cpus=0, max_concurrency=4)(Patient).remote()
    yield actor
    ray.kill(actor)


def found(patient: Any) -> tuple[Pulse, int]:
    pulse = Pulse(200)
    pid = pulse.wait(patient.pid.remote())
    pulse.found(pid, LIMIT_S)
    return pulse, pid


def test_process_that_only_computes_is_waited_for(patient: Any) -> None:
    pulse, pid = found(patient)
    computing = patient.compute.remote(5 * LIMIT_S)
    late, began = 0.0, time.monotonic()
    while not ray.wait([computing], timeout=0)[0]:
        asked = time.monotonic()
        assert pulse.wait(patient.pid.remote()) == pid
        late = max(late, time.monotonic() - asked)
    assert late > 2 * LIMIT_S, "it was never kept from answering"
    assert time.monotonic() - began > late
    ray.get(computing, timeout=0)


@pytest.mark.parametrize("way", ["stopped", "stuck"])
def test_process_that_neither_answers_nor_computes_is_found_and_killed(patient: Any, way: str) -> None:
    pulse, pid = found(patient)
    if way == "stopped":
        os.kill(pid, signal.SIGSTOP)
    else:
        patient.wait.remote()
        until(lambda: not ray.wait([patient.pid.remote()], timeout=0.5)[0], "no answer")
    began = time.monotonic()
    with pytest.raises(Silent, match=r"^it gave no sign of life for 1 s; see failures.driver_silence_s$"):
        pulse.wait(patient.pid.remote())
    assert LIMIT_S <= time.monotonic() - began < 20 * LIMIT_S
    pulse.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def never() -> Iterator[Any]:
    """An actor for which there is no room."""
    actor = ray.remote(num_cpus=1000)(Patient).remote()
    yield actor
    ray.kill(actor)


def test_actor_that_does_not_start_is_waited_for_no_longer_than_it_may_take(never: Any) -> None:
    with pytest.raises(Silent, match=r"^it gave no sign of life for 0.3 s; see actors.start_timeout_s$"):
        Pulse(0.3).wait(never.pid.remote())


def test_time_in_which_the_one_who_waits_stood_still_does_not_count(
    never: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = itertools.count(0, 3600)
    monkeypatch.setattr("fedray.runtime.pulse.time", SimpleNamespace(monotonic=lambda: float(next(hours))))
    pulse = Pulse(2.5)
    with pytest.raises(Silent):
        pulse.wait(never.pid.remote())
    assert next(hours) == 5 * 3600, "made, asked, and three looks in which an hour passed that count as a second each"
