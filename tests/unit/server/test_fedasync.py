"""How a client's model is mixed in: by hand."""

import numpy as np
import pytest

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.server.fedasync import FedAsync, mixed


def fedasync(**more) -> FedAsync:
    return parse(FedAsync, {"concurrency": 5, "mixing": 0.5, **more})


def test_part_of_a_stale_model():
    assert [fedasync(staleness="constant").part(t) for t in (0, 9)] == [0.5, 0.5]
    assert [fedasync(staleness_power=0.5).part(t) for t in (0, 3, 8)] == [0.5, 0.25, 0.5 / 3]
    hinge = fedasync(staleness="hinge", staleness_power=0.5, hinge=4)
    assert [hinge.part(t) for t in (0, 4, 6, 8)] == [0.5, 0.5, 0.25, 0.5 / 3]


def test_mixture_is_between_both_models():
    server, start, change = np.float32([1, 0]), np.float32([0, 4]), np.array([3.0, -2.0])
    delta = mixed(server, start, change, 0.25)
    assert (server + delta).tolist() == [0.75 * 1 + 0.25 * 3, 0.75 * 0 + 0.25 * 2]


@pytest.mark.parametrize("wrong", [{"mixing": 0}, {"mixing": 1.5}, {"staleness": "none"}, {"hinge": -1}])
def test_wrong_settings(wrong: dict):
    with pytest.raises(ConfigError):
        fedasync(**wrong)
