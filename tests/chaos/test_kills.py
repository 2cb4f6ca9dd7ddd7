"""Real signals to real processes of forked client actors: the bits stay, and nothing is left behind."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from crowds import MACHINES, below, raylet_of, waiting
from runs import PLACES, assert_equal, command, experiment, serial, settings_of, started, until

import fedray
from fedray import Result
from fedray.simulation.watch import Event

OWN = {"clients_per_actor": 1, "num_cpus": 4, "fork": True}
CROWD = (1, 4, 6, 9)
ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return serial(tmp_path_factory.mktemp("serial"), data="crowds:Crowd")


@pytest.fixture(autouse=True)
def _workers_find_this_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


def _run(folder: Path, act: Callable[[int], None], on_event: Callable[[Event], None], **data: Any) -> Result:
    """Runs while `act`, told the raylet, kills; afterwards nothing that the raylet started may live."""
    raylets: list[int] = []

    def kill() -> None:
        raylet = until(lambda: raylet_of(os.getpid()), "the raylet")
        raylets.append(raylet.pid)
        act(raylet.pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    crowd = {"name": "crowds:Crowd", "args": {"folder": str(folder), **data}}
    result = fedray.run(experiment(folder, data=crowd, actors=OWN), on_event=on_event)
    killer.join()
    until(lambda: not below(raylets[0], ""), "all processes of the raylet to be gone", limit_s=20)
    return result


def _kill_the_waiting(folder: Path) -> None:
    for client in CROWD:
        os.kill(until(lambda client=client: waiting(folder, client), f"client {client}, who waits"), signal.SIGKILL)


def test_forked_actors_killed_in_mid_round_change_nothing(reference: Result, tmp_path: Path) -> None:
    after: list[int] = []

    def watch(event: Event) -> None:
        """Two more are killed between rounds."""
        if event.kind == "round" and event.values["round"] == 2 and not after:
            raylet = raylet_of(os.getpid())
            assert raylet is not None
            after.extend(process.pid for process in below(raylet.pid, "ray::ClientActor")[:2])
            for pid in after:
                os.kill(pid, signal.SIGKILL)

    result = _run(tmp_path, lambda _: _kill_the_waiting(tmp_path), watch, waiting=CROWD)
    assert_equal(result, reference, PLACES)
    assert len(after) == 2
    assert result.history["deaths"].sum() >= len(CROWD)
    assert result.history["deaths"].iloc[0] == len(CROWD)
    first = result.clients[result.clients["round"] == 1].set_index("client")
    assert len(first) == MACHINES
    assert set(first.index[first["fate"] == "retried"]) == set(CROWD)


def test_actors_start_again_after_their_nursery_was_killed(reference: Result, tmp_path: Path) -> None:
    nurseries: list[int] = []

    def kill(raylet: int) -> None:
        pid = until(lambda: waiting(tmp_path, CROWD[0]), "a client who waits")
        (nursery,) = below(raylet, "fedray.runtime.forking.nursery")
        nurseries.append(nursery.pid)
        nursery.kill()
        os.kill(pid, signal.SIGKILL)

    def watch(event: Event) -> None:
        if event.kind == "round" and event.values["round"] == 1:
            raylet = raylet_of(os.getpid())
            assert raylet is not None
            nurseries.extend(process.pid for process in below(raylet.pid, "fedray.runtime.forking.nursery"))

    result = _run(tmp_path, kill, watch, waiting=CROWD[:1])
    assert_equal(result, reference, PLACES)
    assert result.history["deaths"].sum() == 1
    assert len(set(nurseries)) == 2


@pytest.mark.parametrize("victim", ["fedray", "raylet and nursery"])
def test_no_process_is_left_after_sigkill(victim: str, tmp_path: Path) -> None:
    file = tmp_path / "endless.yaml"
    file.write_text(yaml.safe_dump({**settings_of(tmp_path), "rounds": ENDLESS, "actors": OWN}))
    with started(*command("run", file), folder=tmp_path) as process:
        until(lambda: process.poll() is not None or list((tmp_path / "runs").glob("*/rounds.jsonl")), "a round")
        raylet = raylet_of(process.pid)
        assert raylet is not None
        nurseries = below(raylet.pid, "fedray.runtime.forking.nursery")
        assert len(nurseries) == 1
        assert len(below(raylet.pid, "ray::ClientActor")) > MACHINES
        if victim == "fedray":
            process.kill()
        else:
            raylet.kill()
            nurseries[0].kill()
        until(lambda: not below(raylet.pid, ""), "all processes of the raylet to be gone", limit_s=60)
        process.kill()
