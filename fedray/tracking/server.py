"""The connection to an MLflow server or database; every failure becomes one sentence."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from fedray.errors import TrackingError
from fedray.tracking.lock import locked
from fedray.tracking.settings import without_password

LONGEST_CAUSE = 300


def connect(uri: str, runs: Path) -> MlflowClient:
    """A client of its own, apart from mlflow's global state.

    Two processes must not create the tables of a database file at once, so the folder is held meanwhile.

    Args:
        uri: Server or database.
        runs: The folder that holds the run folders.
    """
    with locked(runs) if urlsplit(uri).scheme == "sqlite" else nullcontext():
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def explained(uri: str) -> Generator[None]:
    """Turns whatever mlflow raises into one sentence.

    Raises:
        TrackingError: Something inside failed.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
        raise TrackingError(
            f"MLflow at {without_password(uri)} did not take the run ({_cause(error)}); "
            "start the server or change tracking.uri, then run `fedray sync`"
        ) from error


def _cause(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "Connection refused" in text:
        return "nothing listens there"
    return text if len(text) <= LONGEST_CAUSE else f"{text[:LONGEST_CAUSE]} ..."
