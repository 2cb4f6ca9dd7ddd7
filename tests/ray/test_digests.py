"""The same experiment gives the same bits, however many actors train it."""

from pathlib import Path

import pytest
import ray
from runs import assert_equal, experiment, serial

import fedray


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedray.Result:
    return serial(tmp_path_factory.mktemp("serial"))


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    "actors", [{"num_actors": 1}, {"num_actors": 2}, {"num_actors": 4}, {"clients_per_actor": 1}], ids=str
)
def test_serial_equals_ray_bitwise(actors: dict[str, int], reference: fedray.Result, tmp_path: Path) -> None:
    result = fedray.run(experiment(tmp_path, actors=actors))
    assert result.state == "finished"
    assert_equal(result, reference)
    own = 20 if "clients_per_actor" in actors else actors["num_actors"]
    assert 1 <= result.clients["pid"].nunique() <= own


@pytest.mark.usefixtures("ray_here")
def test_a_ray_that_was_there_is_left_running(tmp_path: Path) -> None:
    session = ray.get_runtime_context().get_node_id()
    fedray.run(experiment(tmp_path, rounds=1, actors={"num_actors": 1}))
    assert ray.is_initialized()
    assert ray.get_runtime_context().get_node_id() == session
    assert not ray.util.list_named_actors()
