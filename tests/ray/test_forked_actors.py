"""Client actors that are forked from a preloaded process: the same bits, less memory."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from runs import assert_equal, experiment, pool_of, serial

import fedray
from fedray.experiment import build_data, build_plan, num_parameters
from fedray.messages import Block
from fedray.runtime import cluster
from fedray.runtime.backend import RayBackend
from fedray.runtime.limits import FILES_PER_ACTOR, THREADS_PER_ACTOR
from fedray.runtime.placement import FORKED_ACTOR_BYTES, ActorsConfig
from fedray.simulation.watch import Event


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedray.Result:
    return serial(tmp_path_factory.mktemp("serial"))


@pytest.mark.parametrize("actors", [{"clients_per_actor": 1}, {"num_actors": 3, "fork": True}], ids=str)
def test_forked_actors_equal_serial_bitwise(actors: dict[str, Any], reference: fedray.Result, tmp_path: Path) -> None:
    """On a Ray that fedray starts."""
    placements: list[Any] = []

    def watch(event: Event) -> None:
        if event.kind == "placement":
            placements.append(event.values["placement"])

    result = fedray.run(experiment(tmp_path, actors={"num_cpus": 2, **actors}), on_event=watch)
    assert placements[0].forked
    assert_equal(result, reference)
    assert result.clients["pid"].nunique() <= placements[0].num_actors


@pytest.mark.usefixtures("ray_here")
def test_forked_actor_takes_about_what_is_counted_for_it(tmp_path: Path) -> None:
    """On a Ray that somebody else started."""
    settings = experiment(tmp_path)
    data = build_data(settings)
    plan = build_plan(settings, data)
    pool = pool_of(plan, data, ActorsConfig(num_actors=3, fork=True))
    blocks = [Block(round=1, index=i, start=i, clients=np.array([i]), work=1.0) for i in range(20)]
    result = RayBackend(pool, num_parameters(plan)).run_cohort(
        np.zeros(num_parameters(plan), np.float32), blocks, lambda _: None
    )
    actors = [psutil.Process(pid) for pid in {report.pid for report in result.reports}]
    measured = [(p.memory_full_info().uss, p.num_threads(), p.parent(), p.cmdline()) for p in actors]
    pool.close()
    assert measured
    for private, threads, parent, command in measured:
        assert 0.4 * FORKED_ACTOR_BYTES < private <= FORKED_ACTOR_BYTES, f"{private / 1e6:.0f} MB"
        assert 0.5 * THREADS_PER_ACTOR < threads <= THREADS_PER_ACTOR
        assert parent is not None
        assert "fedray.runtime.forking.nursery" in parent.cmdline()
        assert command[0].startswith("ray::ClientActor")


@pytest.mark.usefixtures("ray_here")
def test_raylet_takes_about_the_files_that_are_counted(tmp_path: Path) -> None:
    shape = cluster.shape()
    assert shape.here
    assert {limit.per_actor for limit in shape.limits} <= {FILES_PER_ACTOR, THREADS_PER_ACTOR}
    assert all(limit.num_actors > 2 for limit in shape.limits)
