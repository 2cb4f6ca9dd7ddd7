import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "ray"))  # runs.py

from crowds import below, raylet_of
from runs import own_ray, until

_OURS = ("ClientActor", "Driver", "Chaos")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starting actors takes long on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="module")
def raylet() -> Iterator[psutil.Process]:
    """The raylet of a Ray of the module's own; when it is shut down, nothing that it started may live."""
    with own_ray():
        found = raylet_of(os.getpid())
        assert found is not None
        yield found
    until(lambda: not below(found.pid, ""), "all processes of the raylet to be gone", limit_s=60)


@pytest.fixture
def ray_here(raylet: psutil.Process) -> Iterator[psutil.Process]:
    """That Ray, of which a test leaves no actor behind."""
    yield raylet
    for word in _OURS:
        until(lambda word=word: not below(raylet.pid, word), f"{word} to be gone", limit_s=30)
