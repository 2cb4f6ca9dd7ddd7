"""A node of a real Ray cluster is killed in a run: its actors go on elsewhere, or wait for room, and no bit changes."""

from pathlib import Path

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
