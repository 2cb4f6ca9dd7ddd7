"""Nodes of a real Ray cluster die and join in a run, where there can be no network namespaces: all have one address."""

from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from runs import PLACES, assert_equal, experiment, serial

import fedray
from fedray.runtime.local_nodes import local_nodes
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Event

ROUNDS = 5


def test_node_that_is_killed_changes_nothing(tmp_path: Path) -> None:
    warnings: list[str] = []

    def watch(event: Event) -> None:
        if event.kind == "warning":
            warnings.append(event.values["text"])

    with local_nodes(3, 3) as address:
        settings = experiment(
            tmp_path / "cluster",
            rounds=ROUNDS,
            faults=[{"kind": "kill_node", "rounds": [2]}],
            actors={"address": address, "num_actors": 3},
        )
        result = fedray.run(settings, on_event=watch)
    assert_equal(result, serial(tmp_path / "serial", rounds=ROUNDS), PLACES)
    events = RunFolder.open(Path(result.folder)).lines("faults")
    (killed,) = [event for event in events if event["kind"] == "kill_node"]
    assert killed["cause"] == "planned: kill_node"
    by_round = result.clients.groupby("round")["node"].agg(set)
    assert killed["node"] in by_round[1]
    assert killed["node"] not in by_round[ROUNDS]
    assert len(by_round[ROUNDS]) == 2
    assert any("died and is replaced" in text for text in warnings)


def test_node_that_joins_has_an_actor_join_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # held.py, on all nodes
    hold, rounds = tmp_path / "hold", 30
    cluster = Cluster()

    def watch(event: Event) -> None:
        if event.kind == "round" and event.values["round"] == 2:
            hold.touch()
            cluster.add_node(num_cpus=1, object_store_memory=10**8)
        if event.kind == "pool":
            hold.unlink()

    try:
        cluster.add_node(num_cpus=1, object_store_memory=10**8, include_dashboard=False)
        held = {"name": "held:Held", "args": {"folder": str(tmp_path)}}
        settings = experiment(
            tmp_path,
            rounds=rounds,
            data=held,
            failures={"deadline": 300},
            actors={"address": cluster.address},
        )
        result = fedray.run(settings, on_event=watch)
    finally:
        cluster.shutdown()
    assert_equal(result, serial(tmp_path / "serial", rounds=rounds, data={"name": "held:Held"}))
    assert result.clients.groupby("round")["node"].nunique().max() == 2
    slots = [record["slots"] for record in RunFolder(result.folder).lines("rounds")]
    assert (slots[0], slots[-1]) == (1, 2)
