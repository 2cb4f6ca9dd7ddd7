"""Small calls by sockets: in the order of all calls, with Ray's word for why an actor died."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import experiment, lives, pool_of, until

from fedray.experiment import build_data, build_plan, num_parameters
from fedray.messages import Block
from fedray.runtime.answers import get, wait
from fedray.runtime.lane import LaneRef
from fedray.runtime.lost import ActorDied
from fedray.runtime.placement import ActorsConfig
from fedray.runtime.pool import Pool

LIMIT_S = 60.0


@pytest.fixture
def pool(ray_here: None, tmp_path: Path) -> Iterator[Pool]:
    settings = experiment(tmp_path)
    data = build_data(settings)
    plan = build_plan(settings, data)
    pool = pool_of(plan, data, ActorsConfig(num_actors=2))
    pool.start = np.zeros(num_parameters(plan), np.float32)  # type: ignore[attr-defined]
    yield pool
    pool.close()


def training(pool: Any, client: int) -> tuple[Any, ...]:
    block = Block(round=1, index=client, start=client, clients=np.array([client]), work=1.0)
    return pool.start, (block,)


def test_answers_come_in_the_order_of_calls_whichever_way_they_take(pool: Pool) -> None:
    first = pool.submit_small(0, "train", *training(pool, 0))
    assert isinstance(first, LaneRef)
    pool.submit(0, "train", *training(pool, 1))
    pool.submit_small(0, "train", *training(pool, 2))
    by_ray = pool.submit(0, "collect", 1)
    pool.submit_small(0, "train", *training(pool, 3))
    by_lane = pool.submit_small(0, "collect", 1)
    assert [partial.blocks for partial in get(by_ray, LIMIT_S)] == [(0, 1, 2)]
    assert [partial.blocks for partial in get(by_lane, LIMIT_S)] == [(3,)]


def test_both_ways_are_waited_for_at_once(pool: Pool) -> None:
    refs = {pool.submit_small(0, "ready"), pool.submit(1, "ready")}
    pids = set[int]()
    while refs:
        done = wait(list(refs), LIMIT_S)
        assert done
        pids |= {get(ref) for ref in done}
        refs -= set(done)
    assert len(pids) == 2


def test_error_of_a_call_is_itself_and_the_lane_goes_on(pool: Pool) -> None:
    with pytest.raises(TypeError, match="collect"):
        get(pool.submit_small(0, "collect"), LIMIT_S)
    pool.submit_small(0, "train", *training(pool, 0))
    with pytest.raises(ValueError, match="block 0 is already in the sum"):
        get(pool.submit_small(0, "train", *training(pool, 0)), LIMIT_S)
    assert get(pool.submit_small(0, "ready"), LIMIT_S) > 0


def test_ray_says_why_an_actor_on_a_lane_died(pool: Pool) -> None:
    pid = get(pool.submit_small(0, "ready"), LIMIT_S)
    os.kill(pid, signal.SIGSTOP)
    refs = [pool.submit_small(0, "ready"), pool.submit_small(0, "ready")]
    os.kill(pid, signal.SIGKILL)
    assert wait(refs, LIMIT_S)
    for ref in refs:
        with pytest.raises(ActorDied, match="died"):
            get(ref, LIMIT_S)
    replaced = get(pool.replace(0, "killed"), LIMIT_S)
    pool.started(0, replaced)
    assert get(pool.submit_small(0, "ready"), LIMIT_S) == replaced.pid != pid


def test_actor_that_dies_before_its_lane_is_there_is_found_by_the_first_call(pool: Pool) -> None:
    place = get(pool.replace(0, "for the test"), LIMIT_S)
    os.kill(place.pid, signal.SIGKILL)
    until(lambda: not lives(place.pid), "the process to be gone")
    pool.started(0, place)
    with pytest.raises(ActorDied, match="died"):
        get(pool.submit_small(0, "ready"), LIMIT_S)
