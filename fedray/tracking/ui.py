"""The command that shows tracked runs in a browser."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from fedray.errors import TrackingError
from fedray.tracking.settings import TrackingConfig, artifact_location, store_uri

HOST = "127.0.0.1"
ALLOWED_HOSTS = "localhost,localhost:*,127.0.0.1,127.0.0.1:*"
VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONSAFEPATH": "1",
}
"""Environment of the server: it calls nobody, starts no workers for jobs that fedray does not have, and imports nothing
from the folder in which it is started, where a user's click.py would stand in for a library."""


def command(runs: Path, port: int, uri: str | None = None) -> list[str]:
    """The command line of an MLflow server for this machine alone; run it with `VARIABLES` in its environment.

    Args:
        runs: The folder that holds the run folders.
        port: TCP port on 127.0.0.1.
        uri: Database to show; none: the one beside the run folders.

    Raises:
        TrackingError: `uri` is a server, which has its own pages.
    """
    store = store_uri(TrackingConfig(uri=uri), runs)
    location = artifact_location(store, runs)
    if location is None:
        raise TrackingError(f"tracking.uri is the server {store}; open it in a browser")
    if urlsplit(store).scheme == "sqlite" and not Path(urlsplit(store).path[1:]).exists():
        raise TrackingError(f"there is no MLflow database {store}; run an experiment or `fedray sync` first")
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", store, "--artifacts-destination", location),
        *("--allowed-hosts", ALLOWED_HOSTS, "--uvicorn-opts", "--log-level warning"),
    ]
