"""Many kills in a row leave nothing behind: files, threads, processes, objects, entries in Ray's table of actors."""

import importlib
import sys
from pathlib import Path

import pytest
from runs import experiment, until

import fedray
from fedray.runtime import cluster
from fedray.simulation.watch import Event

ROUNDS, EVERY, LAST, REMEMBERED = 40, 8, 24, 6
"""The run goes on after the last look, so that everybody is still there."""


def test_a_kill_in_every_round_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])
    processes = importlib.import_module("experiments.fault_tolerance.processes")
    monkeypatch.setitem(cluster._SETTINGS, "maximum_gcs_destroyed_actor_cached_count", REMEMBERED)
    samples: list[dict[str, float]] = []

    def reaped() -> dict[str, float] | None:
        """A sample at a moment without many zombies: launchers end at once, and wait for the raylet to look."""
        sample = processes.sample()
        return sample if sample["zombies"] <= 1 else None

    def watch(event: Event) -> None:
        if event.kind == "round" and event.values["round"] in range(EVERY, LAST + 1, EVERY):
            samples.append(until(reaped, "the processes that ended to be reaped"))

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
    assert late["actors/dead"] <= REMEMBERED + 2 < LAST
