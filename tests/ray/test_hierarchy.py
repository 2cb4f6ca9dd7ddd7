"""Servers between clients and cloud: the same bits wherever clients are trained, and whoever dies."""

from pathlib import Path
from typing import Any

import pytest
from runs import PLACES, assert_equal, experiment, serial

import fedray

REGIONS: dict[str, Any] = {
    "rounds": 4,
    "cohort": {"size": 8},
    "hierarchy": {
        "levels": [
            {"name": "plant", "servers": 4, "rounds": 2, "strategy": "fedavgm"},
            {"name": "region", "servers": 2},
        ]
    },
    "devices": {
        "profile": {"name": "lognormal", "examples_per_s": 20, "speed_spread": 1},
        "availability": {"name": "markov", "mean_there_s": 60, "mean_away_s": 10},
    },
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedray.Result:
    return serial(tmp_path_factory.mktemp("serial"), **REGIONS)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("actors", [{"num_actors": 3}, {"clients_per_actor": 1}], ids=str)
def test_same_bits_on_any_actors(actors: dict[str, int], reference: fedray.Result, tmp_path: Path) -> None:
    assert_equal(fedray.run(experiment(tmp_path, **REGIONS, actors=actors)), reference)


@pytest.mark.usefixtures("ray_here")
def test_same_bits_with_killed_actors(reference: fedray.Result, tmp_path: Path) -> None:
    faults = [{"kind": "kill", "every": 1, "blocks": 0.5, "at": "during"}]
    result = fedray.run(experiment(tmp_path, **REGIONS, actors={"num_actors": 2}, faults=faults))
    assert result.history["deaths"].sum() >= 4
    assert_equal(result, reference, PLACES)
