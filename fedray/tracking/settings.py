"""Where a run is tracked, and how long anything may wait for it."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, field_validator

from fedray.config import Config

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")


class TrackingConfig(Config):
    """MLflow tracking of a run."""

    enabled: bool = True
    """Whether a process beside the run delivers it to MLflow; `fedray sync` delivers it either way."""
    uri: str | None = None
    """MLflow server (http://host:5000) or database (sqlite:///file); none: `mlflow.db` beside the run folders."""
    experiment: str = Field(default="fedray", min_length=1, max_length=500)
    """MLflow experiment that the run belongs to; created when missing."""
    register_model: str | None = Field(default=None, min_length=1)
    """Name under which the trained model is registered; none: it is logged but not registered."""
    parent_run: str | None = None
    """MLflow id of the parent run, for the runs of a sweep."""
    tags: dict[str, str] = {}
    """Tags of the MLflow run."""
    timeout_s: int = Field(default=10, ge=1, le=600)
    """Longest wait for one answer of the server, in seconds; uploads may take ten times as long."""
    finish_s: float = Field(default=60.0, ge=0, le=86_400)
    """Longest that the end of a run waits for what is not delivered yet, in seconds."""

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str | None) -> str | None:
        scheme = urlsplit(uri).scheme.partition("+")[0] if uri is not None else "http"
        if scheme not in SCHEMES:
            raise ValueError(f"{uri!r} is not an MLflow server or database; use http://host:5000 or sqlite:///file")
        return uri


def store_uri(settings: TrackingConfig, runs: Path) -> str:
    """The server or database that a run below the folder `runs` is delivered to."""
    return settings.uri or f"sqlite:///{runs.resolve() / 'mlflow.db'}"


def artifact_location(uri: str, runs: Path) -> str | None:
    """Where a new experiment's artifacts go: beside the run folders, unless a server decides."""
    if urlsplit(uri).scheme in ("http", "https"):
        return None
    return (runs.resolve() / "mlartifacts").as_uri()


def without_password(uri: str) -> str:
    """The address without user and password, for messages and files."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
