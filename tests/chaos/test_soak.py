"""Many kills in a row leave nothing behind: files, threads, processes, objects, entries in Ray's table of actors."""

import importlib
import sys
from pathlib import Path

import pytest
from runs import experiment

import fedray
from fedray.runtime import cluster
from fedray.simulation.watch import Event

ROUNDS, EVERY, REMEMBERED = 24, 8, 6


def test_a_kill_in_every_round_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])
    processes = importlib.import_module("experiments.fault_tolerance.processes")
    monkeypatch.setitem(cluster._SETTINGS, "maximum_gcs_destroyed_actor_cached_count", REMEMBERED)
    samples: list[dict[str, float]] = []

    def watch(event: Event) -> None:
        if event.kind == "round" and event.values["round"] % EVERY == 0:
            samples.append(processes.sample())

    kill = {"kind": "kill", "actors": 1, "every": 1, "at": "during"}
    actors = {"num_actors": 4, "num_cpus": 2, "fork": True}
    result = fedray.run(experiment(tmp_path, rounds=ROUNDS, faults=[kill], actors=actors), on_event=watch)
    assert result.history["deaths"].sum() == ROUNDS
    early, _, late = samples
    for role in ("caller", "driver", "chaos actor", "nursery", "raylet", "gcs_server"):
        assert early[f"{role}/processes"] == late[f"{role}/processes"] == 1
        assert late[f"{role}/open_files"] <= early[f"{role}/open_files"] + 8  # connections to actors that just started
        assert late[f"{role}/threads"] <= early[f"{role}/threads"] + 6
    assert late["all processes/processes"] <= early["all processes/processes"] + 4
    assert late["zombies"] <= 1
    assert late["store/bytes"] == early["store/bytes"]
    assert late["actors/dead"] <= REMEMBERED + 2 < ROUNDS
