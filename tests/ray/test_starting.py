"""An actor that dies while it starts is started again, a few times."""

import os
import signal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from runs import experiment, pool_of

from fedray.errors import CapacityError, ClusterError
from fedray.experiment import build_data, build_plan, num_parameters
from fedray.messages import Block
from fedray.runtime.backend import RayBackend
from fedray.runtime.client_actor import ClientActor
from fedray.runtime.placement import ActorsConfig
from fedray.runtime.starting import start
from fedray.simulation.backend import CohortResult, SerialBackend
from fedray.simulation.watch import Watch


class _Weak:
    """Dies in its first starts: as many as there are files to remove."""

    def __init__(self, folder: str) -> None:
        for file in Path(folder).iterdir():
            file.unlink()
            os._exit(1)

    def place(self) -> int:
        return os.getpid()


def _start(folder: Path, deaths: int, watch: Watch, number: int = 2) -> list[Any]:
    for death in range(deaths):
        (folder / str(death)).touch()
    actor_class: Any = ray.remote(num_cpus=0)(_Weak)
    create = lambda: actor_class.remote(str(folder))  # noqa: E731
    return start(create, number, timeout_s=100, watch=watch)


@pytest.mark.usefixtures("ray_here")
def test_actor_that_dies_while_it_starts_is_started_again(tmp_path: Path) -> None:
    watch = Watch()
    actors = _start(tmp_path, 1, watch)
    assert len({ray.get(actor.place.remote()) for actor in actors}) == 2
    told = [(event.kind, event.values["text"]) for event in watch.take()]
    assert [text for kind, text in told if kind == "starting"] == ["2 of 2 client actors started"]
    (warning,) = [text for kind, text in told if kind == "warning"]
    assert warning.endswith("died while it started, and is started again")


@pytest.mark.usefixtures("ray_here")
def test_actor_that_always_dies_while_it_starts_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"client actor 0 died 3 times while it started.*/logs, in the newest files"):
        _start(tmp_path, 3, Watch(), number=1)


@pytest.mark.usefixtures("ray_here")
def test_actors_that_do_not_start_in_time_are_one_sentence() -> None:
    actor_class: Any = ray.remote(num_cpus=1000)(_Weak)
    create = lambda: actor_class.remote("")  # noqa: E731
    with pytest.raises(CapacityError, match=r"1 of 1 client actors did not start in 1 s.*actors\.start_timeout_s"):
        start(create, 1, timeout_s=1, watch=Watch())


class _Hanging(ClientActor):
    """Stops its process while it starts."""

    def __init__(self, *args: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        super().__init__(*args)


def _train_with_replacements(folder: Path, num_hanging: int) -> tuple[CohortResult, CohortResult]:
    """A round of two clients with an actor each, of which one is killed before; how it went, and how it should have."""
    settings = experiment(folder, data={"name": "fleet", "machines": 2})
    data = build_data(settings)
    plan = build_plan(settings, data)
    pool = pool_of(plan, data, ActorsConfig(clients_per_actor=1, fork=False))
    backend = RayBackend(pool, num_parameters(plan))
    hanging: Any = ray.remote(num_cpus=0)(_Hanging)
    create, numbers = pool._create, count()

    def replacement() -> Any:
        hangs = next(numbers) < num_hanging
        backend._dispatch._start_timeout_s = 2 if hangs else 200
        return hanging.remote(*pool._args) if hangs else create()

    pool._create = replacement
    place = pool.place(0)
    assert place is not None
    os.kill(place.pid, signal.SIGKILL)
    blocks = [Block(round=1, index=0, start=0, clients=np.array([0, 1]), work=1.0)]
    start = np.zeros(num_parameters(plan), np.float32)
    try:
        found = backend.run_cohort(start, blocks, lambda _: None)
    finally:
        backend.close()
    return found, SerialBackend(plan.workload, data, Watch()).run_cohort(start, blocks, lambda _: None)


@pytest.mark.usefixtures("ray_here")
def test_replacement_that_hangs_while_it_starts_is_started_again(tmp_path: Path) -> None:
    found, reference = _train_with_replacements(tmp_path, 1)
    assert np.array_equal(found.partial.total, reference.partial.total)
    assert found.deaths == 1


@pytest.mark.usefixtures("ray_here")
def test_replacement_that_never_starts_and_is_needed_is_one_sentence(tmp_path: Path) -> None:
    sentence = r"^client actor 0 did not start in 3 times 2 s, and what is left to do needs this one: .*timeout_s$"
    with pytest.raises(CapacityError, match=sentence):
        _train_with_replacements(tmp_path, 10)
