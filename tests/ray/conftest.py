from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import own_ray


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starting actors takes long on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """A Ray of the module's own, whose workers find the modules of this folder."""
    with own_ray():
        yield
