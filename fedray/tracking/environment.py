"""The settings that mlflow takes from environment variables only, for the length of one delivery.

`retries` is 0 because a retry inside mlflow repeats a call whose answer was lost, creating a run twice; fedray tries
again itself, after it has looked what arrived.
"""

import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager

UPLOAD_FACTOR = 10
NOISY = r"(mlflow|sqlalchemy|alembic)(\.|$)"


def variables(timeout_s: int) -> dict[str, str]:
    """What mlflow is told.

    Args:
        timeout_s: Longest wait for one answer, in seconds.
    """
    return {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",
        "MLFLOW_UV_AUTO_DETECT": "false",
    }


@contextmanager
def told(timeout_s: int) -> Generator[None]:
    """Sets the variables and puts the old ones back; mlflow's own warnings, which no user can act on, are not shown."""
    new = variables(timeout_s)
    old = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=NOISY)
            yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
