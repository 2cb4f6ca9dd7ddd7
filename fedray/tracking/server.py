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
REASONS = {
    "Connection refused": "nothing listens there",
    "NameResolutionError": "no such host",
    "ReadTimeout": "it did not answer within tracking.timeout_s",
    "ConnectTimeout": "it could not be reached within tracking.timeout_s",
    "Connection aborted": "it closed the connection without an answer",
    "Invalid Host header": "it refuses this host name; start it with --allowed-hosts",
    "database is locked": "another process holds the database",
}


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
    """The first known reason in mlflow's text, which is long and nested."""
    text = " ".join(str(error).split()) or type(error).__name__
    for sign, reason in REASONS.items():
        if sign in text:
            return reason
    return text if len(text) <= LONGEST_CAUSE else f"{text[:LONGEST_CAUSE]} ..."
