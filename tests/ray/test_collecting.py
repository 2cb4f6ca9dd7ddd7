"""Sums that are lost with their actor after the training."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import experiment, lives, pool_of, until

from fedray.experiment import build_data, build_plan, num_parameters
from fedray.messages import Block
from fedray.runtime.answers import get
from fedray.runtime.backend import RayBackend
from fedray.runtime.placement import ActorsConfig
from fedray.simulation.backend import SerialBackend
from fedray.simulation.watch import Watch


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("small", [True, False], ids=["by lanes, added by the driver", "by Ray, added by actors"])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_actor_that_is_lost_between_training_and_collecting_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blow: signal.Signals, small: bool
) -> None:
    monkeypatch.setattr("fedray.runtime.losses._COLLECT_S", 3.0)
    if not small:
        monkeypatch.setattr("fedray.runtime.backend._INLINE_BYTES", 0)
    settings = experiment(tmp_path)
    data = build_data(settings)
    plan = build_plan(settings, data)
    pool = pool_of(plan, data, ActorsConfig(num_actors=2 if small else 9), retries=1)
    name, killed = "submit_small" if small else "submit", list[int]()
    submit = getattr(pool, name)

    def submit_to_the_dead(actor: int, method: str, *args: Any) -> Any:
        if method == "collect" and not killed:
            killed.append(get(submit(actor, "ready"), 60))  # answers when the training before it is done
            os.kill(killed[0], blow)
        return submit(actor, method, *args)

    monkeypatch.setattr(pool, name, submit_to_the_dead)
    blocks = [Block(round=1, index=i, start=i, clients=np.array([i]), work=1.0) for i in range(20)]
    start = np.zeros(num_parameters(plan), np.float32)
    backend = RayBackend(pool, num_parameters(plan))
    result = backend.run_cohort(start, blocks, lambda _: None)
    reference = SerialBackend(plan.workload, data, Watch()).run_cohort(start, blocks, lambda _: None)
    asked = backend.ask("evaluate_clients", start, [np.array([1, 2]), np.array([3])])
    rows = [answer.columns["client"].tolist() for answer in asked.wait()]
    backend.close()
    assert killed
    assert np.array_equal(result.partial.total, reference.partial.total)
    assert (result.partial.weight, result.partial.blocks) == (reference.partial.weight, tuple(range(20)))
    assert result.deaths == 1
    until(lambda: not lives(killed[0]), "the process to be gone", limit_s=20)
    assert result.attempts  # the blocks whose sum was lost
    assert set(result.attempts.values()) == {2}
    assert rows == [[1, 2], [3]]
