"""Chaos actors are started and ended by several threads, also while the run closes."""

import threading
from typing import Any

import pytest

from fedray.runtime import chaos
from fedray.runtime.chaos import ChaosActors


class Starts:
    """Stands for the Ray class: its actors are numbers, and who starts one is seen."""

    def __init__(self) -> None:
        self.started = list[int]()

    def options(self, **_: Any) -> "Starts":
        return self

    def remote(self) -> int:
        self.started.append(len(self.started))
        return self.started[-1]


def test_process_that_is_to_be_ended_while_the_run_closes_starts_no_chaos_actor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    actors, starts, ended = ChaosActors(), Starts(), list[int]()
    actors._class = starts
    started = [actors.on("a" * 56), actors.on("b" * 56)]

    def kill(actor: int) -> None:
        ended.append(actor)
        if actor == 0:
            actors.end("c" * 56, 0)
            (thread,) = (t for t in threading.enumerate() if t.name == "fedray-end")
            thread.join(0.2)  # it waits for the closing, and sees then that there is nothing to do

    monkeypatch.setattr(chaos.ray, "kill", kill)
    actors.close()
    for thread in threading.enumerate():
        if thread.name == "fedray-end":
            thread.join()
    assert ended == started == starts.started
