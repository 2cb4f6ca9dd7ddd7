import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "ray"))  # runs.py


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starting nodes takes long on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))
