"""Client actors on GPUs: several share one, to the bits of a serial run. Ray's own part is seen without a GPU."""

from pathlib import Path

import pytest
import ray
import torch
from runs import assert_equal, experiment, own_ray, serial

import fedray
from fedray.runtime.placement import ActorsConfig, ClusterShape, place


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and torch finds no CUDA device here")
def test_actors_that_share_a_gpu_equal_a_serial_run(tmp_path: Path):
    reference = serial(tmp_path, device="cuda")
    with own_ray():
        actors = {"num_actors": 2, "gpus_per_actor": 0.5}
        assert_equal(fedray.run(experiment(tmp_path, device="cuda", actors=actors)), reference)


@ray.remote
class Holder:
    def where(self) -> list[int]:
        return ray.get_gpu_ids()


def test_ray_places_as_many_shares_as_the_placement_counts():
    """Ray counts GPUs that it is told of, without looking for them."""
    shape = ClusterShape(cpus=8, memory_bytes=10**11, nodes=1, gpus=2)
    placement = place(ActorsConfig(gpus_per_actor=0.3), 100, 1000, shape, on_gpu=True)
    assert placement.num_actors == 6
    ray.init(address="local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False)
    try:
        options = {"num_gpus": placement.gpus_per_actor, "num_cpus": placement.cpus_per_actor}
        holders = [Holder.options(**options).remote() for _ in range(placement.num_actors)]
        found = ray.get([holder.where.remote() for holder in holders], timeout=100)
        assert sorted(gpu for where in found for gpu in where) == [0, 0, 0, 1, 1, 1]
        one_more = Holder.options(**options).remote()
        ready, _ = ray.wait([one_more.where.remote()], timeout=0.5)
        assert not ready
    finally:
        ray.shutdown()
