"""Virtual time and what comes of it do not depend on who computes, nor on who dies meanwhile."""

from pathlib import Path
from typing import Any

import pytest
from runs import PLACES, assert_equal, experiment, serial

import fedray

VIRTUAL: dict[str, Any] = {
    "rounds": 4,
    "cohort": {"size": 8},
    "devices": {
        "profile": {"name": "lognormal", "examples_per_s": 20, "speed_spread": 1, "loss": 0.05},
        "availability": {"name": "markov", "mean_there_s": 60, "mean_away_s": 10},
    },
    "protocol": {"name": "synchronous", "deadline_s": 20, "min_reports": 0.5},
}


BUFFERED: dict[str, Any] = {
    **VIRTUAL,
    "rounds": 6,
    "cohort": {"size": 5},
    "protocol": {"name": "fedbuff", "concurrency": 8, "max_staleness": 2},
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedray.Result:
    found = serial(tmp_path_factory.mktemp("serial"), **VIRTUAL)
    assert {"ok", "late"} <= set(found.clients["fate"])
    return found


@pytest.fixture(scope="module")
def buffered(tmp_path_factory: pytest.TempPathFactory) -> fedray.Result:
    found = serial(tmp_path_factory.mktemp("buffered"), **BUFFERED)
    ok = found.clients[found.clients["fate"] == "ok"]
    assert (ok["version"] < ok["round"] - 1).any()
    return found


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("actors", [{"num_actors": 1}, {"num_actors": 2}, {"num_actors": 4}], ids=str)
def test_same_time_on_any_number_of_actors(actors: dict[str, int], reference: fedray.Result, tmp_path: Path) -> None:
    result = fedray.run(experiment(tmp_path, **VIRTUAL, actors=actors))
    assert_equal(result, reference)
    assert list(result.history["virtual/hours"]) == list(reference.history["virtual/hours"])


@pytest.mark.usefixtures("ray_here")
def test_same_time_with_killed_actors(reference: fedray.Result, tmp_path: Path) -> None:
    faults = [{"kind": "kill", "every": 1, "blocks": 0.5, "at": "during"}]
    result = fedray.run(experiment(tmp_path, **VIRTUAL, actors={"num_actors": 2}, faults=faults))
    assert result.history["deaths"].sum() >= 4
    assert "retried" in set(result.clients["fate"])
    assert_equal(result, reference, PLACES)
    assert list(result.history["virtual/hours"]) == list(reference.history["virtual/hours"])


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("num_actors", [1, 2])
def test_asynchronous_steps_on_any_number_of_actors(num_actors: int, buffered: fedray.Result, tmp_path: Path) -> None:
    result = fedray.run(experiment(tmp_path, **BUFFERED, actors={"num_actors": num_actors}))
    assert_equal(result, buffered)


@pytest.mark.usefixtures("ray_here")
def test_asynchronous_steps_with_killed_actors(buffered: fedray.Result, tmp_path: Path) -> None:
    faults = [{"kind": "kill", "every": 2, "blocks": 0.5, "at": "during"}]
    result = fedray.run(experiment(tmp_path, **BUFFERED, actors={"num_actors": 2}, faults=faults))
    assert "retried" in set(result.clients["fate"])
    assert_equal(result, buffered, PLACES)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("protocol", [{"name": "fedasync"}, {"name": "fedbuff"}], ids=str)
def test_steps_trained_together_on_actors_are_those_of_a_serial_run(protocol: dict[str, Any], tmp_path: Path) -> None:
    protocol = {**protocol, "concurrency": 9, "max_staleness": 9}
    settings = {**VIRTUAL, "rounds": 20, "cohort": {"size": 1}, "protocol": protocol}
    reference = serial(tmp_path / "serial", **settings)
    assert_equal(fedray.run(experiment(tmp_path, **settings, actors={"num_actors": 3})), reference)
