from collections.abc import Iterator
from pathlib import Path

import pytest
import ray


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starting actors takes long on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """A Ray of the module's own, whose workers find the modules of this folder."""
    found = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env=found,
    )
    yield
    ray.shutdown()
