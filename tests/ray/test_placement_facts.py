"""The memory that the placement counts with is about what an actor really takes."""

from pathlib import Path

import numpy as np
import psutil
import pytest
from runs import experiment, pool_of

from fedray.experiment import build_data, build_plan, num_parameters
from fedray.messages import Block
from fedray.runtime.backend import RayBackend
from fedray.runtime.placement import ACTOR_BYTES, ActorsConfig


@pytest.mark.usefixtures("ray_here")
def test_actor_takes_about_the_memory_counted_for_it(tmp_path: Path) -> None:
    settings = experiment(tmp_path)
    data = build_data(settings)
    plan = build_plan(settings, data)
    pool = pool_of(plan, data, ActorsConfig(num_actors=2, fork=False))
    blocks = [Block(round=1, index=i, start=i, clients=np.array([i]), work=1.0) for i in range(20)]
    backend = RayBackend(pool, num_parameters(plan))
    result = backend.run_cohort(np.zeros(num_parameters(plan), np.float32), blocks, lambda _: None)
    private = [psutil.Process(pid).memory_full_info().uss for pid in {report.pid for report in result.reports}]
    backend.close()
    assert private
    for bytes_ in private:
        assert 0.4 * ACTOR_BYTES < bytes_ <= ACTOR_BYTES, f"{bytes_ / 1e6:.0f} MB"
