"""Actors that die change nothing."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from gates import CLIENT, MACHINES
from runs import PLACES, assert_equal, experiment, serial, until

import fedray
from fedray import Result
from fedray.errors import RoundFailed
from fedray.simulation.watch import Event


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return serial(tmp_path_factory.mktemp("serial"), data="gates:Gated")


def _kill_the_one_who_waits(folder: Path) -> None:
    pid = until(lambda: (folder / "pid").exists() and int((folder / "pid").read_text()), "a client that waits")
    os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("actors", [{"num_actors": 2}, {"clients_per_actor": 1}], ids=str)
def test_killed_actor_changes_nothing(actors: dict[str, Any], reference: Result, tmp_path: Path) -> None:
    data = {"name": "gates:Gated", "args": {"folder": str(tmp_path)}}
    killer = threading.Thread(target=_kill_the_one_who_waits, args=[tmp_path], daemon=True)
    killer.start()
    warnings: list[str] = []

    def watch(event: Event) -> None:
        if event.kind == "warning":
            warnings.append(event.values["text"])

    result = fedray.run(experiment(tmp_path, data=data, actors=actors), on_event=watch)
    killer.join()
    assert_equal(result, reference, PLACES)
    assert list(result.history["deaths"]) == [1, 0, 0]
    assert len(warnings) == 1
    assert "died" in warnings[0]
    first = result.clients[result.clients["round"] == 1].set_index("client")
    assert len(first) == MACHINES
    assert first.loc[CLIENT, "fate"] == "retried"
    assert first.loc[CLIENT, "attempts"] == 2
    assert set(first["fate"]) <= {"ok", "retried"}
    if "clients_per_actor" in actors:
        assert list(first.index[first["fate"] == "retried"]) == [CLIENT]


@pytest.mark.usefixtures("ray_here")
def test_client_that_always_kills_its_actor_is_named(tmp_path: Path) -> None:
    data = {"name": "gates:Gated", "args": {"deadly": True}}
    settings = experiment(tmp_path, data=data, failures={"retries": 1}, blocks={"size": 1}, actors={"num_actors": 1})
    with pytest.raises(
        RoundFailed, match=rf"client {CLIENT} of block \d in round 1 lost its actor 2 times.*failures\.retries"
    ):
        fedray.run(settings)
    assert Result(next((tmp_path / "runs").iterdir())).state == "failed"
