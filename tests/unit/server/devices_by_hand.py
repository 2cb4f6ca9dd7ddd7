"""Devices whose times are easily computed on paper."""

from typing import Any

import numpy as np

from fedray.population.profiles import Profiles, gathered


def a_second_each_way(num: int, **more: Any) -> Profiles:
    """Devices that receive and send 100 bytes in a second, and train on an example in one."""
    defaults = {
        "examples_per_s": 1.0,
        "download": 100.0,
        "upload": 100.0,
        "latency_s": 0.0,
        "loss": 0.0,
        "memory_bytes": np.inf,
        "joules_per_example": 0.0,
        "joules_per_byte": 0.0,
    }
    return gathered(num, **{**defaults, **more})
