"""What clients keep between rounds comes back to them, on whichever actor they are, and whoever dies."""

from pathlib import Path
from typing import Any

import pytest
from runs import PLACES, assert_equal, experiment, serial

import fedray

KEPT: dict[str, Any] = {
    "rounds": 4,
    "cohort": {"size": 10},
    "compression": {"up": {"name": "topk", "fraction": 0.05}, "down": "float16", "error_feedback": True},
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedray.Result:
    return serial(tmp_path_factory.mktemp("serial"), **KEPT)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("actors", [{"num_actors": 3}, {"clients_per_actor": 1}], ids=str)
def test_same_bits_on_any_actors(actors: dict[str, int], reference: fedray.Result, tmp_path: Path) -> None:
    assert_equal(fedray.run(experiment(tmp_path, **KEPT, actors=actors)), reference)


@pytest.mark.usefixtures("ray_here")
def test_same_bits_with_killed_actors(reference: fedray.Result, tmp_path: Path) -> None:
    faults = [{"kind": "kill", "every": 1, "blocks": 0.5, "at": "after"}]
    result = fedray.run(experiment(tmp_path, **KEPT, actors={"num_actors": 2}, faults=faults))
    assert result.history["deaths"].sum() >= 4
    assert_equal(result, reference, PLACES)
