"""A chaos actor that hangs keeps nobody: another ends the process, and who was to be struck strikes itself."""

import os
import signal
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import psutil
import pytest
import ray
from ray.exceptions import RayActorError
from runs import lives, status, until

from fedray.messages import Fault
from fedray.runtime import answers, chaos
from fedray.runtime.chaos import ChaosActors, strike_here

pytestmark = pytest.mark.usefixtures("ray_here")


def _impatient(module: Any) -> None:
    """Has the first answer waited for a second only."""
    limits_s = chain([1.0], repeat(answers.ANSWER_S))
    module.get = lambda ref: answers.get(ref, next(limits_s))


class Victim:
    def pid(self) -> int:
        return os.getpid()

    def struck(self, actor: list[Any], fault: Fault) -> None:
        _impatient(chaos)
        strike_here(actor[0], fault)


@pytest.fixture
def victim() -> Iterator[Any]:
    actor = ray.remote(num_cpus=0, max_concurrency=2)(Victim).remote()
    yield actor
    ray.kill(actor)


@pytest.fixture
def hung() -> Iterator[tuple[ChaosActors, str, psutil.Process]]:
    """Chaos actors, of which the one of this node was stopped."""
    actors, node = ChaosActors(), ray.get_runtime_context().get_node_id()
    before = _chaos_actors()
    actors.start_on([node])
    (process,) = _chaos_actors() - before
    process.suspend()
    until(lambda: status(process.pid) == psutil.STATUS_STOPPED, "the chaos actor to stand still")
    yield actors, node, process
    actors.close()
    until(lambda: not lives(process.pid), "the chaos actor to be gone")


def _chaos_actors() -> set[psutil.Process]:
    return {p for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::Chaos")}


def test_process_is_ended_though_the_chaos_actor_hangs(hung: Any, victim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    actors, node, process = hung
    pid = ray.get(victim.pid.remote())
    monkeypatch.setattr(chaos, "get", None)
    _impatient(chaos)
    actors.end(node, pid)
    until(lambda: not lives(pid), "the process to be gone")
    assert actors.strikes() == []
    until(lambda: not lives(process.pid), "the chaos actor to be gone")


def test_who_is_to_be_struck_strikes_itself_where_nobody_else_does(hung: Any, victim: Any) -> None:
    actors, node, _ = hung
    pid = ray.get(victim.pid.remote())

    def struck(kind: str) -> Any:
        fault = Fault(id=0, round=1, kind=kind, client=0, block=0, at="before", amount=2, seconds=1)
        return victim.struck.remote([actors.on(node)], fault)

    for kind in ("slow", "lose_result"):  # nobody is kept
        ray.get(struck(kind), timeout=60)
    hanging = struck("hang")
    until(lambda: status(pid) == psutil.STATUS_STOPPED, "the process to stand still")
    os.kill(pid, signal.SIGCONT)
    ray.get(hanging, timeout=60)
    with pytest.raises(RayActorError):
        ray.get(struck("kill"), timeout=60)
    until(lambda: not lives(pid), "the process to be gone")
