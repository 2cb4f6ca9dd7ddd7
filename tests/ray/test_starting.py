"""An actor that dies while it starts is started again, a few times."""

import os
from pathlib import Path
from typing import Any

import pytest
import ray

from fedray.errors import CapacityError, ClusterError
from fedray.runtime.starting import start
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
