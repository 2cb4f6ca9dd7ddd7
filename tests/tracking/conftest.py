import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_servers import Server, SlowProxy

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "tracking"))  # run_folders.py

from fedray.tracking.environment import told


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with told(timeout_s=5):
        import mlflow.pyfunc  # noqa: F401
    made = Server(tmp_path_factory.mktemp("mlflow"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def proxy(server: Server) -> Iterator[SlowProxy]:
    made = SlowProxy(server.port)
    yield made
    made.close()


@pytest.fixture
def client(server: Server):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri)
